"""Numeric features: mean, deviation and edges from train, and the columns encoded with them.

Preparation builds encoders from the counts of all parts; for new rows they are read from a manifest.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.numeric import Numeric
from wukongctl.config.spec import Spec
from wukongctl.data.manifest import Feature
from wukongctl.data.pipeline import bins, count, reading, spool
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.progress import Progress, ReportProgress
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.stages import load, save

SAVED = "edges.json"
SIGNIFICANT_DIGITS = 9
"""Means and deviations are rounded to these: beyond, sums over threads differ from run to run."""
MIN_DEVIATION = 1e-12
"""Smaller ones are due to rounding and must not scale the values of other splits."""
KEEPS_NULL = {b"missing": b"null"}
"""Metadata of a Parquet column that keeps NULL for a missing value; in others it becomes 0."""
BATCH_ROWS = 1 << 16


class Encoder(NamedTuple):
    """The parameters of one feature, from train."""

    mean: float | None = None
    std: float | None = None
    edges: tuple[float, ...] | None = None
    """Cuts between bins or breakpoints of pieces, before standardization."""


Encoders = dict[int, Encoder]
"""By the position of the feature."""


class Edges(Spec):
    """Edges by the position of the feature."""

    features: dict[int, tuple[float, ...]]


def build(job: PrepareJob, report: ReportProgress) -> Encoders:
    """Encoders from the counts of all parts."""
    scales, edges = _scales(job), _edges(job, report)
    return {
        index: Encoder(*scales.get(index, (None, None)), edges.get(index))
        for index, (_, group) in enumerate(job.spec.columns)
        if isinstance(group, Numeric)
    }


def from_manifest(features: Iterable[Feature]) -> Encoders:
    """The encoders of a prepared dataset."""
    own = [feature for feature in features if feature.of is None]
    edges = {feature.of: feature.edges for feature in features if feature.of is not None}
    return {
        index: Encoder(feature.mean, feature.std, edges.get(feature.name))
        for index, feature in enumerate(own)
        if feature.type == "numeric"
    }


def scalar(column: pa.Array, encoder: Encoder) -> pa.Array:
    """Numbers as float32, standardized if the encoder says so; keeps NULL."""
    values = column.fill_null(0).to_numpy()
    if encoder.mean is not None and encoder.std is not None:
        values = (column.fill_null(encoder.mean).to_numpy() - encoder.mean) / encoder.std
    return column if values.dtype == np.float32 else spool.mapped(column, reading.narrowed(values))


def encoded(column: pa.Array, group: Numeric, encoder: Encoder) -> pa.Array:
    """The encoded column: ids of bins, 0 if missing, or positions among breakpoints, which keep NULL."""
    edges = np.array(encoder.edges or (), np.float64)
    values = column.fill_null(0).to_numpy().astype(np.float64, copy=False)
    if group.is_piecewise:
        return spool.mapped(column, bins.positions(values, edges))
    found = bins.ids(values, edges)
    found[column.is_null().to_numpy(zero_copy_only=False)] = 0
    return pa.array(found)


def fields(spec: DatasetSpec) -> tuple[list[pa.Field], list[pa.Field]]:
    """The Parquet columns of numbers, and those of encoded numbers."""
    own = [
        pa.field(name, pa.float32(), metadata=None if group.encoding == "scalar" else KEEPS_NULL)
        for name, group in spec.numeric
    ]
    added = [
        pa.field(name, pa.float32(), metadata=KEEPS_NULL)
        if group.is_piecewise
        else pa.field(name, pa.int32())
        for _, name, group in spec.encoded
    ]
    return own, added


def _edges(job: PrepareJob, report: ReportProgress) -> dict[int, tuple[float, ...]]:
    """Edges of the features to encode; saved in the work folder."""
    saved = load(job.work / SAVED, Edges)
    if saved is not None or not job.spec.encoded:
        return saved.features if saved is not None else {}
    found = {}
    with job.engine("edges") as engine:
        for step, (index, _, group) in enumerate(job.spec.encoded):
            report(Progress("computing bin edges", step, len(job.spec.encoded)))
            low, high, counts = _distinct(
                engine, [job.counts(part) / count.file_name(index) for part in job.parts if part.trains]
            )
            if group.encoding == "log2":
                cut = bins.log2_cuts(low, high)
            elif group.is_piecewise:
                cut = bins.breakpoints(low, high, counts, group.bins)
            else:
                cut = bins.cuts(low, high, counts, group.bins)
            found[index] = tuple(cut.tolist())
    save(job.work / SAVED, Edges(features=found))
    return found


def _distinct(engine: Engine, files: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least value, greatest value and number of rows of each group of values, ascending."""
    engine.execute(f"CREATE OR REPLACE TEMP VIEW numbers AS FROM read_parquet({sql.files(files)})")
    dropped = next(bits for bits in range(0, 64, 4) if _groups(engine, bits) <= bins.MAX_GROUPS)
    summed = (
        "SELECT min(value) AS low, max(value) AS high, CAST(sum(count) AS BIGINT) AS count "
        f"FROM numbers GROUP BY value >> {dropped} ORDER BY low"
    )
    with engine.reader(summed, BATCH_ROWS) as reader:
        table = reader.read_all()
    low, high, counts = (table[name].to_numpy() for name in ("low", "high", "count"))
    return bins.values_of(low), bins.values_of(high), counts


def _groups(engine: Engine, dropped: int) -> int:
    """The number of distinct values without their last bits."""
    ((groups,),) = engine.rows(f"SELECT count(DISTINCT value >> {dropped}) FROM numbers")
    return groups


def _scales(job: PrepareJob) -> dict[int, tuple[float, float]]:
    """Mean and deviation of the features to standardize, over the train rows of all parts."""
    loaded = [load(job.counts(part) / count.MOMENTS, count.PartMoments) for part in job.parts if part.trains]
    each = [part.features for part in loaded if part is not None]
    moments = {feature: count.merged(part[feature] for part in each) for feature in (each or [{}])[0]}
    return {feature: _scale(found.mean, found.variance**0.5) for feature, found in moments.items()}


def _scale(mean: float, deviation: float) -> tuple[float, float]:
    """Rounded mean and deviation; the mean to the digits of the deviation, which is 1 for a single value."""
    divisor = float(f"{deviation:.{SIGNIFICANT_DIGITS}g}") if deviation >= MIN_DEVIATION else 1.0
    return round(mean, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(divisor))), divisor
