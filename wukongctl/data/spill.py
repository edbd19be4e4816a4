"""Values → ids through the disk: the slow road, for vocabularies that do not fit in memory.

Values are dealt out to files by their hash; then each file is looked up in its own share of the vocabulary,
which fits; then the ids are collected again. Within a file rows keep their order, and each row remembers
the file its value went to, so that order costs no sort: to read row r is to take the next id of its file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from wukongctl.data import sql
from wukongctl.data.engine import Engine
from wukongctl.data.vocabulary import Vocabulary

pc: Any = pyarrow.compute
MAX_PARTITIONS = 255
"""Partitions are numbered in one byte."""
VALUE = pa.schema([("value", pa.string())])
LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")


class Dealer:
    """The values of one feature, dealt out to `partitions` files in `folder`, then turned into ids.

    First `deal` every batch in order; then `look_up` once; then `collect` the same batches in order.
    """

    def __init__(self, folder: Path, partitions: int, vocabulary: Vocabulary) -> None:
        self.folder, self.partitions, self.vocabulary = folder, partitions, vocabulary
        folder.mkdir(parents=True)
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._ids: dict[int, IO[bytes]] = {}

    def deal(self, values: pa.Array, places: pa.Array) -> None:
        """Append values to the files named by `places` (uint8; NULL for a missing value)."""
        order, counts = _by_place(places)
        taken = values.take(pa.array(order))
        start = 0
        for place, count in counts:
            batch = pa.record_batch([taken.slice(start, count)], schema=VALUE)
            if place not in self._writers:
                path = str(self.folder / f"{place}.arrow")
                self._writers[place] = pa.ipc.new_stream(path, VALUE, options=LZ4)
            self._writers[place].write_batch(batch)
            start += count

    def look_up(self, engine: Engine, vocabularies: Path) -> None:
        """Replace the files of values by files of ids; one share of the vocabulary is in memory at a time."""
        shares = self.folder / "vocabulary"
        place = sql.place("value", self.partitions)
        file = sql.literal(str(vocabularies / self.vocabulary.file))
        query = f"SELECT value, id, {place} AS place FROM read_parquet({file})"
        engine.execute(f"COPY ({query}) TO {sql.literal(str(shares))} (FORMAT parquet, PARTITION_BY (place))")
        for number, writer in self._writers.items():
            writer.close()
            self._look_up(self.folder / f"{number}.arrow", shares / f"place={number}")
            self._ids[number] = (self.folder / f"{number}.ids").open("rb")

    def collect(self, places: pa.Array) -> pa.Array:
        """Ids of the next `len(places)` values."""
        order, counts = _by_place(places)
        result = np.full(len(places), self.vocabulary.missing, np.int32)
        parts = [np.frombuffer(self._ids[place].read(4 * count), np.int32) for place, count in counts]
        if parts:
            result[order] = np.concatenate(parts)
        return pa.array(result)

    def close(self) -> None:
        """Close what is open."""
        for file in self._ids.values():
            file.close()

    def _look_up(self, values: Path, share: Path) -> None:
        table = pq.read_table(share, columns=["value", "id"]) if share.is_dir() else None
        known = pa.chunked_array([], pa.string()) if table is None else table["value"]
        ids = np.empty(0, np.int32) if table is None else table["id"].to_numpy()
        ids = np.append(ids, np.int32(self.vocabulary.unknown))  # where position -1 points
        with pa.ipc.open_stream(str(values)) as reader, values.with_suffix(".ids").open("wb") as file:
            for batch in reader:
                position = pc.index_in(batch.column(0), value_set=known).fill_null(-1).to_numpy()
                file.write(ids[position].data)
        values.unlink()


class Rows:
    """Batches on disk, in order, while their dealt values are looked up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append one batch."""
        if self._writer is None:
            self._writer = pa.ipc.new_stream(str(self.path), batch.schema, options=LZ4)
        self._writer.write_batch(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        """All of them, as they were."""
        if self._writer is None:
            return
        self._writer.close()
        with pa.ipc.open_stream(str(self.path)) as reader:
            yield from reader


def _by_place(places: pa.Array) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Positions of the values that are there, grouped by place and in order; and (place, how many)."""
    present = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
    numbers = places.fill_null(0).to_numpy()[present]
    counts = np.bincount(numbers, minlength=1)
    order = present[np.argsort(numbers, kind="stable")]
    return order, [(int(place), int(counts[place])) for place in np.flatnonzero(counts)]
