"""Counts of the train split → ids: 2… by descending count, then in byte order.

Under `compat: bars` values start at 1, and the last id is for unknown and missing values. Values stream from
file to file through DuckDB, which sorts on disk if memory is short.
"""

import hashlib
from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from wukongctl.config.dataset import Categorical, DatasetSpec, Sequence
from wukongctl.config.spec import Spec
from wukongctl.data.manifest import SPECIAL_IDS
from wukongctl.data.pipeline import count, pretrained
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.progress import Progress, ReportProgress
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.stages import load, save, stage
from wukongctl.data.statistics import VocabularyStatistics
from wukongctl.data.tallies import Ranks

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
FOLDER = "vocab"
SAVED = "vocabularies.json"
BATCH_ROWS = 1 << 16


class Vocabulary(Spec):
    """One file of values in id order."""

    file: str
    oov_last: bool = False
    """Whether ids are those of BARS."""
    values: int
    bytes: int
    """Size of the values as text."""
    sha256: str
    """SHA-256 of the lengths of the values, then of the values, in order."""
    statistics: VocabularyStatistics

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
        """Id of a missing value; 0 always pads sequences."""
        return self.unknown if self.oov_last else 0

    @property
    def rows(self) -> int:
        """Embedding rows: the values and the two special ids."""
        return self.values + SPECIAL_IDS


class Vocabularies(Spec):
    """By the position of each feature that uses one."""

    features: dict[int, Vocabulary]


def file_name(feature: str, folder: str = FOLDER, ending: str = "parquet") -> str:
    """The file of a feature in a prepared dataset, with special characters escaped."""
    return f"{folder}/{quote(feature, safe=' ,;=+()')}.{ending}"


def tables(spec: DatasetSpec) -> dict[int, int]:
    """Feature position → embedding table: first of categorical features, then bins, then sequences."""
    names = [name for name, _ in spec.columns]
    owners = [i for i, (_, group) in enumerate(spec.columns) if isinstance(group, Categorical)]
    owners += [i for i, _, group in spec.encoded if group.has_bins]
    sequences = [
        (i, group.shares) for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence)
    ]
    owners += [index for index, shares in sequences if not shares]
    result = {feature: table for table, feature in enumerate(owners)}
    return result | {index: result[names.index(shares)] for index, shares in sequences if shares}


def build(job: PrepareJob, report: ReportProgress) -> dict[int, Vocabulary]:
    """Build all vocabularies in `vocab/` from the counts of all parts, unless done; by feature."""
    final = job.work / FOLDER
    if not final.is_dir():
        owners = _owners(job.spec)
        with stage(final) as folder, job.engine("vocabulary") as engine:
            built = {}
            for step, (owner, features) in enumerate(owners.items()):
                report(Progress("building vocabularies", step, len(owners)))
                vocabulary = _build(job, engine, owner, features, folder)
                built |= dict.fromkeys(features, vocabulary)
            save(folder / SAVED, Vocabularies(features=built))
    saved = load(final / SAVED, Vocabularies)
    assert saved is not None
    return saved.features


def read(path: Path) -> pa.Array:
    """The values of a vocabulary file in id order, in one array."""
    values = pq.ParquetFile(path, memory_map=True).read(["value"])["value"]
    return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)


def _owners(spec: DatasetSpec) -> dict[int, list[int]]:
    """Feature that owns a vocabulary → all features that use it, itself first."""
    names = [name for name, _ in spec.columns]
    shared = {i: group.shares for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence)}
    owners = {
        index: [index]
        for index, (_, group) in enumerate(spec.columns)
        if isinstance(group, Categorical) or (index in shared and not shared[index])
    }
    for index, owner in shared.items():
        if owner:
            owners[names.index(owner)].append(index)
    return owners


def _build(job: PrepareJob, engine: Engine, owner: int, features: list[int], folder: Path) -> Vocabulary:
    name, group = job.spec.columns[owner]
    assert isinstance(group, Categorical | Sequence)
    bars = job.spec.compat == "bars"
    # BARS counts a shared vocabulary feature by feature.
    counted = [[feature] for feature in features] if bars else [features]
    parts = [
        (_counts(engine, position, _files(job, each)), _min_count(job.spec, each[0]))
        for position, each in enumerate(counted)
    ]
    values = " UNION ".join(f"(SELECT value {query})" for query, _ in parts)
    ((seen,),) = engine.rows(f"SELECT count(*) FROM ({values})")
    path = folder / Path(file_name(name)).name
    engine.execute(sql.copy(sql.vocabulary(parts, 1 if bars else SPECIAL_IDS), path))
    if group.pretrained is not None:
        _extend(path, pretrained.keys(job.path(group.pretrained.file), group.pretrained))
    return _described(path, seen, oov_last=bars)


def _counts(engine: Engine, position: int, files: list[Path]) -> str:
    """A FROM clause of the counts in `files`, summed if there are several."""
    if len(files) == 1:
        return f"FROM read_parquet({sql.literal(str(files[0]))})"
    summed = sql.sum_counts(f"SELECT value, count FROM read_parquet({sql.files(files)})")
    engine.execute(f"CREATE OR REPLACE TABLE counts_{position} AS {summed}")
    return f"FROM counts_{position}"


def _min_count(spec: DatasetSpec, feature: int) -> int:
    _, group = spec.columns[feature]
    assert isinstance(group, Categorical | Sequence)
    return group.min_count


def _files(job: PrepareJob, features: list[int]) -> list[Path]:
    return [job.counts(part) / count.file_name(f) for part in job.parts if part.trains for f in features]


def _extend(path: Path, keys: pa.Array) -> None:
    """Append those of `keys` that are not in train."""
    table = pq.ParquetFile(path).read()
    known = table["value"].combine_chunks()
    new = keys.filter(pc.invert(pc.is_in(keys, value_set=known)))
    first = (table["id"][-1].as_py() if len(table) else SPECIAL_IDS - 1) + 1
    more = pa.table(
        {
            "value": new,
            "id": pa.array(np.arange(first, first + len(new)), pa.int32()),
            "count": pa.array(np.zeros(len(new), np.int64)),
        }
    )
    pq.write_table(pa.concat_tables([table, more.cast(table.schema)]), path, compression="zstd")


def _described(path: Path, seen: int, *, oov_last: bool) -> Vocabulary:
    hasher, ranks, size = hashlib.sha256(), Ranks(), 0
    for values, counts in _batches(path, ["value", "count"]):
        hasher.update(np.diff(_offsets(values)).astype("<i4").data)
        ranks.add(values, counts)
    for (values,) in _batches(path, ["value"]):
        offsets = _offsets(values)
        hasher.update(memoryview(values.buffers()[2])[offsets[0] : offsets[-1]])
        size += int(offsets[-1] - offsets[0])
    statistics = ranks.statistics(seen)
    return Vocabulary(
        file=path.name,
        oov_last=oov_last,
        values=statistics.values,
        bytes=size,
        sha256=hasher.hexdigest(),
        statistics=statistics,
    )


def _batches(path: Path, columns: Ordered[str]) -> Iterator[list[pa.Array]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            if batch.num_rows:
                yield [batch.column(name) for name in columns]


def _offsets(values: pa.StringArray) -> np.ndarray:
    return np.frombuffer(values.buffers()[1], np.int32)[values.offset :][: len(values) + 1]
