"""Clicks drawn from a planted teacher: independent fields, categorical ones with Zipf marginals.

The teacher decides which interactions are planted (`pair_teacher`, `anova_teacher`, `spectrum_teacher`).
Each chunk of rows has its own random stream, so memory does not grow with the dataset.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.generator import Generator
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.data.synthetic import anova_teacher, pair_teacher, spectrum_teacher
from wukongctl.data.synthetic.planting import Teacher

CHUNK = 65_536
"""Rows per random stream: a longer dataset begins with the rows of a shorter one."""


def teacher(spec: Generator) -> Teacher:
    """The teacher that `spec` plants."""
    match spec.teacher:
        case "pair":
            return pair_teacher.plant(spec)
        case "anova":
            return anova_teacher.plant(spec)
        case "spectrum":
            return spectrum_teacher.plant(spec)
        case _:
            assert_never(spec.teacher)


def chunks(spec: Generator, rows: int) -> Iterator[pa.RecordBatch]:
    """`rows` rows with columns `label`, those of the features and `p`, the true click probability."""
    planted = teacher(spec)
    names = ["label", *spec.columns, "p"]
    for index, start in enumerate(range(0, rows, CHUNK)):
        rng = np.random.default_rng([spec.seed, 2, index])
        values = planted.values(rng, CHUNK)
        p = planted.probability(values)
        label = (rng.random(CHUNK) < p).astype(np.int8)
        shown = [*values[: spec.fields], *map(spectrum_teacher.numbers, values[spec.fields :])]
        batch = pa.RecordBatch.from_arrays([pa.array(column) for column in (label, *shown, p)], names)
        yield batch.slice(0, min(CHUNK, rows - start))


def write(spec: Generator, rows: int, path: Path, report: ReportProgress = silent) -> None:
    """Generate `rows` rows into a Parquet file."""
    writer: pq.ParquetWriter | None = None
    done = 0
    for batch in chunks(spec, rows):
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="lz4")
        writer.write_batch(batch)
        done += batch.num_rows
        report(Progress("generating rows", done, rows, "rows"))
    if writer is not None:
        writer.close()
