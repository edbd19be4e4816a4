"""A prepared split → batches of tensors, starting at any step.

Row groups are packed into one int32 matrix (float columns as their bits), so that a batch is one
`index_select`. A shuffled epoch permutes the row groups, then the rows inside windows of a few groups. Both
permutations depend only on (seed, epoch, window), so a resumed reader yields the batches of an uninterrupted
one.

Threads read the next windows ahead, and the first of the next epoch during the last of this one. In
multi-process training each rank reads the whole split and takes its shard of every batch, so that batches do
not depend on the number of ranks; reading is some fifty times faster than training.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.manifest import Manifest, check_file, damaged
from wukongctl.data.schema import MISSING_POSITION, Batch
from wukongctl.errors import UsageError

T = TypeVar("T")
BLOCK = 2048
"""Rows packed at a time."""
WINDOW = 4
"""Row groups shuffled together; two windows or more are in memory at a time."""


class RowGroup(NamedTuple):
    """One row group of one file, or chunk of a generator; `start` is its first row in the split."""

    path: Path | None
    index: int
    start: int
    rows: int


class Source(NamedTuple):
    """What a batch has for each row: `width` numbers of `dtype`, which `read` fills in for a row group."""

    read: Callable[[RowGroup, np.ndarray], None]
    width: int
    dtype: type[np.integer]


class Window(NamedTuple):
    """Row groups that are shuffled together, while they are read."""

    rows: Tensor
    """(rows, width), in file order."""
    order: "Future[Tensor] | None"
    """The order to take them in; that of the files without."""
    reading: list["Future[None]"]

    def result(self) -> tuple[Tensor, Tensor | None]:
        """The rows and their order, when all is read; raises what reading raised."""
        for future in self.reading:
            future.result()
        return self.rows, None if self.order is None else self.order.result()


class BatchReader:
    """Batches of one split; the last one of an epoch may be short.

    `threads` decode row groups; the batches are the same for any number.
    Raises UsageError for a split that does not exist, RunFailed for missing or damaged files.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        split: str,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        threads: int = 1,
    ) -> None:
        infos = {str(name): info for name, info in manifest.splits.items()}
        if split not in infos:
            hint = did_you_mean(split, manifest.splits) or f"it has {', '.join(manifest.splits)}"
            raise UsageError(f"dataset `{manifest.dataset}` has no split `{split}`", hint=hint)
        info = infos[split]
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rows, self.threads = info.rows, threads
        self.columns = Columns(manifest, with_probability=info.bayes_logloss is not None)
        self._groups: list[RowGroup] = []
        self._begun: tuple[int, Source, Window] | None = None
        """The epoch whose first window is being read, what is read, and that window."""
        self.streamed = info.streamed
        self._read = self.columns.read
        if info.streamed:
            self._read = _drawing(folder, manifest, self.columns)
            self._groups = _chunks(info.rows)
            return
        for file in info.files:
            check_file(folder / file.path, file.bytes)
            self._groups += _row_groups(folder / file.path, sum(group.rows for group in self._groups))
        if sum(group.rows for group in self._groups) != self.rows:
            raise damaged(folder / split, f"does not have the {self.rows:,} rows of its manifest")

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch."""
        return -(-self.rows // self.batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from `start_step` on; earlier row groups are not read."""
        for rows in self.packed(epoch, start_step):
            yield self.columns.batch(rows)

    def packed(self, epoch: int, start_step: int = 0, *, then_next: bool = False) -> Iterator[Tensor]:
        """The same batches as packed rows, (B, width) int32; `columns.batch` unpacks them, on any device.

        With `then_next`, the next epoch is expected to follow, and reading it begins before the end.
        """
        source = Source(self._read, self.columns.width, np.int32)
        return self._batches(epoch, start_step, source, then_next=then_next)

    def places(self, epoch: int, start_step: int = 0) -> Iterator[Tensor]:
        """The same batches as (B,) int64 row numbers of the split in file order; no file is read."""
        numbers = self._batches(epoch, start_step, Source(_number_rows, 1, np.int64))
        return (rows.squeeze(1) for rows in numbers)

    def in_file_order(self) -> Iterator[Tensor]:
        """All rows of the split, packed, a row group at a time."""
        for group in self._groups:
            rows = np.empty((group.rows, self.columns.width), np.int32)
            self._read(group, rows)
            yield torch.from_numpy(rows)

    def _batches(
        self, epoch: int, start_step: int, source: Source, *, then_next: bool = False
    ) -> Iterator[Tensor]:
        """(B, width) of what `source` has for the rows of each batch."""
        pending: Tensor | None = None
        position = start_step * self.batch_size
        for rows, order, first in self._windows_from(epoch, position, source, then_next=then_next):
            start = first
            while start < len(rows):
                stop = min(start + self.batch_size - (0 if pending is None else len(pending)), len(rows))
                taken = _take(rows, order, start, stop)
                pending = taken if pending is None else torch.cat((pending, taken))
                start = stop
                if len(pending) == self.batch_size:
                    yield pending
                    pending = None
        if pending is not None:
            yield pending

    def _windows_from(
        self, epoch: int, position: int, source: Source, *, then_next: bool
    ) -> Iterator[tuple[Tensor, Tensor | None, int]]:
        """Each loaded window, its order and the row to start at; the next ones are read ahead."""
        windows = self._windows(epoch)
        ends = np.cumsum([sum(group.rows for group in window) for window in windows])
        first = int(np.searchsorted(ends, position, side="right"))
        skip = position - (int(ends[first - 1]) if first else 0)
        with ThreadPoolExecutor(self.threads, "batches") as pool:
            ahead = deque(self._take_begun(epoch, source) if first == 0 else ())
            indices = range(first + len(ahead), len(windows))
            # A new thread begins with cold memory, which a split of a single window need not pay for.
            here = _Here() if self.threads == 1 and not ahead else pool
            pools = itertools.chain([here], itertools.repeat(pool))
            coming = (
                self._load(where, windows[index], (epoch, index), source)
                for where, index in zip(pools, indices, strict=False)
            )
            # A window for every few threads, which share its row groups.
            ahead.extend(itertools.islice(coming, 1 + (self.threads - 1) // WINDOW - len(ahead)))
            while ahead:
                rows, order = ahead.popleft().result()
                ahead.extend(itertools.islice(coming, 1))
                if then_next and not ahead:
                    self._begin(epoch + 1, source)
                yield rows, order, skip
                skip = 0

    def _begin(self, epoch: int, source: Source) -> None:
        """Begin to read the first window of an epoch, in threads that end with it."""
        pool = ThreadPoolExecutor(self.threads, "batches")
        self._begun = epoch, source, self._load(pool, self._windows(epoch)[0], (epoch, 0), source)
        pool.shutdown(wait=False)

    def _take_begun(self, epoch: int, source: Source) -> tuple[Window, ...]:
        """The first window of the epoch, if reading it has begun."""
        begun, self._begun = self._begun, None
        return (begun[2],) if begun is not None and begun[:2] == (epoch, source) else ()

    def _windows(self, epoch: int) -> list[list[RowGroup]]:
        if not self.shuffle:
            return [[group] for group in self._groups]
        order = self._generator(epoch).permutation(len(self._groups))
        return [
            [self._groups[position] for position in order[start : start + WINDOW]]
            for start in range(0, len(order), WINDOW)
        ]

    def _load(
        self, pool: Executor, window: Sequence[RowGroup], position: tuple[int, int], source: Source
    ) -> Window:
        """Begin to read a window, at `position` (epoch, index)."""
        counts = [group.rows for group in window]
        rows = np.empty((sum(counts), source.width), source.dtype)
        parts = np.split(rows, np.cumsum(counts)[:-1])
        reading = [pool.submit(source.read, group, part) for group, part in zip(window, parts, strict=True)]
        order = pool.submit(self._order, position, len(rows)) if self.shuffle else None
        return Window(torch.from_numpy(rows), order, reading)

    def _order(self, position: tuple[int, int], rows: int) -> Tensor:
        return torch.from_numpy(self._generator(*position).permutation(rows))

    def _generator(self, *position: int) -> np.random.Generator:
        return np.random.default_rng([self.seed % (1 << 63), *position])


class _Here(Executor):
    """Does at once what it is asked for, in the thread that asks."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Columns:
    """The layout of a packed row: ids, then the bits of dense values, label and probability.

    A missing number is 0, a missing position `MISSING_POSITION`.
    """

    def __init__(self, manifest: Manifest, *, with_probability: bool) -> None:
        schema = manifest.schema()
        self.lists = {sequence.name: sequence for sequence in schema.sequences}
        self.ids, self.dense = schema.id_columns, len(schema.dense)
        self.missing = dict.fromkeys(schema.numeric, 0.0) | dict.fromkeys(schema.piecewise, MISSING_POSITION)
        self.floats = [*schema.dense, "label", *(["probability"] if with_probability else [])]
        self.names = [*schema.categorical, *self.lists, *self.floats]
        self.with_probability = with_probability
        self.width = self.ids + self.dense + 1 + with_probability

    def read(self, group: RowGroup, packed: np.ndarray) -> None:
        """Read one row group into `packed`, (rows, width) int32."""
        assert group.path is not None
        try:
            with pq.ParquetFile(group.path, page_checksum_verification=True) as file:
                self.pack(file.read_row_group(group.index, columns=self.names, use_threads=False), packed)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise damaged(group.path, f"cannot be read: {str(error).splitlines()[0]}") from None

    def pack(self, table: pa.Table, packed: np.ndarray) -> None:
        """Put encoded columns into `packed`, (rows, width) int32."""
        _interleave([bits for name in self.names for bits in self._bits(table, name)], packed)

    def batch(self, rows: Tensor) -> Batch:
        """Unpack (B, width) int32 rows, where they are."""
        dense, label = self.ids, self.ids + self.dense
        floats = rows[:, dense:].contiguous().view(torch.float32)
        return Batch(
            ids=rows[:, :dense].contiguous(),
            dense=floats[:, : self.dense].contiguous(),
            labels=floats[:, label - dense].contiguous(),
            probability=floats[:, label - dense + 1].contiguous() if self.with_probability else None,
        )

    def _bits(self, table: pa.Table, name: str) -> list[np.ndarray]:
        """The int32 columns of one feature, (rows,) each: `max_len` for a sequence, else one."""
        column = table[name].combine_chunks()
        if name in self.lists:
            sequence = self.lists[name]
            return list(_padded(column, sequence.max_len, before=sequence.padding == "pre").T)
        if column.null_count:
            column = column.fill_null(self.missing[name])
        values = column.to_numpy(zero_copy_only=False)
        return [values.astype(np.float32, copy=False).view(np.int32) if name in self.floats else values]


def _interleave(columns: Sequence[np.ndarray], packed: np.ndarray) -> None:
    """Put int32 columns side by side, in blocks that fit the cache: every column writes to the same rows."""
    for start in range(0, len(packed), BLOCK):
        for position, bits in enumerate(columns):
            packed[start : start + BLOCK, position] = bits[start : start + BLOCK]


def _drawing(folder: Path, manifest: Manifest, columns: Columns) -> Callable[[RowGroup, np.ndarray], None]:
    """Draws a chunk of a streamed split in place of reading a row group."""
    from wukongctl.data.synthetic.stream import DrawnRows  # most datasets are files

    drawn = DrawnRows(folder, manifest, columns.names)

    def read(group: RowGroup, packed: np.ndarray) -> None:
        _interleave([bits[: len(packed)] for bits in drawn.columns(group.index)], packed)

    return read


def _chunks(rows: int) -> list[RowGroup]:
    """The chunks of a streamed split."""
    from wukongctl.data.synthetic.generate import CHUNK

    starts = range(0, rows, CHUNK)
    return [RowGroup(None, index, start, min(CHUNK, rows - start)) for index, start in enumerate(starts)]


def _padded(lists: pa.ListArray, width: int, *, before: bool) -> np.ndarray:
    """Lists as rows of a matrix (n, width), padded with zeros `before` or after their values."""
    lengths = lists.value_lengths().to_numpy()
    values = lists.flatten().to_numpy()
    matrix = np.zeros((len(lists), width), np.int32)
    # The column of each list's first value minus its position in `values`.
    shifts = (width - lengths if before else 0) - (np.cumsum(lengths) - lengths)
    matrix[np.repeat(np.arange(len(lists)), lengths), np.arange(len(values)) + np.repeat(shifts, lengths)] = (
        values
    )
    return matrix


def _take(packed: Tensor, order: Tensor | None, start: int, stop: int) -> Tensor:
    return packed[start:stop] if order is None else packed.index_select(0, order[start:stop])


def _number_rows(group: RowGroup, numbers: np.ndarray) -> None:
    numbers[:, 0] = np.arange(group.start, group.start + group.rows)


def _row_groups(path: Path, start: int) -> list[RowGroup]:
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None
    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    starts = itertools.accumulate(rows, initial=start)
    return [
        RowGroup(path, index, first, count)
        for index, (first, count) in enumerate(zip(starts, rows, strict=False))
    ]
