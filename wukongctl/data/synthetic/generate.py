"""Clicks drawn from a planted teacher: independent fields, categorical ones with Zipf marginals.

The teacher decides which interactions are planted (`pair_teacher`, `anova_teacher`, `spectrum_teacher`).
Each chunk of rows has its own random stream, so memory does not grow with the dataset, and any chunk can be
drawn at any time in any thread.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.generator import Generator
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.data.synthetic import anova_teacher, pair_teacher, spectrum_teacher
from wukongctl.data.synthetic.planting import Teacher
from wukongctl.machine import in_order

CHUNK = 65_536
"""Rows per random stream: a longer dataset begins with the rows of a shorter one."""


class Drawn(NamedTuple):
    """The rows of a chunk."""

    values: list[np.ndarray]
    """Per field, (CHUNK,): of categorical ones, then levels of numeric ones."""
    label: np.ndarray
    """(CHUNK,) bool."""
    p: np.ndarray
    """(CHUNK,), the true click probability."""


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


def draw(planted: Teacher, seed: int, index: int) -> Drawn:
    """Chunk `index` of the rows of a seed."""
    rng = np.random.default_rng([seed, 2, index])
    values = planted.values(rng, CHUNK)
    p = planted.probability(values)
    return Drawn(values, rng.random(CHUNK) < p, p)


def chunks(spec: Generator, stop: int, first: int = 0, threads: int | None = 1) -> Iterator[pa.RecordBatch]:
    """The rows from `first` to `stop` with columns `label`, those of the features and `p`, the true click
    probability, drawn by `threads` or, if None, by one per core."""
    planted = teacher(spec)
    names = ["label", *spec.columns, "p"]

    def rows(start: int) -> pa.RecordBatch:
        values, label, p = draw(planted, spec.seed, start // CHUNK)
        shown = [*values[: spec.fields], *map(spectrum_teacher.numbers, values[spec.fields :])]
        columns = [pa.array(column) for column in (label.astype(np.int8), *shown, p)]
        return pa.RecordBatch.from_arrays(columns, names)[max(first - start, 0) : min(CHUNK, stop - start)]

    starts = range(first - first % CHUNK, stop, CHUNK)
    yield from map(rows, starts) if threads == 1 else in_order(rows, starts, threads)


def write(
    spec: Generator,
    parts: Iterable[range],
    path: Path,
    report: ReportProgress = silent,
    threads: int | None = 1,
) -> None:
    """Generate the rows of `parts` into a Parquet file; `threads` as of `chunks`."""
    writer: pq.ParquetWriter | None = None
    parts, done = list(parts), 0
    for part in parts:
        for batch in chunks(spec, part.stop, part.start, threads):
            writer = writer or pq.ParquetWriter(path, batch.schema, compression="lz4")
            writer.write_batch(batch)
            done += batch.num_rows
            report(Progress("generating rows", done, sum(map(len, parts)), "rows"))
    if writer is not None:
        writer.close()
