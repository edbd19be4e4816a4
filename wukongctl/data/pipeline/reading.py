"""The raw rows of a part, read once into compact columns, in the order of the file.

Parsing raw text is expensive, so later stages read the columns of `sql.select` from a `store`, with text as
codes and numbers transformed. `rows/<part>/` has the number of rows, `rejected.csv`, and the rows if they do
not fit in memory.
"""

import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import numpy.ma  # pyarrow imports it on first use; in two threads at once, NumPy may recurse endlessly
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec, Numeric, Sequence
from wukongctl.config.spec import Spec
from wukongctl.data.pipeline import bad_rows, spool
from wukongctl.data.pipeline.bad_rows import FILE, Rejects
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.store import MAX_BYTES, HeldRows, RowWriter
from wukongctl.data.progress import Progress, ReportProgress, bytes_read, silent
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.stages import load, save, stage
from wukongctl.errors import RunFailed
from wukongctl.machine import in_flight, in_order

STAGE = "reading"
SAVED = "rows.json"
BATCH_ROWS, MIN_BATCH_ROWS = spool.MAX_ROWS, 1024
VALUE_BYTES = 48
"""Approximate memory of a value in a batch."""
HELD_SHARE = 0.25
"""Share of the memory limit for rows that are kept in memory."""


class PartRows(Spec):
    """Numbers of rows of a part."""

    rows: int
    rejected: int = 0
    held: bool = False
    """Whether the rows were in memory, and must be read again if the process has ended."""


def read(job: PrepareJob, part: Part, report: ReportProgress = silent) -> None:
    """Read the rows of `part`, unless done."""
    if (job.rows(part) / SAVED).is_file() and not is_lost(job, part):
        return
    shutil.rmtree(job.rows(part), ignore_errors=True)
    with stage(job.rows(part)) as folder, job.engine(part.name) as engine:
        rejects = Rejects(engine, job.spec, part.query) if job.spec.on_error == "skip" else None
        check = partial(_checked, engine=engine, spec=job.spec, query=part.query, rejects=rejects)
        rows, writer = 0, RowWriter(folder, _free(job, engine.memory))
        report_rows = _reporter(job.bytes(part), report)
        try:
            # Closed before the engine, even if a batch fails.
            with closing(compact(engine, part.select(job.spec), job.spec, check)) as batches:
                for batch in batches:
                    writer.append(batch)
                    rows += batch.num_rows
                    report_rows(rows)
        except RunFailed as failure:
            raise bad_rows.earliest(engine, job.spec, part.query, failure, part.expression) from None
        if rejects is not None:
            rejects.collect()
            rejects.write(folder / FILE)
        held, rejected = writer.close(), rejects.count if rejects is not None else 0
        save(folder / SAVED, PartRows(rows=rows, rejected=rejected, held=held is not None))
        if held is not None:
            _keep(job, part, held, engine.threads)


def result(job: PrepareJob, part: Part) -> PartRows:
    """What `read` counted."""
    saved = load(job.rows(part) / SAVED, PartRows)
    assert saved is not None
    return saved


def compact(
    engine: Engine,
    query: str,
    spec: DatasetSpec,
    check: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]] = iter,
) -> Generator[pa.RecordBatch]:
    """The rows of a query of `sql.select` in spool form, in order; `check` filters batches first."""
    rows = batch_rows(engine.memory, len(spec.columns), engine.threads)
    with engine.reader(query, rows) as reader:
        yield from in_order(partial(_compacted, spec=spec), check(_readable(reader, spec)), engine.threads)


def batch_rows(memory: int, columns: int, threads: int | None) -> int:
    """Rows of a batch, a power of two, such that all in flight take a quarter of `memory` bytes."""
    fit = memory // (4 * in_flight(threads) * VALUE_BYTES * columns)
    return max(min(BATCH_ROWS, 1 << fit.bit_length() >> 1), MIN_BATCH_ROWS)


def is_lost(job: PrepareJob, part: Part) -> bool:
    """Whether rows of `part` were read into the memory of a process that ended before they were encoded."""
    saved = load(job.rows(part) / SAVED, PartRows)
    here = part.index in (job.held or {})
    return saved is not None and saved.held and not here and not job.encoded(part).is_dir()


def _free(job: PrepareJob, memory: int) -> float:
    """Bytes of memory for the rows of another part."""
    if job.held is None:
        return -1
    return memory * HELD_SHARE - sum(rows.bytes for rows in job.held.values())


def _keep(job: PrepareJob, part: Part, rows: HeldRows, threads: int | None) -> None:
    assert job.held is not None
    features = [index for index, (_, group) in enumerate(job.spec.columns) if not isinstance(group, Numeric)]
    deque(in_order(rows.unify, features, threads), maxlen=0)
    job.held[part.index] = rows


def _checked(
    batches: Iterable[pa.RecordBatch], engine: Engine, spec: DatasetSpec, query: str, rejects: Rejects | None
) -> Iterator[pa.RecordBatch]:
    """`batches` without rejected rows; RunFailed for a label or split that is not allowed."""
    row = 0
    for batch in batches:
        accepted = batch if rejects is None else rejects.strip(batch)
        bad_rows.require_values(engine, spec, query, accepted, row)
        row += accepted.num_rows
        yield accepted


def _readable(batches: Iterable[pa.RecordBatch], spec: DatasetSpec) -> Iterator[pa.RecordBatch]:
    """`batches`; RunFailed for more text than Arrow can address.

    The places of texts overflow then, and whoever reads them crashes.
    """
    for batch in batches:
        for index, (name, _) in enumerate(spec.columns):
            column = batch.column(f"f{index}")
            texts = column.values if isinstance(column, pa.ListArray) else column
            size = sum(part.size for part in texts.buffers()[2:]) if texts.type == pa.string_view() else 0
            if size > MAX_BYTES:
                quoted = sql.identifier(name)
                raise RunFailed(
                    f"`{name}` has {size / 1e9:.1f} GB of text in {batch.num_rows:,} rows, more than 2 GB "
                    f"(dataset `{spec.name}`)",
                    hint=f"shorten it in the SELECT: `{quoted}[:1000] AS {quoted}` keeps 1,000 characters of "
                    "a text, or items of a list",
                )
        yield batch


def _compacted(batch: pa.RecordBatch, spec: DatasetSpec) -> pa.RecordBatch:
    columns = {name: batch.column(name) for name in batch.schema.names}
    for index, (_, group) in enumerate(spec.columns):
        column = columns[f"f{index}"]
        # Spaces around a separator belong to it: `red, blue` has no value ` blue`.
        split = isinstance(group, Sequence) and group.separator is not None
        columns[f"f{index}"] = (
            number(column, group) if isinstance(group, Numeric) else spool.coded(column, trimmed=split)
        )
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def number(column: pa.Array, group: Numeric) -> pa.Array:
    """Transformed numbers: float64 if they will be standardized or encoded, else float32."""
    values = column.fill_null(0).to_numpy().astype(np.float64, copy=False)
    if group.transform == "log1p":
        values = np.log(1 + np.maximum(values, 0))
    if not group.standardize and group.encoding == "scalar":
        values = narrowed(values)
    return spool.mapped(column, values)


def narrowed(values: np.ndarray) -> np.ndarray:
    """float64 as float32, infinite on overflow."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _reporter(size: int, report: ReportProgress) -> Callable[[int], None]:
    """Reports progress in bytes if the system counts them, else in rows."""
    start = bytes_read()

    def report_rows(rows: int) -> None:
        now = bytes_read()
        if start is None or now is None or not size:
            report(Progress(STAGE, rows, None, "rows"))
        else:
            report(Progress(STAGE, min(now - start, size), size, "bytes"))

    report_rows(0)
    return report_rows
