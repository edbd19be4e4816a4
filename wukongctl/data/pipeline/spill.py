"""Values → ids by a join on disk: the slow road, for vocabularies that do not fit in memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

NUMBERED = pa.schema([("position", pa.int64()), ("value", pa.string())])
BATCH_ROWS = 1 << 16


def ids(
    engine: Engine, values: Iterator[pa.Array], vocabulary: Vocabulary, file: Path, folder: Path
) -> Iterator[np.ndarray]:
    """Ids of each of the arrays `values` by the vocabulary in `file`, and last of each that of no value.

    DuckDB joins and sorts in its memory limit, on disk where that is too little; `folder` holds the result.
    """
    lengths: list[int] = []
    query = sql.ids(file, vocabulary.unknown)
    with tempfile.TemporaryFile(dir=folder) as found:
        with (
            engine.registered("numbered", NUMBERED, _numbered(values, lengths)),
            engine.reader(query, BATCH_ROWS) as reader,
        ):
            for batch in reader:
                found.write(batch.column(0).to_numpy().data)
        found.seek(0)
        for length in lengths:
            ids = np.frombuffer(found.read(4 * length), np.int32)
            yield np.append(ids, np.int32(vocabulary.missing))


def _numbered(values: Iterator[pa.Array], lengths: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for array in values:
        position = np.arange(start, start + len(array))
        lengths.append(len(array))
        start += len(array)
        yield pa.RecordBatch.from_arrays([pa.array(position), array], schema=NUMBERED)
