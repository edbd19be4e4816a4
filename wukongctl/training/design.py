"""The design matrix of a batch: the columns that trees split on.

A categorical feature is one column of ids, with NaN for missing values, as in pandas; a numeric feature is a
column of numbers, and so are its bins and its piecewise position. A sequence becomes its length, its last
value (a category) and the count of each of its most frequent values. Frozen vectors replace their ids: each
component is a column of numbers, averaged over a sequence.
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
from wukongctl.training.auc import FloatArray

FREQUENT = 32
"""Values of a sequence with their own column: the first ids, which are the most frequent."""
EXACT_IN_FLOAT32 = 1 << 24
ROUNDING = 1e-6
"""Rounding error of a standardized 0 in float32, relative to mean and deviation."""
FORBIDDEN = re.compile(r'[\s",:\[\]{}]')
"""Characters that LightGBM does not allow in column names."""
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class DesignColumn:
    """One column of the design matrix."""

    name: str
    categorical: bool = False
    missing: float | None = None
    """Value that becomes NaN."""


@dataclass(frozen=True)
class Standardization:
    """Of a numeric feature. Missing values were prepared as the mean, 0, which hardly any value equals."""

    mean: float
    std: float
    has_missing: bool


class Design:
    """The columns of one prepared dataset; `vectors` are its frozen vectors, (rows, dim) per table."""

    def __init__(self, manifest: Manifest, vectors: Mapping[int, Tensor]) -> None:
        self.schema = manifest.schema()
        self.vectors = {table: each.numpy() for table, each in vectors.items()}
        self.first_id = 1 if manifest.recipe.get("compat") == "bars" else SPECIAL_IDS
        features = {feature.name: feature for feature in manifest.features}
        self.standardized = [
            _standardization(features[name], manifest.statistics) for name in self.schema.dense
        ]
        self.columns = tuple(_with_valid_names(_columns(self.schema, self.first_id)))
        large = max(self.schema.table_rows, default=0) > EXACT_IN_FLOAT32
        self.dtype = np.float64 if large else np.float32

    @property
    def names(self) -> list[str]:
        """Names of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def categorical(self) -> list[int]:
        """Indices of the categorical columns."""
        return [index for index, column in enumerate(self.columns) if column.categorical]

    def empty(self, rows: int) -> FloatArray:
        """An uninitialized matrix (rows, columns), column by column in memory as LightGBM reads it."""
        return np.empty((rows, len(self.columns)), self.dtype, order="F")

    def fill(self, matrix: FloatArray, batch: Batch) -> None:
        """Write the columns of (B) examples into `matrix`, (B, columns)."""
        for index, values in enumerate(self._values(batch.ids.numpy(), batch.dense.numpy())):
            matrix[:, index] = values
            if (missing := self.columns[index].missing) is not None:
                matrix[values == missing, index] = np.nan

    def _values(self, ids: Ids, dense: FloatArray) -> Iterator[NDArray]:
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

    def _numbers(self, dense: FloatArray) -> Iterator[FloatArray]:
        """Numbers in their original unit, in which LightGBM gives 0 its own bin."""
        for column, scale in zip(dense.T, self.standardized, strict=True):
            if scale is None:
                yield column
                continue
            values = column.astype(np.float64) * scale.std + scale.mean
            values[np.abs(values) < ROUNDING * (abs(scale.mean) + scale.std)] = 0
            if scale.has_missing:
                values[column == 0] = np.nan
            yield values


def _standardization(feature: Feature, statistics: Statistics | None) -> Standardization | None:
    """None for a feature that is not standardized."""
    if feature.mean is None or feature.std is None:
        return None
    known = statistics.features.get(feature.name) if statistics is not None else None
    has_missing = known is not None and any(known.missing.values())
    return Standardization(feature.mean, feature.std, has_missing)


def _columns(schema: Schema, first_id: int) -> Iterator[DesignColumn]:
    for table, name in enumerate(schema.categorical):
        if dim := schema.vector_dim(table):
            yield from (DesignColumn(f"{name}.{index}") for index in range(dim))
        else:
            yield DesignColumn(name, categorical=name not in schema.binned, missing=0)
    yield from (DesignColumn(name) for name in schema.numeric)
    yield from (DesignColumn(name, missing=MISSING_POSITION) for name in schema.piecewise)
    for sequence in schema.sequences:
        name, table = sequence.name, sequence.table
        yield DesignColumn(f"{name}.length")
        if dim := schema.vector_dim(table):
            yield from (DesignColumn(f"{name}.{index}") for index in range(dim))
            continue
        yield DesignColumn(f"{name}.last", categorical=True, missing=0)
        yield from (DesignColumn(f"{name}.id{value}") for value in _frequent(schema, table, first_id))


def _frequent(schema: Schema, table: int, first_id: int) -> range:
    """Ids with a column in a sequence; with `compat: bars`, the last id of a table is not a value."""
    end = schema.table_rows[table] - (SPECIAL_IDS - first_id)
    return range(first_id, min(first_id + FREQUENT, end))


def _last(items: Ids, length: NDArray[np.integer]) -> Ids:
    """The last value of each row of (B, L) ids with trailing padding; 0 for an empty one."""
    return items[np.arange(len(items)), np.maximum(length - 1, 0)]


def _with_valid_names(columns: Iterator[DesignColumn]) -> Iterator[DesignColumn]:
    """The same columns with unique names that LightGBM accepts."""
    seen: set[str] = set()
    for column in columns:
        name = plain = FORBIDDEN.sub("_", column.name)
        count = 1
        while name in seen:
            count += 1
            name = f"{plain}_{count}"
        seen.add(name)
        yield replace(column, name=name)
