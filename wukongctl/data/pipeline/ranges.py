"""Numbers beyond what training saw, counted while new rows are encoded: another unit or notation.

`1577.61` read where training wrote `1.577,61` is a hundred times too large, and no parser can tell. Where
most values of a feature lie outside the range of train, and those of the prepared splits do not, scores would
say nothing. Numbers that grow with time leave the range in valid and test already: of these nothing is said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.data.pipeline.strangers import ALARM, LEAST, SURPRISE, is_alarming
from wukongctl.data.statistics import FeatureStatistics, HistogramBar, Statistics

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
TAIL = 0.1
"""Share of train on each side that may not count as usual: few outliers make a wide range, and a histogram's
last bar holds several percent."""
FEW_WHOLE = 20
"""A range of whole numbers up to this width may be exceeded by one: a seventh month after six."""
ROUNDING = 1e-6
HELD_OUT_ROWS = 1 << 18
"""Rows of valid and of test that are looked at."""


@dataclass(frozen=True)
class Scale:
    """How a number became what is stored."""

    mean: float
    std: float
    is_log: bool

    def written(self, stored: float) -> float:
        """The number as the SELECT gave it."""
        value = stored * self.std + self.mean
        return float(np.expm1(value)) if self.is_log else value

    def stored(self, written: float) -> float:
        """What `written` becomes."""
        value = float(np.log1p(max(written, 0.0))) if self.is_log else written
        return (value - self.mean) / self.std


@dataclass
class Range:
    """What train had of one feature, and what the rows so far have; all bounds as stored."""

    scale: Scale
    ends: tuple[float, float]
    """Least and greatest value of train."""
    low: float
    high: float
    """Within these a value is inside."""
    usual: tuple[float, float]
    """All but the tails of train."""
    values: int = 0
    outside: int = 0
    unusual: int = 0
    example: float | None = None

    @classmethod
    def of(cls, known: FeatureStatistics, scale: Scale) -> "Range | None":
        """None where train has no two values."""
        low, high = known.minimum, known.maximum
        if low is None or high is None or low >= high:
            return None
        first, last = scale.written(low), scale.written(high)
        is_whole = all(abs(end - round(end)) < 1e-4 for end in (first, last))
        more = 1 if is_whole and last - first < FEW_WHOLE + 0.5 else 0
        slack = ROUNDING * max(abs(low), abs(high))
        wider = scale.stored(first - more), scale.stored(last + more)
        return cls(scale, (low, high), min(wider[0], low) - slack, max(wider[1], high) + slack, _usual(known))

    def add(self, values: np.ndarray) -> None:
        """Count stored numbers, none of them missing."""
        beyond = (values < self.low) | (values > self.high)
        found = int(np.count_nonzero(beyond))
        if found and self.example is None:
            self.example = self.scale.written(float(values[np.argmax(beyond)]))
        self.values += len(values)
        self.outside += found
        self.unusual += int(np.count_nonzero((values < self.usual[0]) | (values > self.usual[1])))

    @property
    def shares(self) -> tuple[float, float]:
        """Of the values, those outside the range of train, and those in its tails or outside."""
        return self.outside / max(self.values, 1), self.unusual / max(self.values, 1)


@dataclass
class Ranges:
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
    ) -> "Ranges":
        """`scales` has mean and deviation of each feature, in order; without statistics nothing is known."""
        features = statistics.features if statistics is not None else {}
        found = {
            name: Range.of(features[name], Scale(mean or 0.0, std or 1.0, group.transform == "log1p"))
            for (name, group), (mean, std) in zip(spec.columns, scales, strict=True)
            if isinstance(group, Numeric) and name in features
        }
        return cls(folder, {name: each for name, each in found.items() if each is not None})

    def count(self, table: pa.Table) -> None:
        """Count encoded rows, missing numbers being NULL."""
        for name, known in self.ranges.items():
            known.add(table[name].drop_null().to_numpy())

    def surprises(self) -> list[str]:
        """Features of which more values than usual lie outside train's range."""
        return [self._said(name) for name, known in self.ranges.items() if self._exceeds(name, known)]

    def alarms(self) -> list[str]:
        """Features whose values are mostly outside, or which leave the range often and are mostly in its
        tails: where train has outliers, a hundredfold value may well lie below the largest one."""
        return [self._said(name) for name, known in self.ranges.items() if self._is_alarming(name, known)]

    def _is_alarming(self, name: str, known: Range) -> bool:
        outside, unusual = known.shares
        if known.values < LEAST or outside <= SURPRISE or max(outside, unusual) <= ALARM:
            return False
        usually_outside, usually_unusual = self._held_out(name, known).shares
        if is_alarming(outside, usually_outside):
            return True
        return self._exceeds(name, known) and is_alarming(unusual, usually_unusual)

    def _exceeds(self, name: str, known: Range) -> bool:
        outside, _ = known.shares
        if known.values < LEAST or outside <= SURPRISE:
            return False
        return outside > 2 * self._held_out(name, known).shares[0] + SURPRISE

    def _held_out(self, name: str, known: Range) -> Range:
        """The range of that split, valid or test, which leaves train's most often."""
        found = [Range(known.scale, known.ends, known.low, known.high, known.usual)]
        for split in ("valid", "test"):
            fresh = Range(known.scale, known.ends, known.low, known.high, known.usual)
            for values in _values(self.folder / split, name):
                fresh.add(values)
            found.append(fresh)
        return max(found, key=lambda each: each.shares)

    def _said(self, name: str) -> str:
        known = self.ranges[name]
        assert known.example is not None
        low, high = (_shown(known.scale.written(end)) for end in known.ends)
        return (
            f"{known.shares[0]:.1%} of the values of `{name}` lie outside the range of training, "
            f"{low} to {high}: `{_shown(known.example)}`"
        )


def _shown(number: float) -> str:
    """To six digits, which float32 has, and without an exponent where that is readable."""
    return f"{float(f'{number:.6g}'):.12g}"


def _usual(known: FeatureStatistics) -> tuple[float, float]:
    """Ends of the bars of train's histogram without those that hold its tails."""
    return -_reach(tuple(_mirrored(bar) for bar in known.histogram)), _reach(known.histogram[::-1])


def _reach(bars: tuple[HistogramBar, ...]) -> float:
    """The upper end of the first of `bars`, the highest first, down to which more than the tail lies."""
    rest = TAIL * sum(bar.count for bar in bars)
    for bar in bars:
        rest -= bar.count
        if rest < 0:
            return bar.stop
    return np.inf


def _mirrored(bar: HistogramBar) -> HistogramBar:
    return HistogramBar(start=-bar.stop, stop=-bar.start, count=bar.count)


def _values(folder: Path, name: str) -> Iterable[np.ndarray]:
    """Stored numbers of the first rows of a split, by batches."""
    for path in sorted(folder.glob("*.parquet"))[:1]:
        rows = 0
        for batch in pq.ParquetFile(path).iter_batches(columns=[name]):
            yield batch.column(0).drop_null().to_numpy()
            rows += batch.num_rows
            if rows >= HELD_OUT_ROWS:
                return
