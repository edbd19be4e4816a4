"""The spooled rows of a part → Parquet files of ids and numbers, in order and in bounded memory.

Only the distinct values of each batch are looked up; the codes of the rows then select their ids.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec, Numeric, Sequence, SplitName
from wukongctl.config.spec import Spec
from wukongctl.data.pipeline import lookup, numbers, reading, shuffle
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.pipeline.writer import SplitWriter, Written
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.stages import load, save, stage
from wukongctl.data.synthetic.generate import CHUNK
from wukongctl.machine import in_order

SAVED = "encoded.json"


class Encoded(Spec):
    """What was written of one part."""

    splits: dict[SplitName, Written]


def encode(
    job: PrepareJob,
    part: Part,
    report: ReportProgress = silent,
    *,
    vocabularies: Mapping[int, Vocabulary],
    encoders: Encoders,
) -> None:
    """Encode the rows of `part` into one folder per split, unless that is done."""
    final = job.encoded(part)
    if (final / SAVED).is_file():
        return
    total = reading.result(job, part).rows
    with stage(final) as folder, job.engine(part.name) as engine:
        columns = schema(job.spec)
        special = special_ids(job.spec, vocabularies)
        # Groups as the generator's chunks: a streamed train split is shuffled like one that is stored.
        writer = partial(SplitWriter, row_group=CHUNK) if job.spec.is_declared else SplitWriter
        writers = {name: writer(folder, name, columns, special=special) for name in part.names}
        scatter = _scatter(job, part, folder / shuffle.BUCKETS, columns)
        row = 0
        with closing(_batches(job, part, engine, vocabularies, encoders)) as batches:
            for batch in batches:
                for name, rows in divided(batch, part, row, columns):
                    (scatter if scatter and name == "train" else writers[name]).write(rows)
                row += batch.num_rows
                report(Progress("encoding", row, total, "rows"))
        if scatter:
            scatter.close()
            del writers["train"]
        written = {name: writer.close() for name, writer in writers.items()}
        save(folder / SAVED, Encoded(splits=written))
    job.stored(part).discard()


def result(job: PrepareJob, part: Part) -> Encoded:
    """What `encode` wrote."""
    saved = load(job.encoded(part) / SAVED, Encoded)
    assert saved is not None
    return saved


def special_ids(spec: DatasetSpec, vocabularies: Mapping[int, Vocabulary]) -> dict[str, tuple[int, int]]:
    """The ids of missing and of unknown values, by column."""
    return {spec.columns[index][0]: (entry.missing, entry.unknown) for index, entry in vocabularies.items()}


def schema(spec: DatasetSpec) -> pa.Schema:
    """Columns of the Parquet files."""
    probability = [pa.field("probability", pa.float32())] if spec.probability is not None else []
    return pa.schema([pa.field("label", pa.uint8()), *feature_schema(spec), *probability])


def feature_schema(spec: DatasetSpec) -> pa.Schema:
    """Columns of the features, followed by those of encoded numbers."""
    own, added = numbers.fields(spec)
    numeric = {field.name: field for field in own}
    fields = []
    for name, group in spec.columns:
        kind = pa.list_(pa.int32()) if isinstance(group, Sequence) else pa.int32()
        fields.append(numeric.get(name) or pa.field(name, kind))
    return pa.schema([*fields, *added])


def divided(
    batch: pa.RecordBatch, part: Part, row: int, columns: pa.Schema
) -> Iterator[tuple[SplitName, pa.Table]]:
    """The rows of a batch by split, with the final column names; `row` is the number of its first row."""
    names = [name for name in batch.schema.names if name != "split_"]
    table = pa.table([batch.column(name) for name in names], names=columns.names).cast(columns)
    if part.ends:
        start = 0
        for name, end in zip(part.names, part.ends, strict=True):
            stop = min(max(end - row, start), table.num_rows)
            if stop > start:
                yield name, table.slice(start, stop - start)
            start = stop
    elif part.expression is not None:
        split = batch.column("split_").to_numpy()
        for position, name in enumerate(part.names):
            yield name, table.filter(pa.array(split == position))
    else:
        yield part.names[0], table


def _scatter(job: PrepareJob, part: Part, folder: Path, columns: pa.Schema) -> shuffle.Scatter | None:
    if job.spec.shuffle is None or "train" not in part.names:
        return None
    return shuffle.Scatter(folder, columns, shuffle.buckets(job), job.spec.shuffle.seed, part.index)


def _batches(
    job: PrepareJob, part: Part, engine: Engine, vocabularies: Mapping[int, Vocabulary], encoders: Encoders
) -> Generator[pa.RecordBatch]:
    """The rows of `part`, encoded."""
    rows = job.stored(part)
    values = {index: rows.values(index) for index in vocabularies}
    found = lookup.ids(engine, vocabularies, values, job.work)
    ids = {index: rows.ids(index, each) for index, each in found.items()}
    batches = rows.read(sql.columns(job.spec, with_split=part.expression is not None))
    items = ((batch, {index: next(each) for index, each in ids.items()}) for batch in batches)
    return in_order(lambda item: encoded(*item, job.spec, encoders), items, engine.threads)


def encoded(
    batch: pa.RecordBatch, ids: Mapping[int, np.ndarray], spec: DatasetSpec, encoders: Encoders
) -> pa.RecordBatch:
    """A spooled batch with ids for values and encoded numbers, in the order of `schema`; keeps `split_`.

    By feature, `ids` has the id of each distinct value of the batch.
    """
    columns = {name: batch.column(name) for name in batch.schema.names}
    added = {
        f"e{index}": numbers.encoded(columns[f"f{index}"], group, encoders[index])
        for index, _, group in spec.encoded
    }
    for index, (_, group) in enumerate(spec.columns):
        column = columns.pop(f"f{index}")
        if isinstance(group, Numeric):
            columns[f"f{index}"] = numbers.scalar(column, encoders[index])
        else:
            found = ids[index]
            columns[f"f{index}"] = (
                _items(column, found, group) if isinstance(group, Sequence) else _ids(column, found)
            )
    columns |= added
    if "probability_" in columns:
        columns["probability_"] = columns.pop("probability_").cast(pa.float32())
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _ids(codes: pa.DictionaryArray, ids: np.ndarray) -> pa.Array:
    return pa.array(ids[codes.indices.to_numpy()])


def _items(lists: pa.ListArray, ids: np.ndarray, group: Sequence) -> pa.Array:
    """Ids of the first or last items of each list."""
    ends = lists.offsets.to_numpy()
    starts, stops = ends[:-1], ends[1:]
    if group.keep == "last":
        starts = np.maximum(starts, stops - group.max_len)
    else:
        stops = np.minimum(stops, starts + group.max_len)
    offsets = np.concatenate([[0], np.cumsum(stops - starts)])
    kept = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts)
    codes = lists.values.indices.to_numpy()
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids[codes[kept]]))
