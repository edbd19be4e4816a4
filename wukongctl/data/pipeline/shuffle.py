"""Train rows in a seeded random order, in bounded memory.

While a part is encoded, each train row goes to a random bucket on disk. Then the buckets of all parts are
read one by one, permuted and written. All orders of all rows are equally likely, and depend only on the seed,
not on threads or batches.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.writer import SplitWriter, Written
from wukongctl.data.progress import Progress, ReportProgress
from wukongctl.data.query.lines import paths_of
from wukongctl.data.stages import load, save, stage

FOLDER = "shuffled"
BUCKETS = "buckets"
SAVED = "shuffled.json"
BUCKET_BYTES = 128 << 20
"""Approximate raw text of a bucket, whose rows must fit in memory."""
MAX_BUCKETS = 1024
COMPRESSED = frozenset({".gz", ".zst", ".parquet"})
EXPANSION = 6
"""Approximate compression ratio of raw files."""
LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")


def buckets(job: PrepareJob) -> int:
    """The number of buckets, from the sizes of the raw files."""
    files = {path for place in job.paths.values() for path in paths_of(place)}
    sizes = (path.stat().st_size * (EXPANSION if path.suffix in COMPRESSED else 1) for path in files)
    return min(sum(sizes) // BUCKET_BYTES + 1, MAX_BUCKETS)


class Scatter:
    """Distributes the train rows of one part over buckets in `folder`."""

    def __init__(self, folder: Path, schema: pa.Schema, buckets: int, seed: int, part: int) -> None:
        self.folder, self.schema, self.buckets = folder, schema, buckets
        self._random = np.random.default_rng([seed, 0, part])
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        folder.mkdir(parents=True)

    def write(self, table: pa.Table) -> None:
        """Distribute the next rows."""
        bucket = (self._random.random(table.num_rows) * self.buckets).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")
        rows = table.take(pa.array(order))
        start = 0
        for number, count in enumerate(np.bincount(bucket).tolist()):
            if count:
                self._writer(number).write_table(rows.slice(start, count))
            start += count

    def close(self) -> None:
        """Close all buckets."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, bucket: int) -> pa.ipc.RecordBatchStreamWriter:
        if bucket not in self._writers:
            path = str(self.folder / file_name(bucket))
            self._writers[bucket] = pa.ipc.new_stream(path, self.schema, options=LZ4)
        return self._writers[bucket]


def file_name(bucket: int) -> str:
    """The file of a bucket."""
    return f"{bucket:04d}.arrow"


def gather(
    job: PrepareJob,
    seed: int,
    schema: pa.Schema,
    special: Mapping[str, tuple[int, int]],
    report: ReportProgress,
) -> tuple[Path, Written]:
    """Write the train rows of all parts in random order, unless done; their folder and description."""
    final = job.work / FOLDER
    if not final.is_dir():
        with stage(final) as folder:
            writer = SplitWriter(folder, "train", schema, special=special)
            total = buckets(job)
            for number in range(total):
                report(Progress("shuffling", number, total))
                rows = _bucket(job, number)
                if rows is not None:
                    order = np.random.default_rng([seed, 1, number]).permutation(rows.num_rows)
                    writer.write(rows.take(pa.array(order)))
            save(folder / SAVED, writer.close())
    written = load(final / SAVED, Written)
    assert written is not None
    return final, written


def _bucket(job: PrepareJob, number: int) -> pa.Table | None:
    tables = []
    for part in job.parts:
        path = job.encoded(part) / BUCKETS / file_name(number)
        if path.is_file():
            with pa.ipc.open_stream(str(path)) as reader:
                tables.append(reader.read_all())
    return pa.concat_tables(tables).combine_chunks() if tables else None
