"""Statistics counted while a dataset is written.

A `Tally` counts one column of one split; tallies of parts add up. The vocabulary adds the number of values
and the distribution of their counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import SplitName
from wukongctl.data.statistics import (
    FeatureStatistics,
    HistogramBar,
    Statistics,
    Top,
    VocabularyStatistics,
)

BINS = 16
"""Largest number of bars in a histogram."""
TOP = 8
"""Number of most frequent values kept."""
SIGNIFICANT_DIGITS = 9


@dataclass
class Tally:
    """Counts of one column; `items` are its non-missing values, those inside lists for a sequence."""

    rows: int = 0
    items: int = 0
    missing: int = 0
    unknown: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    bins: dict[int, int] = field(default_factory=dict)
    missing_id: int = 0
    unknown_id: int = 1
    """The same id under `compat: bars`, where missing values are out of vocabulary."""

    def add(self, column: pa.Array) -> None:
        """Count the ids, lists of ids or numbers (NULL where missing) of the next rows."""
        self.rows += len(column)
        if isinstance(column, pa.ListArray):
            lengths, ids = column.value_lengths().to_numpy(), column.flatten().to_numpy()
            self.items += len(ids)
            self.missing += int(np.count_nonzero(lengths == 0))
            self.unknown += int(np.count_nonzero(ids == self.unknown_id))
            self._measure(lengths.astype(np.float32))
        elif pa.types.is_integer(column.type):
            ids = column.to_numpy()
            apart = self.missing_id != self.unknown_id
            missing = int(np.count_nonzero(ids == self.missing_id)) if apart else 0
            self.missing += missing
            self.items += len(ids) - missing
            self.unknown += int(np.count_nonzero(ids == self.unknown_id))
        else:
            self.missing += column.null_count
            self.items += len(column) - column.null_count
            self._measure((column.drop_null() if column.null_count else column).to_numpy())

    def merge(self, other: "Tally") -> None:
        """Add the counts of another part of the same column."""
        for name in ("rows", "items", "missing", "unknown", "total", "squares"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._extend(other.minimum, other.maximum)
        for code, count in other.bins.items():
            self.bins[int(code)] = self.bins.get(int(code), 0) + count

    def _measure(self, values: np.ndarray) -> None:
        """Count moments, range and half-octaves: the sign, exponent and first mantissa bit of each value."""
        if not len(values):
            return
        self.total += float(values.sum(dtype=np.float64))
        self.squares += float(np.square(values, dtype=np.float64).sum())
        self._extend(float(values.min()), float(values.max()))
        counts = np.bincount((values + np.float32(0)).view(np.uint32) >> 22)
        for code in np.flatnonzero(counts).tolist():
            self.bins[code] = self.bins.get(code, 0) + int(counts[code])

    def _extend(self, low: float | None, high: float | None) -> None:
        lows = [value for value in (self.minimum, low) if value is not None]
        highs = [value for value in (self.maximum, high) if value is not None]
        self.minimum, self.maximum = min(lows, default=None), max(highs, default=None)


Tallies = dict[str, Tally]
"""Tallies of one split by column."""


def describe(
    names: Iterable[str],
    tallies: Mapping[SplitName, Mapping[str, Tally]],
    vocabularies: Mapping[str, VocabularyStatistics],
    label_rate: dict[SplitName, float],
    aucs: Mapping[str, float],
) -> Statistics:
    """The statistics of the features `names`, some of which have a vocabulary."""
    return Statistics(
        label_rate={name: _rounded(rate) for name, rate in label_rate.items()},
        features={
            name: _feature(
                {split: columns[name] for split, columns in tallies.items()},
                vocabularies.get(name),
                aucs.get(name),
            )
            for name in names
        },
    )


def merged(parts: Iterable[Tallies]) -> Tallies:
    """The sum of the tallies of several parts."""
    total: Tallies = {}
    for part in parts:
        for name, tally in part.items():
            total.setdefault(name, Tally()).merge(tally)
    return total


class Ranks:
    """Occurrences by octave of rank, over the batches of a vocabulary in id order."""

    def __init__(self) -> None:
        self._values = 0
        self._octaves = np.zeros(40, np.int64)
        self._top: list[Top] = []

    def add(self, values: pa.Array, counts: pa.Array) -> None:
        """The next values with their counts."""
        first, last = self._values, self._values + len(values)
        edges = np.clip((1 << np.arange(len(self._octaves) + 1)) - 1, first, last) - first
        self._octaves += np.diff(np.concatenate([[0], np.cumsum(counts.to_numpy())])[edges])
        wanted = max(TOP - first, 0)
        pairs = zip(values[:wanted].to_pylist(), counts[:wanted].to_pylist(), strict=True)
        self._top += [Top(value=value, count=count) for value, count in pairs]
        self._values = last

    def statistics(self, seen: int) -> VocabularyStatistics:
        """`seen` counts distinct values before rare ones were dropped."""
        octaves = self._octaves[: self._values.bit_length()].tolist()
        return VocabularyStatistics(
            seen=seen, values=self._values, top=tuple(self._top), ranks=tuple(octaves)
        )


def histogram(bins: Mapping[int, int]) -> tuple[HistogramBar, ...]:
    """Half-octave codes as bars in order of value; neighbors are merged down to BINS."""
    bars = sorted(
        (
            HistogramBar(start=start, stop=stop, count=count)
            for code, count in bins.items()
            for start, stop in [_edges(code)]
        ),
        key=lambda bar: bar.start,
    )
    while len(bars) > BINS:
        index = min(range(len(bars) - 1), key=lambda i: bars[i].count + bars[i + 1].count)
        left, right = bars[index : index + 2]
        bars[index : index + 2] = [
            HistogramBar(start=left.start, stop=right.stop, count=left.count + right.count)
        ]
    return tuple(bars)


def _feature(
    tallies: dict[SplitName, Tally], vocabulary: VocabularyStatistics | None, auc: float | None
) -> FeatureStatistics:
    train = tallies["train"]
    mean, std = _moments(train)
    measured = FeatureStatistics(
        missing={name: _rate(tally.missing, tally.rows) for name, tally in tallies.items()},
        auc=None if auc is None else _rounded(auc),
        mean=mean,
        std=std,
        minimum=train.minimum,
        maximum=train.maximum,
        histogram=histogram(train.bins),
    )
    if vocabulary is None:
        return measured
    counted = {
        "unknown": {name: _rate(tally.unknown, tally.items) for name, tally in tallies.items()},
        "seen": vocabulary.seen,
        "values": vocabulary.values,
        "coverage": _rate(train.items - train.unknown, train.items),
        "top": vocabulary.top,
        "histogram": measured.histogram or _octaves(vocabulary.ranks),
    }
    return measured.model_copy(update=counted)


def _moments(tally: Tally) -> tuple[float | None, float | None]:
    count = sum(tally.bins.values())
    if not count:
        return None, None
    mean = tally.total / count
    return _rounded(mean), _rounded(max(tally.squares / count - mean * mean, 0.0) ** 0.5)


def _octaves(ranks: tuple[int, ...]) -> tuple[HistogramBar, ...]:
    return tuple(
        HistogramBar(start=(1 << octave) - 1, stop=(2 << octave) - 1, count=count)
        for octave, count in enumerate(ranks)
        if count
    )


def _edges(code: int) -> tuple[float, float]:
    """The interval of float32 values that begin with `code`: 1 sign, 8 exponent and 1 mantissa bit."""
    magnitude = code & 0x1FF
    ends = np.array([magnitude << 22, (magnitude + 1) << 22], np.uint32).view(np.float32)
    low, high = (float(end) for end in np.where(np.isfinite(ends), ends, np.finfo(np.float32).max))
    return (-high, -low) if code >> 9 else (low, high)


def _rate(part: int, whole: int) -> float:
    return _rounded(part / whole) if whole else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
