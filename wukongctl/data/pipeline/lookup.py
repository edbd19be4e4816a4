"""Values → ids: by hash tables in memory or, for vocabularies that do not fit, by a join on disk."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from wukongctl.data.manifest import SPECIAL_IDS, damaged
from wukongctl.data.pipeline import vocabulary
from wukongctl.data.pipeline.store import MAX_BYTES
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
ENTRY_BYTES = 40
"""Roughly the memory of a value besides its text: offsets and a slot of a half-full hash table."""
MIN_LOOKUP = 1 << 17
MEMORY_SHARE = 0.25
"""Share of the memory limit for vocabularies in memory."""
NUMBERED = pa.schema([("position", pa.int64()), ("value", pa.string())])
BATCH_ROWS = 1 << 16


class LookupTable(NamedTuple):
    """A vocabulary in memory."""

    values: pa.Array
    """In id order: the position of a value is its id."""
    unknown: int
    missing: int

    def ids(self, arrays: Iterable[pa.Array]) -> Iterator[np.ndarray]:
        """Ids of the values of each array, int32; NULL has the id of a missing value.

        Every lookup hashes the whole vocabulary, so as many values are looked up together.
        """
        pending: list[pa.Array] = []
        for array in arrays:
            pending.append(array)
            if sum(map(len, pending)) >= max(len(self.values), MIN_LOOKUP):
                yield from self._batch_ids(pending)
                pending = []
        yield from self._batch_ids(pending)

    def _batch_ids(self, arrays: list[pa.Array]) -> Iterator[np.ndarray]:
        values = pa.chunked_array(arrays, self.values.type)
        found = pc.index_in(values, value_set=self.values).fill_null(self.unknown).to_numpy()
        ends = np.cumsum([len(array) for array in arrays])
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield found[start:end]


def table(values: pa.Array, *, oov_last: bool) -> LookupTable:
    """Look up `values`, which are in id order; `oov_last` for the ids of BARS."""
    first = [""] if oov_last else [None, ""]  # values are never the empty text
    unknown = len(values) + SPECIAL_IDS - 1 if oov_last else 1
    by_id = pa.concat_arrays([pa.array(first, values.type), values])
    return LookupTable(by_id, unknown, unknown if oov_last else 0)


def read(dataset: Path, feature: str, *, oov_last: bool) -> LookupTable:
    """The vocabulary of a feature of a prepared dataset; raises RunFailed if it is damaged."""
    path = dataset / vocabulary.file_name(feature)
    try:
        return table(vocabulary.read(path), oov_last=oov_last)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None


def ids(
    engine: Engine,
    vocabularies: Mapping[int, Vocabulary],
    values: Mapping[int, Iterator[pa.Array]],
    work: Path,
) -> dict[int, Iterator[np.ndarray]]:
    """By feature, the ids of each array of `values`."""
    small, large = divide(vocabularies, engine.memory)
    folder = work / vocabulary.FOLDER
    tables = {
        file: table(vocabulary.read(folder / file), oov_last=last)
        for file, last in {entry.file: entry.oov_last for entry in small.values()}.items()
    }
    found = {index: tables[entry.file].ids(values[index]) for index, entry in small.items()}
    for index, entry in large.items():
        found[index] = ids_on_disk(engine, values[index], entry, folder / entry.file, work)
    return found


def divide(vocabularies: Mapping[int, Vocabulary], memory: int) -> tuple[dict[int, Vocabulary], ...]:
    """The vocabularies to hold in memory, smallest first as long as they fit, and the others.

    One with more text than an Arrow array can hold does not fit.
    """
    small: dict[int, Vocabulary] = {}
    large: dict[int, Vocabulary] = {}
    free = memory * MEMORY_SHARE
    for index, entry in sorted(vocabularies.items(), key=lambda item: (cost(item[1]), item[0])):
        is_shared = any(entry.file == other.file for other in small.values())
        needed = 0 if is_shared else cost(entry)
        fits = needed <= free and entry.bytes <= MAX_BYTES
        (small if fits else large)[index] = entry
        free -= needed if fits else 0
    return small, large


def cost(entry: Vocabulary) -> int:
    """Bytes of memory for a vocabulary."""
    return entry.bytes + ENTRY_BYTES * entry.values


def ids_on_disk(
    engine: Engine, values: Iterator[pa.Array], entry: Vocabulary, file: Path, folder: Path
) -> Iterator[np.ndarray]:
    """`LookupTable.ids` by the vocabulary in `file`: a join in DuckDB's memory limit, spilled to disk.

    `folder` holds the result.
    """
    lengths: list[int] = []
    query = sql.ids(file, entry.unknown, entry.missing)
    with tempfile.TemporaryFile(dir=folder) as result:
        with (
            engine.registered("numbered", NUMBERED, _numbered(values, lengths)),
            engine.reader(query, BATCH_ROWS) as reader,
        ):
            for batch in reader:
                result.write(batch.column(0).to_numpy().data)
        result.seek(0)
        for length in lengths:
            yield np.frombuffer(result.read(4 * length), np.int32)


def _numbered(values: Iterator[pa.Array], lengths: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for array in values:
        positions = np.arange(start, start + len(array))
        lengths.append(len(array))
        start += len(array)
        yield pa.RecordBatch.from_arrays([pa.array(positions), array], schema=NUMBERED)
