"""A few raw rows and what preparation makes of them, kept with the dataset for `predict` to check itself.

    sample/raw.parquet      the raw columns that the features need, of up to `ROWS` rows
    sample/encoded.parquet  the same rows as the SELECT gave them to training, encoded

The second comes from the recipe's own SELECT over the raw file, nothing in it changed but that rows are
numbered; `predict` must get the same from the first by its own way.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.data.manifest import SAMPLE_ENCODED, SAMPLE_RAW, RawRows
from wukongctl.data.pipeline import encode, lookup, reading, spill, spool, vocabulary
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.query import rewriting, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.rewriting import Rewritten

OTHERS = ("label", "probability")
ROWS = 100
LOOKED_AT = 1000
"""Rows at the beginning of the SELECT that the sample is taken from."""
AS_TEXT = ("HUGEINT", "UHUGEINT", "INTERVAL", "BIT", "TIME WITH TIME ZONE")
"""Types that Parquet has not, or not in full."""


def take(
    job: PrepareJob, raw: RawRows, vocabularies: Mapping[int, Vocabulary], encoders: Encoders, folder: Path
) -> int:
    """Write the two files below `folder`; how many rows they have."""
    part = job.parts[0]
    select = rewriting.rewritten(part.query, raw.source)
    with job.engine("sample") as engine:
        seen = select.over(rewriting.numbered(f"SELECT * FROM {select.reader.text}"), text=select.filtered)
        rows = sql.select(job.spec, seen, part.types, also=[select.number])
        batch = _spread(engine, job, f"SELECT * FROM (\n{rows}\n) LIMIT {LOOKED_AT}")
        if not batch.num_rows:
            return 0
        numbers = batch.column(select.number).to_numpy()
        batch = batch.take(pa.array(np.argsort(numbers)))
        encoded = encode.encoded(batch, _ids(engine, job, batch, vocabularies), job.spec, encoders)
        places = [f"f{index}" for index in range(len(job.spec.columns))]
        places += [f"e{index}" for index, _, _ in job.spec.encoded]
        schema = pa.schema([field for field in encode.schema(job.spec) if field.name not in OTHERS])
        features = pa.table([encoded.column(name) for name in places], names=schema.names).cast(schema)
        (folder / SAMPLE_RAW).parent.mkdir(exist_ok=True)
        pq.write_table(_raw(engine, select, raw, np.sort(numbers)), folder / SAMPLE_RAW)
        pq.write_table(features, folder / SAMPLE_ENCODED)
    return batch.num_rows


def _spread(engine: Engine, job: PrepareJob, query: str) -> pa.RecordBatch:
    """Up to `ROWS` of the first rows that training has, spread over them, as a spool keeps rows."""
    batch = next(iter(reading.compact(engine, query, job.spec)))
    there = batch.column("label_").is_valid()
    if "reject_" in batch.schema.names:
        there = batch.column("reject_").is_null()
    rows = np.flatnonzero(there.to_numpy(zero_copy_only=False))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int))]
    return batch.take(pa.array(chosen))


def _ids(
    engine: Engine, job: PrepareJob, batch: pa.RecordBatch, vocabularies: Mapping[int, Vocabulary]
) -> dict[int, np.ndarray]:
    """By feature, the ids of the distinct values of the batch, and last that of no value."""
    folder = job.work / vocabulary.FOLDER
    values = {index: spool.distinct(batch.column(f"f{index}")) for index in vocabularies}
    small, large = lookup.divide(vocabularies, engine.memory)
    ids = {index: next(table.ids([values[index]])) for index, table in lookup.load(small, folder).items()}
    for index, entry in large.items():
        ids[index] = next(spill.ids(engine, iter([values[index]]), entry, folder / entry.file, job.work))
    return ids


def _raw(engine: Engine, select: Rewritten, raw: RawRows, numbers: np.ndarray) -> pa.Table:
    """The needed columns of the raw rows with these numbers, which rise."""
    columns = [
        f"CAST({sql.identifier(name)} AS VARCHAR) AS {sql.identifier(name)}"
        if raw.columns[name] in AS_TEXT
        else sql.identifier(name)
        for name in raw.needed
    ]
    number = f"{rewriting.ROW}0"
    first = f"{rewriting.numbered(f'SELECT * FROM {select.reader.text}')} LIMIT {numbers[-1]}"
    wanted = ", ".join(map(str, numbers))
    query = f"SELECT {', '.join(columns)} FROM (\n{first}\n) WHERE {number} IN ({wanted}) ORDER BY {number}"
    with engine.reader(query, LOOKED_AT) as reader:
        return pa.Table.from_batches(list(reader), reader.schema)
