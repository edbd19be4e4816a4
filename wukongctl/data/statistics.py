"""Statistics of a prepared dataset, as its manifest has them."""

from wukongctl.config.dataset import SplitName
from wukongctl.config.spec import Spec

LEAK_AUC = 0.98
"""A feature with at least this AUC on its own probably leaks the label."""


class HistogramBar(Spec):
    """`count` rows, items or values in [start, stop)."""

    start: float
    stop: float
    count: int


class Top(Spec):
    """A frequent value of the train split."""

    value: str
    count: int


class FeatureStatistics(Spec):
    """Statistics of one feature. Rates are relative to rows; `unknown` of a sequence, to items."""

    missing: dict[SplitName, float]
    """Null rate per split."""
    unknown: dict[SplitName, float] | None = None
    """Out-of-vocabulary rate per split; None for numeric features."""
    seen: int | None = None
    """Distinct values of the train split, including rare ones."""
    values: int | None = None
    """Values of the vocabulary."""
    coverage: float | None = None
    """Share of non-missing train values that are in the vocabulary."""
    auc: float | None = None
    """Held-out AUC of this feature alone, scored by the positive rate of each value in train; missing counts
    as a value. None in datasets of older versions, and if a split has one class only."""
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    """Of the encoded train split, without missing values; for sequences, of their length."""
    top: tuple[Top, ...] = ()
    histogram: tuple[HistogramBar, ...] = ()
    """Of train. Numeric: by encoded value. Sequence: by length. Categorical: occurrences by rank of the value
    in octaves, from the most frequent value to the long tail."""


class Statistics(Spec):
    """The statistics of a prepared dataset."""

    label_rate: dict[SplitName, float]
    features: dict[str, FeatureStatistics]


class VocabularyStatistics(Spec):
    """Statistics of one vocabulary."""

    seen: int
    values: int
    top: tuple[Top, ...] = ()
    ranks: tuple[int, ...] = ()
    """Occurrences of the value of rank 0, of ranks 1 and 2, 3 to 6, and so on in octaves."""
