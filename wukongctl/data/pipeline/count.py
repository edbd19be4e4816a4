"""Occurrences of each value in the train rows of a part, and moments of its numbers.

Writes `counts/<part>/f<feature>.parquet` (value, count; unordered) and `moments.json`. Numbers to encode as
bins or pieces are counted as integers in the same order (`bins.keys`).
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import Numeric
from wukongctl.config.spec import Spec
from wukongctl.data.pipeline import bins, declared
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.writer import InfiniteValue
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.data.query import sql
from wukongctl.data.stages import save, stage
from wukongctl.machine import in_order

MOMENTS = "moments.json"
STAGE = "counting values"
OCCURRENCES = pa.schema([("value", pa.string()), ("count", pa.int64())])
NUMBERS = pa.schema([("value", pa.int64()), ("count", pa.int64())])


class Moments(NamedTuple):
    """Count, mean and variance of numbers."""

    count: int
    mean: float
    variance: float


class PartMoments(Spec):
    """Moments by feature to standardize."""

    features: dict[int, Moments]


def count(job: PrepareJob, part: Part, report: ReportProgress = silent) -> None:
    """Count the values of `part`, unless that is done."""
    if job.counts(part).is_dir():
        return
    encoded = {index for index, _, _ in job.spec.encoded}
    texts = [index for index, (_, group) in enumerate(job.spec.columns) if not isinstance(group, Numeric)]
    with stage(job.counts(part)) as folder, job.engine(part.name) as engine:
        in_memory = part.index in (job.held or {}) and not job.spec.is_declared
        if in_memory:
            report(Progress(STAGE, 0, len(texts)))
            deque(in_order(partial(_write_held, job, part, folder), texts, engine.threads), maxlen=0)
        streamed = [*encoded, *([] if in_memory else texts)]
        for step, feature in enumerate(streamed):
            report(Progress(STAGE, step, len(streamed)))
            schema, values = (NUMBERS, _numbers) if feature in encoded else (OCCURRENCES, _occurrences)
            with engine.registered("occurrences", schema, values(job, part, feature)):
                # An aggregate that spills to disk, one feature at a time.
                summed = sql.sum_counts("SELECT value, count FROM occurrences")
                engine.execute(sql.copy(summed, folder / file_name(feature), "lz4"))
        save(folder / MOMENTS, PartMoments(features=_moments(job, part)))


def file_name(feature: int) -> str:
    """The file of the counts of one feature."""
    return f"f{feature}.parquet"


def merged(moments: Iterable[Moments]) -> Moments:
    """The moments of all numbers from those of their parts."""
    known = list(moments)
    total = sum(part.count for part in known)
    mean = sum(part.count * part.mean for part in known) / (total or 1)
    spread = sum(part.count * (part.variance + (part.mean - mean) ** 2) for part in known)
    return Moments(total, mean, spread / (total or 1))


def _write_held(job: PrepareJob, part: Part, folder: Path, feature: int) -> None:
    """Count one feature of rows in memory."""
    (values,) = job.stored(part).values(feature)
    counts = np.zeros(len(values), np.int64)
    for places, found in _by_code(job, part, feature):
        np.add.at(counts, places.to_numpy(), found)
    table = pa.Table.from_batches([_filled(values, counts)])
    pq.write_table(table, folder / file_name(feature), compression="lz4")


def _occurrences(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.RecordBatch]:
    """Values and their counts, by batch."""
    return (_filled(*found) for found in _by_code(job, part, feature))


def _by_code(job: PrepareJob, part: Part, feature: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """By batch, what its codes stand for, and the occurrences of each."""
    for column in _train(job, part, feature):
        codes = column.flatten() if isinstance(column, pa.ListArray) else column
        yield codes.dictionary, np.bincount(codes.indices.to_numpy(), minlength=len(codes.dictionary))


def _filled(values: pa.Array, counts: np.ndarray) -> pa.RecordBatch:
    """Values that occur, with their counts."""
    batch = pa.RecordBatch.from_arrays([values, pa.array(counts)], schema=OCCURRENCES)
    occurs = (counts > 0) & values.is_valid().to_numpy(zero_copy_only=False)
    return batch if occurs.all() else batch.filter(pa.array(occurs))


def _numbers(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.RecordBatch]:
    """Keys of numbers and their counts, by batch."""
    for column in _train(job, part, feature):
        found, counts = np.unique(bins.keys(column.drop_null().to_numpy()), return_counts=True)
        yield pa.RecordBatch.from_arrays([pa.array(found), pa.array(counts)], schema=NUMBERS)


def _moments(job: PrepareJob, part: Part) -> dict[int, Moments]:
    """Moments of the features of `part` to standardize; raises InfiniteValue."""
    found = {}
    for feature, (name, group) in enumerate(job.spec.columns):
        if isinstance(group, Numeric) and group.standardize:
            with np.errstate(invalid="ignore", over="ignore"):
                found[feature] = _of_batches(
                    column.drop_null().to_numpy() for column in _train(job, part, feature)
                )
            if not math.isfinite(found[feature].mean + found[feature].variance):
                raise InfiniteValue(f"`{name}` has infinite values")
    return found


def _of_batches(batches: Iterable[np.ndarray]) -> Moments:
    """Moments of all numbers, computed of their differences from the first one.

    Sums of timestamps around 1.7e9 that are seconds apart would lose too many digits.
    """
    first, found = None, []
    for numbers in batches:
        if len(numbers):
            first = float(numbers[0]) if first is None else first
            shifted = numbers - first
            found.append(Moments(len(numbers), float(shifted.mean()), float(shifted.var())))
    total = merged(found)
    return total._replace(mean=total.mean + (first or 0.0))


def _train(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.Array]:
    """One column of the train rows of `part`, by batch; of rows as generated an ideal sample."""
    if job.spec.is_declared:
        yield declared.ideal(job.spec, feature)
        return
    row, names = 0, [f"f{feature}", *(["split_"] if part.expression else [])]
    for batch in job.stored(part).read(names):
        if part.expression:
            train = pa.array(batch.column("split_").to_numpy() == 0)
            yield batch.column(0).filter(train)
        elif part.ends and row >= part.ends[0]:
            return
        else:
            yield batch.column(0)[: max(part.ends[0] - row, 0) if part.ends else None]
        row += batch.num_rows
