"""LightGBM's section of a training recipe: the baseline that is not a network."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config.spec import (
    Mistake,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Spec,
)


class LightGBMSpec(Spec):
    """LightGBM (Ke et al. 2017): boosted decision trees on the prepared table. Keys and defaults are
    LightGBM's, except `categorical`. Needs the extra `gbdt`."""

    name: Literal["lightgbm"]
    categorical: Literal["native", "ordered"] = "native"
    """`native`: LightGBM's categorical splits. `ordered`: ids as numbers, most frequent value first, which
    overfits less on columns with many values."""
    num_iterations: PositiveInt = 100
    """Number of trees. All are kept unless `early_stopping.patience` is given."""
    learning_rate: PositiveFloat = 0.1
    """Shrinkage of each tree."""
    num_leaves: Annotated[int, Field(gt=1, le=131072)] = 31
    """Maximum leaves per tree."""
    max_depth: PositiveInt | None = None
    """Maximum depth of a tree; unlimited when omitted."""
    min_data_in_leaf: Annotated[int, Field(ge=0)] = 20
    """Minimum rows per leaf."""
    min_sum_hessian_in_leaf: NonNegativeFloat = 1e-3
    """Minimum sum of p (1 - p) over the rows of a leaf."""
    min_gain_to_split: NonNegativeFloat = 0.0
    """Minimum loss reduction of a split."""
    lambda_l1: NonNegativeFloat = 0.0
    """L1 regularization of leaf values."""
    lambda_l2: NonNegativeFloat = 0.0
    """L2 regularization of leaf values."""
    path_smooth: NonNegativeFloat = 0.0
    """Smooths small leaves towards their parent; needs `min_data_in_leaf` of 2 or more."""
    feature_fraction: PositiveFraction = 1.0
    """Fraction of columns sampled per tree."""
    bagging_fraction: PositiveFraction = 1.0
    """Fraction of rows sampled; needs `bagging_freq`."""
    bagging_freq: Annotated[int, Field(ge=0)] = 0
    """Resample rows every this many trees; 0 disables bagging."""
    extra_trees: bool = False
    """Extremely randomized trees: one random threshold per column."""
    max_bin: Annotated[int, Field(gt=1, le=65535)] = 255
    """Maximum bins per numeric column."""
    min_data_in_bin: PositiveInt = 3
    """Minimum rows per bin; rarer categorical values count as missing."""
    min_data_per_group: PositiveInt = 100
    """Minimum rows per group of categorical values."""
    max_cat_threshold: PositiveInt = 32
    """Maximum values on the smaller side of a categorical split."""
    max_cat_to_onehot: PositiveInt = 4
    """Columns with at most this many values are split one against the rest."""
    cat_l2: NonNegativeFloat = 10.0
    """L2 regularization of categorical splits."""
    cat_smooth: NonNegativeFloat = 10.0
    """Smoothing of the rates by which categorical values are sorted; rarer values are not sorted."""

    @property
    def needs_two_rows(self) -> bool:
        """Trees have no BatchNorm."""
        return False

    def _mistakes(self) -> Iterator[Mistake]:
        if self.bagging_fraction < 1 and not self.bagging_freq:
            what = "`bagging_fraction` does nothing while `bagging_freq` is 0"
            yield Mistake(what, ("bagging_fraction",), "add `bagging_freq: 1`", others=(("bagging_freq",),))
        if self.path_smooth and self.min_data_in_leaf < 2:
            what = "`path_smooth` needs `min_data_in_leaf` of 2 or more"
            yield Mistake(what, ("path_smooth",), others=(("min_data_in_leaf",),))
