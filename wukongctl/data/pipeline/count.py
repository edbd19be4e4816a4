"""Second stage: how often each value occurs in the train rows of a part, and moments of its numbers.

Leaves `counts/<part>/f<feature>.parquet` (value, count; in no order) and `moments.json`. Numbers to be cut
into bins or pieces are there as integers in the same order (`bins.keys`).
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import Numeric
from wukongctl.config.spec import Spec
from wukongctl.data.pipeline import bins, spool
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.writer import InfiniteValue
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.data.query import sql
from wukongctl.data.stages import save, stage

MOMENTS = "moments.json"
STAGE = "counting values"
OCCURRENCES = pa.schema([("value", pa.string()), ("count", pa.int64())])
NUMBERS = pa.schema([("value", pa.int64()), ("count", pa.int64())])


class Moments(NamedTuple):
    """How many numbers, their mean and their variance."""

    count: int
    mean: float
    variance: float


class PartMoments(Spec):
    """Moments per feature to standardize."""

    features: dict[int, Moments]


def count(job: PrepareJob, part: Part, report: Report = silent) -> None:
    """Count the values of `part`, unless that is done."""
    if job.counts(part).is_dir():
        return
    cut = {index for index, _, _ in job.spec.encoded}
    valued = [
        index
        for index, (_, group) in enumerate(job.spec.columns)
        if index in cut or not isinstance(group, Numeric)
    ]
    with stage(job.counts(part)) as folder, job.engine(part.name) as engine:
        for step, feature in enumerate(valued):
            report(Progress(STAGE, step, len(valued)))
            # Streamed into an aggregate that spills to disk: only one feature is in memory at a time.
            found = _numbers(job, part, feature) if feature in cut else _occurrences(job, part, feature)
            kind = NUMBERS if feature in cut else OCCURRENCES
            with engine.registered("occurrences", kind, found):
                summed = sql.sum_counts("SELECT value, count FROM occurrences")
                engine.execute(sql.copy(summed, folder / file_name(feature), "lz4"))
        save(folder / MOMENTS, PartMoments(features=_moments(job, part)))


def file_name(feature: int) -> str:
    """The counts of one feature in the folder of a part."""
    return f"f{feature}.parquet"


def merged(moments: Iterable[Moments]) -> Moments:
    """The moments of all numbers, from those of their parts."""
    known = list(moments)
    total = sum(part.count for part in known)
    mean = sum(part.count * part.mean for part in known) / (total or 1)
    spread = sum(part.count * (part.variance + (part.mean - mean) ** 2) for part in known)
    return Moments(total, mean, spread / (total or 1))


def _occurrences(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.RecordBatch]:
    """Values and their counts, batch by batch."""
    for column in _train(job, part, feature):
        values = column.flatten() if isinstance(column, pa.ListArray) else column
        codes = values.indices.drop_null().to_numpy()
        counts = np.bincount(codes, minlength=len(values.dictionary))
        batch = pa.RecordBatch.from_arrays([values.dictionary, pa.array(counts)], schema=OCCURRENCES)
        yield batch if counts.all() else batch.filter(pa.array(counts > 0))


def _numbers(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.RecordBatch]:
    """Keys of numbers and their counts, batch by batch."""
    for column in _train(job, part, feature):
        found, counts = np.unique(bins.keys(column.drop_null().to_numpy()), return_counts=True)
        yield pa.RecordBatch.from_arrays([pa.array(found), pa.array(counts)], schema=NUMBERS)


def _moments(job: PrepareJob, part: Part) -> dict[int, Moments]:
    """Moments of the features of `part` to standardize; raises InfiniteValue."""
    found = {}
    for feature, (name, group) in enumerate(job.spec.columns):
        if isinstance(group, Numeric) and group.standardize:
            with np.errstate(invalid="ignore", over="ignore"):
                found[feature] = _of(column.drop_null().to_numpy() for column in _train(job, part, feature))
            if not math.isfinite(found[feature].mean + found[feature].variance):
                raise InfiniteValue(f"`{name}` has infinite values")
    return found


def _of(batches: Iterable[np.ndarray]) -> Moments:
    """Moments of all numbers, taken of what each is beyond the first one: of times around 1.7e9 that are
    seconds apart, sums of the numbers themselves would keep too few digits."""
    first, found = None, []
    for numbers in batches:
        if len(numbers):
            first = float(numbers[0]) if first is None else first
            beyond = numbers - first
            found.append(Moments(len(numbers), float(beyond.mean()), float(beyond.var())))
    whole = merged(found)
    return whole._replace(mean=whole.mean + (first or 0.0))


def _train(job: PrepareJob, part: Part, feature: int) -> Iterator[pa.Array]:
    """One feature of the train rows of `part`, by batch."""
    row, names = 0, [f"f{feature}", *(["split_"] if part.expression else [])]
    for batch in spool.read(job.rows(part), names):
        if part.expression:
            train = pa.array(batch.column("split_").to_numpy() == 0)
            yield batch.column(0).filter(train)
        elif part.ends and row >= part.ends[0]:
            return
        else:
            yield batch.column(0)[: max(part.ends[0] - row, 0) if part.ends else None]
        row += batch.num_rows
