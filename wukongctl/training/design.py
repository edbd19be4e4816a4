"""A batch → the columns that trees split on.

A categorical feature is one column of ids, in which a missing value is NaN, as pandas would have it; a
numeric one is a column of numbers, and so are its bins and its position among breakpoints. A sequence
becomes its length, its last value (a category) and, for each of the most frequent values, how often it
occurs. Frozen vectors stand in place of the ids that they belong to: their components are numbers, averaged
over a sequence.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wukongctl.data.manifest import SPECIAL_IDS, Feature, Manifest
from wukongctl.data.schema import MISSING_POSITION, Batch, Schema
from wukongctl.data.statistics import Statistics

FREQUENT = 32
"""Values of a sequence that get a column of their own: the first ids, as they belong to the most frequent."""
EXACT_IN_FLOAT32 = 1 << 24
ROUNDING = 1e-6
"""What float32 may leave of a 0 that was standardized, relative to mean and deviation."""
FORBIDDEN = re.compile(r'[\s",:\[\]{}]')
"""What LightGBM does not allow in the name of a column."""
Ids = NDArray[np.int32]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class DesignColumn:
    """One column of the matrix."""

    name: str
    categorical: bool = False
    missing: float | None = None
    """What becomes NaN."""


@dataclass(frozen=True)
class Number:
    """A standardized numeric feature. What is missing was prepared as the mean, which is 0 and next to never
    a value."""

    mean: float
    std: float
    may_miss: bool


class Design:
    """The columns of one prepared dataset; `vectors` are its frozen ones, (rows, dim) by table."""

    def __init__(self, manifest: Manifest, vectors: Mapping[int, Tensor]) -> None:
        self.schema = manifest.schema()
        self.vectors = {table: each.numpy() for table, each in vectors.items()}
        self.first_id = 1 if manifest.recipe.get("compat") == "bars" else SPECIAL_IDS
        numbers = {feature.name: feature for feature in manifest.features}
        self.numbers = [_number(numbers[name], manifest.statistics) for name in self.schema.dense]
        self.columns = tuple(_distinct(_columns(self.schema, self.first_id)))
        large = max(self.schema.table_rows, default=0) > EXACT_IN_FLOAT32
        self.dtype = np.float64 if large else np.float32

    @property
    def names(self) -> list[str]:
        """Of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def categorical(self) -> list[int]:
        """Positions of the columns whose numbers are categories."""
        return [place for place, column in enumerate(self.columns) if column.categorical]

    def empty(self, rows: int) -> Floats:
        """An uninitialized matrix (rows, columns), column by column in memory as LightGBM reads it."""
        return np.empty((rows, len(self.columns)), self.dtype, order="F")

    def fill(self, matrix: Floats, batch: Batch) -> None:
        """Write the columns of (B) examples into `matrix`, (B, columns)."""
        for place, values in enumerate(self._values(batch.ids.numpy(), batch.dense.numpy())):
            matrix[:, place] = values
            if (missing := self.columns[place].missing) is not None:
                matrix[values == missing, place] = np.nan

    def _values(self, ids: Ids, dense: Floats) -> Iterator[NDArray]:
        """Each column, (B,), in the order of `columns`."""
        schema = self.schema
        for table in range(len(schema.categorical)):
            yield from self.vectors[table][ids[:, table]].T if schema.vector_dim(table) else [ids[:, table]]
        yield from self._numbers(dense)
        start = len(schema.categorical)
        for sequence in schema.sequences:
            items = ids[:, start : start + sequence.max_len]
            start += sequence.max_len
            length = np.count_nonzero(items, axis=1)
            yield length
            if schema.vector_dim(sequence.table):
                yield from (self.vectors[sequence.table][items].sum(1) / np.maximum(length, 1)[:, None]).T
                continue
            yield items[:, -1] if sequence.padding == "pre" else _last(items, length)
            for value in _frequent(schema, sequence.table, self.first_id):
                yield np.count_nonzero(items == value, axis=1)

    def _numbers(self, dense: Floats) -> Iterator[Floats]:
        """Standardized numbers in their own unit again, in which LightGBM gives 0 a bin of its own."""
        for column, number in zip(dense.T, self.numbers, strict=True):
            if number is None:
                yield column
                continue
            values = column.astype(np.float64) * number.std + number.mean
            values[np.abs(values) < ROUNDING * (abs(number.mean) + number.std)] = 0
            if number.may_miss:
                values[column == 0] = np.nan
            yield values


def _number(feature: Feature, statistics: Statistics | None) -> Number | None:
    """None for a number that is not standardized."""
    if feature.mean is None or feature.std is None:
        return None
    known = statistics.features.get(feature.name) if statistics is not None else None
    return Number(feature.mean, feature.std, known is not None and any(known.missing.values()))


def _columns(schema: Schema, first_id: int) -> Iterator[DesignColumn]:
    for table, name in enumerate(schema.categorical):
        if dim := schema.vector_dim(table):
            yield from (DesignColumn(f"{name}.{place}") for place in range(dim))
        else:
            yield DesignColumn(name, categorical=name not in schema.binned, missing=0)
    yield from (DesignColumn(name) for name in schema.numeric)
    yield from (DesignColumn(name, missing=MISSING_POSITION) for name in schema.piecewise)
    for sequence in schema.sequences:
        name, table = sequence.name, sequence.table
        yield DesignColumn(f"{name}.length")
        if dim := schema.vector_dim(table):
            yield from (DesignColumn(f"{name}.{place}") for place in range(dim))
            continue
        yield DesignColumn(f"{name}.last", categorical=True, missing=0)
        yield from (DesignColumn(f"{name}.id{value}") for value in _frequent(schema, table, first_id))


def _frequent(schema: Schema, table: int, first_id: int) -> range:
    """The ids that get a column in a sequence; under `compat: bars` the last id of a table is no value."""
    end = schema.table_rows[table] - (SPECIAL_IDS - first_id)
    return range(first_id, min(first_id + FREQUENT, end))


def _last(items: Ids, length: NDArray[np.integer]) -> Ids:
    """The last value of each row of (B, L) ids padded behind; 0 of an empty one."""
    return items[np.arange(len(items)), np.maximum(length - 1, 0)]


def _distinct(columns: Iterator[DesignColumn]) -> Iterator[DesignColumn]:
    """The same columns under names that LightGBM takes and that differ."""
    seen: set[str] = set()
    for column in columns:
        name = plain = FORBIDDEN.sub("_", column.name)
        count = 1
        while name in seen:
            count += 1
            name = f"{plain}_{count}"
        seen.add(name)
        yield replace(column, name=name)
