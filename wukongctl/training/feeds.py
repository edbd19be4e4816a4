"""Batches on the device of a run: read on the host, sharded across processes, copied once.

On CPU nothing is copied. A split that fits is resident on the GPU, where batches are gathered; otherwise each
batch is copied from pinned memory during the previous step. Examples and their order are always the same.
"""

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wukongctl.config.training import TrainingSpec
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.training.distributed import World
from wukongctl.training.hardware import CPU, Execution, free_memory

SHARE_OF_MEMORY = 0.4
"""Largest share of a GPU's free memory that a resident split may take."""


class BatchShard(NamedTuple):
    """One process's shard of a batch."""

    batch: Batch
    counted: int
    """Examples that count, the first of `batch`; the others are padding."""
    rows: int
    """Examples of the whole batch, over all processes."""


class Feed(ABC):
    """The shards of a split's batches, on the device of the run."""

    name: str

    def __init__(self, reader: BatchReader, device: torch.device, world: World) -> None:
        self.reader, self.device, self.world = reader, device, world

    @abstractmethod
    def epoch(self, epoch: int, start_step: int = 0, limit: int | None = None) -> Iterator[BatchShard]:
        """From `start_step` on, at most `limit` examples."""

    def _packed(self, epoch: int, start_step: int, limit: int | None) -> Iterator[Tensor]:
        """Packed batches of an epoch, which another one follows unless this one reaches the limit."""
        left = self.reader.rows - start_step * self.reader.batch_size
        return self.reader.packed(epoch, start_step, then_next=limit is None or limit > left)

    def _shards(self, batches: Iterator[Tensor], limit: int | None) -> Iterator[tuple[Tensor, int, int]]:
        """This process's shard of each batch, how many of its rows count, and the rows of the batch."""
        left = self.reader.rows if limit is None else limit
        for batch in batches:
            rows = batch[:left]
            if not len(rows):
                return
            yield *self.world.shard(rows), len(rows)
            left -= len(rows)


class HostFeed(Feed):
    """Copies each batch on request; on CPU, without a copy."""

    name = "host"

    def epoch(self, epoch: int, start_step: int = 0, limit: int | None = None) -> Iterator[BatchShard]:
        """From `start_step` on, at most `limit` examples."""
        for mine, counted, rows in self._shards(self._packed(epoch, start_step, limit), limit):
            yield BatchShard(self.reader.columns.batch(mine.to(self.device)), counted, rows)


class PinnedFeed(Feed):
    """Copies each batch from pinned memory, in a separate stream, during the previous step."""

    name = "pinned"

    def epoch(self, epoch: int, start_step: int = 0, limit: int | None = None) -> Iterator[BatchShard]:
        """From `start_step` on, at most `limit` examples."""
        copies = torch.cuda.Stream(self.device)
        ahead: deque[tuple[Tensor, torch.cuda.Event, int, int]] = deque()
        for mine, counted, rows in self._shards(self._packed(epoch, start_step, limit), limit):
            held = mine.pin_memory()  # from a cache of torch's that waits for a copy before it reuses memory
            with torch.cuda.stream(copies):
                on_device = held.to(self.device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(copies)
            ahead.append((on_device, copied, counted, rows))
            if len(ahead) > 1:
                yield self._ready(*ahead.popleft())
        while ahead:
            yield self._ready(*ahead.popleft())

    def _ready(self, rows_on_device: Tensor, copied: torch.cuda.Event, counted: int, rows: int) -> BatchShard:
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(copied)
        rows_on_device.record_stream(computing)  # it was allocated by the copy stream
        return BatchShard(self.reader.columns.batch(rows_on_device), counted, rows)


class ResidentFeed(Feed):
    """Keeps the split on the device; only the row indices of a batch are copied."""

    name = "device"

    def __init__(self, reader: BatchReader, device: torch.device, world: World) -> None:
        super().__init__(reader, device, world)
        self.rows = torch.empty((reader.rows, reader.columns.width), dtype=torch.int32, device=device)
        start = 0
        for part in reader.in_file_order():
            self.rows[start : start + len(part)].copy_(part)
            start += len(part)

    def epoch(self, epoch: int, start_step: int = 0, limit: int | None = None) -> Iterator[BatchShard]:
        """From `start_step` on, at most `limit` examples."""
        for places, counted, rows in self._shards(self.reader.places(epoch, start_step), limit):
            held = places.pin_memory() if self.device.type == "cuda" else places
            mine = self.rows.index_select(0, held.to(self.device, non_blocking=True))
            yield BatchShard(self.reader.columns.batch(mine), counted, rows)


def choose(reader: BatchReader, recipe: TrainingSpec, execution: Execution, world: World) -> Feed:
    """The feed for `data_on` of the recipe; `auto` depends on the free memory of the device."""
    device, where = execution.device, recipe.data_on
    if device == CPU:
        return HostFeed(reader, device, world)
    if where == "auto" and reader.streamed:
        where = "host"  # a whole split would be drawn before the first step
    if where == "auto":
        free = free_memory(device)
        where = "device" if 4 * reader.rows * reader.columns.width <= SHARE_OF_MEMORY * free else "host"
    if where == "device":
        return ResidentFeed(reader, device, world)
    return (PinnedFeed if device.type == "cuda" else HostFeed)(reader, device, world)


def train_reader(recipe: TrainingSpec, manifest: Manifest, data: Path) -> BatchReader:
    """The train split of the dataset in folder `data`, in the recipe's batches and order."""
    return BatchReader(
        data,
        manifest,
        "train",
        batch_size=recipe.batch_size,
        shuffle=recipe.shuffle,
        seed=recipe.seed,
        threads=recipe.readers,
    )


def endless(feed: Feed) -> Generator[BatchShard]:
    """The shards of one epoch after the other."""
    for epoch in itertools.count():
        yield from feed.epoch(epoch)
