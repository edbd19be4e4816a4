"""First stage: the raw rows of a part, read once, into a spool of columns in the order of the file.

Raw text is the dearest thing to read, so everything that comes after starts from `rows/<part>/`: the columns
of `sql.select` with text as codes and numbers transformed, `rejected.csv`, and how many rows there are.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.ma  # by pyarrow on first use; where two threads are first at once, NumPy may recurse without end
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec, Numeric, Sequence
from wukongctl.config.spec import Spec
from wukongctl.data.pipeline import diagnosis, spool
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.rejects import FILE, Rejects
from wukongctl.data.progress import Progress, Report, bytes_read, silent
from wukongctl.data.query.engine import Engine
from wukongctl.data.stages import load, save, stage
from wukongctl.errors import RunFailed

Item = TypeVar("Item")
Done = TypeVar("Done")
STAGE = "reading"
SAVED = "rows.json"
BATCH_ROWS, LEAST_BATCH_ROWS = spool.MAX_ROWS, 1024
AHEAD = 4
"""Batches that are worked on at a time…"""
VALUE_BYTES = 48
"""… of which a value takes about this much, and all together at most a quarter of the memory limit."""


class PartRows(Spec):
    """What one part holds."""

    rows: int
    rejected: int = 0


def read(job: PrepareJob, part: Part, report: Report = silent) -> None:
    """Read the rows of `part` into a spool, unless that is done."""
    if (job.rows(part) / SAVED).is_file():
        return
    with stage(job.rows(part)) as folder, job.engine(part.name) as engine:
        rejects = Rejects(engine, job.spec, part.query) if job.spec.on_error == "skip" else None
        check = partial(_checked, engine=engine, spec=job.spec, query=part.query, rejects=rejects)
        rows = 0
        tell = _telling(job.bytes(part), report)
        try:
            # Closed before the engine is, whatever happens to a batch.
            with closing(compact(engine, part.select(job.spec), job.spec, check)) as batches:
                for batch in batches:
                    spool.append(folder, batch)
                    rows += batch.num_rows
                    tell(rows)
        except RunFailed as failure:
            raise diagnosis.earliest(engine, job.spec, part.query, failure, part.expression) from None
        if rejects is not None:
            rejects.collect()
            rejects.write(folder / FILE)
        save(folder / SAVED, PartRows(rows=rows, rejected=rejects.count if rejects is not None else 0))


def result(job: PrepareJob, part: Part) -> PartRows:
    """What `read` found."""
    saved = load(job.rows(part) / SAVED, PartRows)
    assert saved is not None
    return saved


def compact(
    engine: Engine,
    query: str,
    spec: DatasetSpec,
    check: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]] = iter,
) -> Generator[pa.RecordBatch]:
    """The rows of a query of `sql.select` as a spool keeps them, in order; batches pass `check` before."""
    rows = batch_rows(engine.memory, len(spec.columns))
    with engine.reader(query, rows) as reader:
        yield from in_order(partial(_compacted, spec=spec), check(reader), engine.threads)


def in_order(work: Callable[[Item], Done], items: Iterable[Item], threads: int | None) -> Generator[Done]:
    """`work` on each item in threads, results in the order of items, few of them at a time."""
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, "batches") as pool:
        pending: deque[Future[Done]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def batch_rows(memory: int, columns: int) -> int:
    """Rows of a batch, a power of two, such that those worked on take a quarter of `memory` bytes."""
    fit = memory // (4 * AHEAD * VALUE_BYTES * columns)
    return max(min(BATCH_ROWS, 1 << fit.bit_length() >> 1), LEAST_BATCH_ROWS)


def _checked(
    batches: Iterable[pa.RecordBatch], engine: Engine, spec: DatasetSpec, query: str, rejects: Rejects | None
) -> Iterator[pa.RecordBatch]:
    """`batches` without the rows to leave out; RunFailed for a label or split that is not allowed."""
    row = 0
    for batch in batches:
        accepted = batch if rejects is None else rejects.strip(batch)
        diagnosis.require_values(engine, spec, query, accepted, row)
        row += accepted.num_rows
        yield accepted


def _compacted(batch: pa.RecordBatch, spec: DatasetSpec) -> pa.RecordBatch:
    columns = {name: batch.column(name) for name in batch.schema.names}
    for index, (_, group) in enumerate(spec.columns):
        column = columns[f"f{index}"]
        # In a text, the blanks around a separator belong to it: `red, blue` has no value ` blue`.
        split = isinstance(group, Sequence) and group.separator is not None
        columns[f"f{index}"] = (
            _number(column, group) if isinstance(group, Numeric) else spool.coded(column, trimmed=split)
        )
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _number(column: pa.Array, group: Numeric) -> pa.Array:
    """Numbers after their transform: double where they are still to be standardized or cut, else float."""
    values = column.fill_null(0).to_numpy()
    if group.transform == "log1p":
        values = np.log(1 + np.maximum(values, 0))
    if not group.standardize and group.encoding == "scalar":
        values = narrowed(values)
    return spool.mapped(column, values)


def narrowed(values: np.ndarray) -> np.ndarray:
    """float64 as float32, infinite where that cannot hold them."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _telling(size: int, report: Report) -> Callable[[int], None]:
    """Reports progress by bytes where the system counts them, else by rows."""
    begun = bytes_read()

    def tell(rows: int) -> None:
        now = bytes_read()
        if begun is None or now is None or not size:
            report(Progress(STAGE, rows, None, "rows"))
        else:
            report(Progress(STAGE, min(now - begun, size), size, "bytes"))

    tell(0)
    return tell
