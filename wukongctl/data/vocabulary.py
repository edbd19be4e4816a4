"""Values → ids, counted on the train split alone: 2… by descending count, then in byte order.

Under `compat: bars` values start at 1, and the last id is out of vocabulary and missing.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence
from wukongctl.data import pretrained, sql
from wukongctl.data.engine import Engine
from wukongctl.data.manifest import SPECIAL_IDS, damaged
from wukongctl.data.progress import Progress, Report

FOLDER = "vocab"


class Vocabulary(NamedTuple):
    """Values in id order."""

    values: pa.Array
    counts: pa.Array
    seen: int
    """Distinct values of train, those too rare for an id included."""
    oov_last: bool = False
    """Ids as BARS has them."""

    @property
    def first(self) -> int:
        """Id of the first value."""
        return 1 if self.oov_last else SPECIAL_IDS

    @property
    def unknown(self) -> int:
        """Id of any value that is not in the vocabulary."""
        return self.rows - 1 if self.oov_last else 1

    @property
    def missing(self) -> int:
        """Id of no value; 0 always pads sequences."""
        return self.unknown if self.oov_last else 0

    @property
    def rows(self) -> int:
        """Embedding rows: the values and the two special ids."""
        return len(self.values) + SPECIAL_IDS

    def extended(self, keys: pa.Array) -> "Vocabulary":
        """With those of `keys` at the end that train never showed."""
        new = pretrained.beyond(keys, self.values)
        counts = pa.array(np.zeros(len(new), np.int64)).cast(self.counts.type)
        return self._replace(
            values=pa.concat_arrays([self.values, new]), counts=pa.concat_arrays([self.counts, counts])
        )

    def digest(self) -> str:
        """SHA-256 of the values in order."""
        hasher = hashlib.sha256()
        if len(self.values):
            _, offsets, data = self.values.buffers()
            ends = np.frombuffer(offsets, np.int32)[self.values.offset :][: len(self.values) + 1]
            hasher.update(np.diff(ends).astype("<i4").data)
            hasher.update(memoryview(data)[ends[0] : ends[-1]])
        return hasher.hexdigest()

    def write(self, path: Path) -> None:
        """A Parquet file with the columns `value`, `id` and `count`."""
        ids = pa.array(range(self.first, self.first + len(self.values)), pa.int32())
        table = pa.table({"value": self.values, "id": ids, "count": self.counts})
        pq.write_table(table, path, compression="zstd")


def file_name(feature: str, folder: str = FOLDER, ending: str = "parquet") -> str:
    """The vocabulary's file in a prepared dataset; characters that file names cannot hold are escaped."""
    return f"{folder}/{quote(feature, safe=' ,;=+()')}.{ending}"


def read(dataset: Path, feature: str, *, oov_last: bool) -> Vocabulary:
    """The vocabulary of a feature of a prepared dataset; raises RunFailed when it is damaged."""
    path = dataset / file_name(feature)
    try:
        table = pq.read_table(path, columns=["value", "count"]).combine_chunks()
        values = _one_chunk(table, "value")
        return Vocabulary(values, _one_chunk(table, "count"), seen=len(values), oov_last=oov_last)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None


def tables(spec: DatasetSpec) -> dict[int, int]:
    """Feature position → embedding table: categorical features first, then sequences with their own."""
    names = [name for name, _ in spec.columns]
    owners = [i for i, (_, group) in enumerate(spec.columns) if isinstance(group, Categorical)]
    sequences = [
        (i, group.shares) for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence)
    ]
    owners += [index for index, shares in sequences if not shares]
    result = {feature: table for table, feature in enumerate(owners)}
    return result | {index: result[names.index(shares)] for index, shares in sequences if shares}


def build(engine: Engine, spec: DatasetSpec, train: str, report: Report) -> dict[int, Vocabulary]:
    """The vocabulary of each categorical and sequence feature, by its position in the recipe.

    `train` is the wrapped query (sql.select) of the train rows. Sharing features share one object.
    """
    _count(engine, spec, train, report)
    vocabularies: dict[int, Vocabulary] = {}
    names = [name for name, _ in spec.columns]
    for index, (_, group) in enumerate(spec.columns):
        if isinstance(group, Numeric) or (isinstance(group, Sequence) and group.shares):
            continue
        parts = [(index, group.min_count), *_sharing(spec, names[index])]
        query = sql.vocabulary((f"SELECT value, count FROM counts_{i}", least) for i, least in parts)
        table = engine.table(query).combine_chunks()
        values, counts = _one_chunk(table, "value"), _one_chunk(table, "count")
        ((seen,),) = engine.rows(f"SELECT count(DISTINCT value) FROM ({_together(parts)})")
        made = Vocabulary(values, counts, seen, oov_last=spec.compat == "bars")
        if group.pretrained is not None:
            made = made.extended(pretrained.keys(engine.path(group.pretrained.file), group.pretrained))
        vocabularies[index] = made
        for part, _ in parts:
            engine.execute(f"DROP TABLE counts_{part}")
    for index, (_, group) in enumerate(spec.columns):
        if isinstance(group, Sequence) and group.shares:
            vocabularies[index] = vocabularies[names.index(group.shares)]
    return vocabularies


def _together(parts: list[tuple[int, int]]) -> str:
    return " UNION ALL ".join(f"SELECT value FROM counts_{index}" for index, _ in parts)


def _sharing(spec: DatasetSpec, owner: str) -> list[tuple[int, int]]:
    """Under `compat: bars`, sequences that add to the vocabulary of `owner`, with their least counts."""
    return [
        (index, group.min_count)
        for index, (_, group) in enumerate(spec.columns)
        if spec.compat == "bars" and isinstance(group, Sequence) and group.shares == owner
    ]


def _count(engine: Engine, spec: DatasetSpec, train: str, report: Report) -> None:
    """Tables `counts_<position>` (value, count) of every vocabulary, categorical ones in one pass."""
    names = [name for name, _ in spec.columns]
    sequences = [(i, group) for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence)]
    categorical = [i for i, (_, group) in enumerate(spec.columns) if isinstance(group, Categorical)]
    steps = len(categorical) + len(sequences)
    for start in range(0, len(categorical), sql.MAX_GROUPING_COLUMNS):
        report(Progress("counting values", start, steps))
        _count_together(engine, train, categorical[start : start + sql.MAX_GROUPING_COLUMNS])
    for step, (index, group) in enumerate(sequences, start=len(categorical)):
        report(Progress("counting values", step, steps))
        joins = group.shares if spec.compat is None else None
        owner = names.index(joins) if joins else index
        extra = f"SELECT value, count FROM counts_{owner}" if joins else None
        _create(engine, owner, sql.count_items(train, index, extra))
    report(Progress("counting values", steps, steps))


def _count_together(engine: Engine, train: str, features: list[int]) -> None:
    engine.execute(f"CREATE TABLE counts AS {sql.count_values(train, features)}")
    for position, index in enumerate(features):
        mask = sql.grouping_mask(position, len(features))
        _create(engine, index, f"SELECT value, count FROM counts WHERE mask = {mask}")
    engine.execute("DROP TABLE counts")


def _create(engine: Engine, index: int, query: str) -> None:
    engine.execute(f"CREATE OR REPLACE TABLE counts_{index} AS {query}")


def _one_chunk(table: pa.Table, column: str) -> pa.Array:
    chunks = table[column]
    return chunks.chunk(0) if chunks.num_chunks else pa.array([], chunks.type)
