"""Third stage: the rows of a part → Parquet files of ids and numbers, in order and in bounded memory.

DuckDB keeps the order of rows through scans and projections but not through joins, so values are looked up
outside of it: in memory (`lookup`) or, where a vocabulary is too large for that, through the disk (`spill`).
"""

import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset as ds

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence, SplitName
from wukongctl.config.spec import Spec
from wukongctl.data import diagnosis, lookup, shuffle, spill, sql, vocabulary
from wukongctl.data.engine import Engine
from wukongctl.data.job import Job
from wukongctl.data.parts import Part
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.data.rejects import FILE, Rejects
from wukongctl.data.splits import Route
from wukongctl.data.stages import load, save, stage
from wukongctl.data.vocabulary import Vocabulary
from wukongctl.data.writer import SplitWriter, Written

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
BATCH_ROWS, LEAST_BATCH_ROWS = 32_768, 1024
AHEAD = 8
"""Batches that are read before they are used…"""
VALUE_BYTES = 48
"""… of which a value takes about this much, and all together at most a quarter of the memory limit."""
PAGE = "encoded.json"
Scales = dict[int, tuple[float, float]]
"""Mean and standard deviation of the features to standardize."""


class Encoded(Spec):
    """What the encoding of one part gave."""

    splits: dict[SplitName, Written]
    rejected: int = 0


def encode(
    job: Job,
    part: Part,
    report: Report = silent,
    *,
    vocabularies: Mapping[int, Vocabulary],
    scales: Scales,
) -> None:
    """Encode the rows of `part` into one folder per split, unless that is done."""
    final = job.encoded(part)
    if (final / PAGE).is_file():
        return
    with stage(final) as folder, job.engine(part.name) as engine:
        columns = schema(job.spec)
        special = special_ids(job.spec, vocabularies)
        writers = {name: SplitWriter(folder, name, columns, special=special) for name in part.names}
        scatter = _scatter(job, part, folder / shuffle.BUCKETS, columns)
        rejects = Rejects(engine, job.spec, part.query) if job.spec.on_error == "skip" else None
        row = 0
        # Closed before the engine is, whatever happens to a batch.
        with closing(_batches(job, part, engine, vocabularies, scales)) as batches:
            for batch in batches:
                if rejects is not None:
                    batch = rejects.strip(batch)  # noqa: PLW2901
                diagnosis.require_values(engine, job.spec, part.query, batch, row)
                for name, rows in divided(batch, part.route, row, columns):
                    (scatter if scatter and name == "train" else writers[name]).write(rows)
                row += batch.num_rows
                report(Progress("encoding", row, part.rows, "rows"))
        if scatter:
            scatter.close()
            del writers["train"]
        if rejects is not None:
            rejects.collect()
            rejects.write(folder / FILE)
        written = {name: writer.close() for name, writer in writers.items()}
        save(folder / PAGE, Encoded(splits=written, rejected=rejects.count if rejects is not None else 0))


def result(job: Job, part: Part) -> Encoded:
    """What `encode` gave."""
    page = load(job.encoded(part) / PAGE, Encoded)
    assert page is not None
    return page


def special_ids(spec: DatasetSpec, vocabularies: Mapping[int, Vocabulary]) -> dict[str, tuple[int, int]]:
    """The ids of missing and of unknown values, by column."""
    return {spec.columns[index][0]: (entry.missing, entry.unknown) for index, entry in vocabularies.items()}


def schema(spec: DatasetSpec) -> pa.Schema:
    """Columns of the Parquet files."""
    types = {Categorical: pa.int32(), Numeric: pa.float32(), Sequence: pa.list_(pa.int32())}
    fields = [pa.field("label", pa.uint8())]
    fields += [pa.field(name, types[type(group)]) for name, group in spec.columns]
    if spec.probability is not None:
        fields.append(pa.field("probability", pa.float32()))
    return pa.schema(fields)


def divided(
    batch: pa.RecordBatch, route: Route, row: int, columns: pa.Schema
) -> Iterator[tuple[SplitName, pa.Table]]:
    """The parts of a batch that begins at `row` of its stream, by split, under the final column names."""
    names = [name for name in batch.schema.names if name != "split_"]
    table = pa.table([batch.column(name) for name in names], names=columns.names).cast(columns)
    if route.ends:
        start = 0
        for name, end in zip(route.names, route.ends, strict=True):
            stop = min(max(end - row, start), table.num_rows)
            if stop > start:
                yield name, table.slice(start, stop - start)
            start = stop
    elif route.expression is not None:
        split = batch.column("split_").to_numpy()
        for position, name in enumerate(route.names):
            yield name, table.filter(pa.array(split == position))
    else:
        yield route.names[0], table


def _scatter(job: Job, part: Part, folder: Path, columns: pa.Schema) -> shuffle.Scatter | None:
    if job.spec.shuffle is None or "train" not in part.names:
        return None
    return shuffle.Scatter(folder, columns, shuffle.buckets(job), job.spec.shuffle.seed, part.index)


def _batches(
    job: Job, part: Part, engine: Engine, vocabularies: Mapping[int, Vocabulary], scales: Scales
) -> Generator[pa.RecordBatch]:
    """The rows of `part` with ids for values, under the names of `sql`."""
    small, large = lookup.divide(vocabularies, engine.memory)
    tables = lookup.load(small, job.work / vocabulary.FOLDER)
    share = int(engine.memory * lookup.SHARE)
    dealt = {
        index: min(-(-2 * lookup.cost(entry) // share) + 1, spill.MAX_PARTITIONS)
        for index, entry in large.items()
    }
    with_split = part.expression is not None
    query = sql.encodable(job.spec, part.select(job.spec), scales, dealt, with_split=with_split)
    known = looked_up(engine, query, job.spec, tables)
    if not large:
        yield from known
        return
    folder = job.work / "spill" / f"values-{part.name}"
    shutil.rmtree(folder, ignore_errors=True)
    dealers = {i: spill.Dealer(folder / str(i), dealt[i], entry) for i, entry in large.items()}
    yield from _through_disk(known, dealers, folder, engine, job.work / vocabulary.FOLDER)


def _through_disk(
    batches: Iterator[pa.RecordBatch],
    dealers: Mapping[int, spill.Dealer],
    folder: Path,
    engine: Engine,
    vocabularies: Path,
) -> Iterator[pa.RecordBatch]:
    """`batches` with ids in place of the values of the features in `dealers`."""
    rows = spill.Rows(folder / "rows.arrow")
    for batch in batches:
        for index, dealer in dealers.items():
            dealer.deal(_flat(batch.column(f"f{index}")), _flat(batch.column(f"p{index}")))
        rows.write(batch.drop_columns([f"f{index}" for index in dealers]))
    with ExitStack() as stack:
        for dealer in dealers.values():
            stack.callback(dealer.close)
            dealer.look_up(engine, vocabularies)
        names = None
        for batch in rows.read():
            columns = {name: batch.column(name) for name in batch.schema.names}
            for index, dealer in dealers.items():
                places = columns.pop(f"p{index}")
                columns[f"f{index}"] = _like(places, dealer.collect(_flat(places)))
            names = names or _ordered(columns)
            yield pa.RecordBatch.from_arrays([columns[name] for name in names], names)
    shutil.rmtree(folder, ignore_errors=True)


def looked_up(
    engine: Engine, query: str, spec: DatasetSpec, tables: Mapping[int, lookup.Table]
) -> Iterator[pa.RecordBatch]:
    """The rows of `query` with ids for the values of the features in `tables`."""
    sequences = [
        i for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence) and i in tables
    ]
    rows = batch_rows(engine.memory, len(spec.columns))
    with engine.reader(query, rows) as reader, paced(reader, AHEAD) as (batches, used):
        columns = {name: pc.field(name) for name in reader.schema.names}
        for index, table in tables.items():
            if index not in sequences:
                columns[f"f{index}"] = table.ids(columns[f"f{index}"])
        scanner = ds.Scanner.from_batches(
            batches,
            columns=columns,
            use_threads=engine.threads != 1,
            batch_size=rows,
            batch_readahead=4,
        )
        for batch in scanner.to_reader():
            used()
            yield _with_lists(batch, sequences, tables) if sequences else batch


def batch_rows(memory: int, columns: int) -> int:
    """Rows of a batch, a power of two, such that those read ahead take a quarter of `memory` bytes."""
    fit = memory // (4 * AHEAD * VALUE_BYTES * columns)
    return max(min(BATCH_ROWS, 1 << fit.bit_length() >> 1), LEAST_BATCH_ROWS)


@contextmanager
def paced(
    reader: pa.RecordBatchReader, ahead: int
) -> Iterator[tuple[pa.RecordBatchReader, Callable[[], None]]]:
    """`reader` held back once it is `ahead` batches before the calls of the function that comes with it.

    Left alone, Arrow's scanner reads on until a gigabyte of batches waits for a slower writer.
    """
    free, left = threading.Semaphore(ahead), threading.Event()

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            free.acquire()
            if left.is_set():
                return
            yield batch

    try:
        yield pa.RecordBatchReader.from_batches(reader.schema, batches()), free.release
    finally:
        left.set()
        free.release()


def _with_lists(
    batch: pa.RecordBatch, sequences: list[int], tables: Mapping[int, lookup.Table]
) -> pa.RecordBatch:
    for index in sequences:
        lists = batch.column(f"f{index}")
        encoded = _like(lists, tables[index].ids(lists.flatten()))
        batch = batch.set_column(batch.schema.get_field_index(f"f{index}"), f"f{index}", encoded)
    return batch


def _flat(column: pa.Array) -> pa.Array:
    return column.flatten() if isinstance(column, pa.ListArray) else column


def _like(column: pa.Array, values: pa.Array) -> pa.Array:
    """`values` in the lists of `column`, if it has lists."""
    if not isinstance(column, pa.ListArray):
        return values
    # `flatten` starts at the first list even where the column is a slice.
    return pa.ListArray.from_arrays(pc.subtract(column.offsets, column.offsets[0]), values)


def _ordered(columns: Mapping[str, pa.Array]) -> list[str]:
    """Names in the order of `sql.encodable`: fixed ones, features by number, the probability."""
    features = sorted((name for name in columns if name.startswith("f")), key=lambda name: int(name[1:]))
    first = [name for name in ("label_", "split_", "reject_") if name in columns]
    return [*first, *features, *(["probability_"] if "probability_" in columns else [])]
