"""Numbers outside the range of training, counted while new rows are encoded: another unit or notation.

`1577.61` read where training wrote `1.577,61` is a hundred times too large, and no parser can tell. Where
most values of a feature are outside the range of train, but those of the prepared splits are not, scores
would mean nothing. Numbers that grow with time leave the range in valid and test already, and raise no alarm.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.data.pipeline.drift import ALARM_SHARE, MIN_VALUES, NOTE_SHARE, is_alarming
from wukongctl.data.statistics import FeatureStatistics, Statistics

TAIL = 0.1
"""Share of train on each side that is not usual: few outliers make a wide range, and a histogram's last bar
holds several percent."""
SHORT_RANGE = 20
"""A range of whole numbers up to this width may be exceeded by one: a seventh month after six."""
ROUNDING = 1e-6
HELD_OUT_ROWS = 1 << 18
"""Rows of valid and of test that are compared."""


@dataclass(frozen=True)
class Scale:
    """How a number is transformed before it is stored."""

    mean: float
    std: float
    is_log: bool

    def original(self, stored: float) -> float:
        """The number as the SELECT returned it."""
        value = stored * self.std + self.mean
        return float(np.expm1(value)) if self.is_log else value

    def stored(self, original: float) -> float:
        """The inverse of `original`."""
        value = float(np.log1p(max(original, 0.0))) if self.is_log else original
        return (value - self.mean) / self.std


@dataclass
class Range:
    """The values of one feature in train, and counts of the rows so far; all bounds are stored values."""

    scale: Scale
    ends: tuple[float, float]
    """Least and greatest value of train."""
    low: float
    high: float
    """Values between these are inside: `ends` with some tolerance."""
    usual: tuple[float, float]
    """Ends without the tails of train."""
    values: int = 0
    outside: int = 0
    unusual: int = 0
    example: float | None = None

    @classmethod
    def of(cls, known: FeatureStatistics, scale: Scale) -> "Range | None":
        """None where train has fewer than two values."""
        low, high = known.minimum, known.maximum
        if low is None or high is None or low >= high:
            return None
        first, last = scale.original(low), scale.original(high)
        is_whole = all(abs(end - round(end)) < 1e-4 for end in (first, last))
        step = 1 if is_whole and last - first < SHORT_RANGE + 0.5 else 0
        slack = ROUNDING * max(abs(low), abs(high))
        wider = scale.stored(first - step), scale.stored(last + step)
        return cls(scale, (low, high), min(wider[0], low) - slack, max(wider[1], high) + slack, _usual(known))

    def add(self, values: np.ndarray) -> None:
        """Count stored numbers, none of them missing."""
        outside = (values < self.low) | (values > self.high)
        count = int(np.count_nonzero(outside))
        if count and self.example is None:
            self.example = self.scale.original(float(values[np.argmax(outside)]))
        self.values += len(values)
        self.outside += count
        self.unusual += int(np.count_nonzero((values < self.usual[0]) | (values > self.usual[1])))

    @property
    def shares(self) -> tuple[float, float]:
        """Of the values, those outside the range of train, and those outside or in its tails."""
        return self.outside / max(self.values, 1), self.unusual / max(self.values, 1)


@dataclass
class RangeDrift:
    """The numeric features of a dataset; `folder` holds its prepared splits."""

    folder: Path
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        spec: DatasetSpec,
        scales: Iterable[tuple[float | None, float | None]],
        statistics: Statistics | None,
        folder: Path,
    ) -> "RangeDrift":
        """`scales` has mean and deviation of each feature in order; without statistics, no range is known."""
        features = statistics.features if statistics is not None else {}
        found = {
            name: Range.of(features[name], Scale(mean or 0.0, std or 1.0, group.transform == "log1p"))
            for (name, group), (mean, std) in zip(spec.columns, scales, strict=True)
            if isinstance(group, Numeric) and name in features
        }
        return cls(folder, {name: known for name, known in found.items() if known is not None})

    def count(self, table: pa.Table) -> None:
        """Count encoded rows, missing numbers being NULL."""
        for name, known in self.ranges.items():
            known.add(table[name].drop_null().to_numpy())

    def notes(self) -> list[str]:
        """Features that leave train's range more often than held-out splits do."""
        return [_message(name, known) for name, known in self.ranges.items() if self._exceeds(name, known)]

    def alarms(self) -> list[str]:
        """Features whose values are mostly outside, or often outside and mostly in the tails: where train
        has outliers, a hundredfold value may well be below the largest one."""
        return [
            _message(name, known) for name, known in self.ranges.items() if self._is_alarming(name, known)
        ]

    def _is_alarming(self, name: str, known: Range) -> bool:
        outside, unusual = known.shares
        if known.values < MIN_VALUES or outside <= NOTE_SHARE or max(outside, unusual) <= ALARM_SHARE:
            return False
        usually_outside, usually_unusual = self._held_out(name, known).shares
        if is_alarming(outside, usually_outside):
            return True
        return self._exceeds(name, known) and is_alarming(unusual, usually_unusual)

    def _exceeds(self, name: str, known: Range) -> bool:
        outside, _ = known.shares
        if known.values < MIN_VALUES or outside <= NOTE_SHARE:
            return False
        return outside > 2 * self._held_out(name, known).shares[0] + NOTE_SHARE

    def _held_out(self, name: str, known: Range) -> Range:
        """The counts of valid or test, whichever leaves train's range more often."""
        counts = []
        for split in ("valid", "test"):
            counts.append(Range(known.scale, known.ends, known.low, known.high, known.usual))
            for values in _values(self.folder / split, name):
                counts[-1].add(values)
        return max(counts, key=lambda split: split.shares)


def _message(name: str, known: Range) -> str:
    assert known.example is not None
    low, high = (_readable(known.scale.original(end)) for end in known.ends)
    outside = f"outside the training range {low} to {high}"
    return f"{known.shares[0]:.1%} of the values of `{name}` are {outside}: `{_readable(known.example)}`"


def _readable(number: float) -> str:
    """Six digits, which float32 has, and without an exponent up to twelve."""
    return f"{float(f'{number:.6g}'):.12g}"


def _usual(known: FeatureStatistics) -> tuple[float, float]:
    """Ends of train's histogram without the bars that hold its tails."""
    bars = [(bar.start, bar.stop, bar.count) for bar in known.histogram]
    return -_reach([(-stop, -start, count) for start, stop, count in bars]), _reach(bars[::-1])


def _reach(bars: list[tuple[float, float, int]]) -> float:
    """The upper end of the first of `bars`, the highest first, down to which there is more than the tail."""
    rest = TAIL * sum(count for *_, count in bars)
    for _, stop, count in bars:
        rest -= count
        if rest < 0:
            return stop
    return np.inf


def _values(folder: Path, name: str) -> Iterable[np.ndarray]:
    """Stored numbers of the first rows of a split, by batches."""
    for path in sorted(folder.glob("*.parquet"))[:1]:
        rows = 0
        for batch in pq.ParquetFile(path).iter_batches(columns=[name]):
            yield batch.column(0).drop_null().to_numpy()
            rows += batch.num_rows
            if rows >= HELD_OUT_ROWS:
                return
