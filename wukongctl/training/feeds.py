"""Batches on the device of a run: read on the host, shared out among processes, copied once.

On a CPU nothing is copied. On a GPU a split that fits stays there as a whole, and a batch is gathered there;
else each batch crosses from pinned memory while the step before it computes. The examples and their order
are the same everywhere.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wukongctl.config.training import TrainingSpec
from wukongctl.data.batches import BatchReader
from wukongctl.data.schema import Batch
from wukongctl.training.distributed import World
from wukongctl.training.hardware import CPU, Execution, free_memory

SHARE_OF_MEMORY = 0.4
"""A split may take this much of a GPU's free memory and stay there."""
PINNED_BUFFERS = 3
"""One being filled, one being copied, one whose copy may not have ended."""


class Share(NamedTuple):
    """What one process works on of a batch of `rows`: `batch`, of which the first `counted` count."""

    batch: Batch
    counted: int
    rows: int


class Feed(ABC):
    """The batches of a split for one process, on the device of the run."""

    name: str

    def __init__(self, reader: BatchReader, device: torch.device, world: World) -> None:
        self.reader, self.device, self.world = reader, device, world

    @abstractmethod
    def epoch(self, epoch: int, start_step: int = 0, most: int | None = None) -> Iterator[Share]:
        """From `start_step` on, `most` examples at most."""

    def _shares(self, batches: Iterator[Tensor], most: int | None) -> Iterator[tuple[Tensor, int, int]]:
        """This process's part of each batch, how many of its rows count, and the rows of the batch."""
        left = self.reader.rows if most is None else most
        for batch in batches:
            rows = batch[:left]
            if not len(rows):
                return
            yield *self.world.shard(rows), len(rows)
            left -= len(rows)


class HostFeed(Feed):
    """Each batch is copied when it is asked for; on a CPU it stays where it was read."""

    name = "host"

    def epoch(self, epoch: int, start_step: int = 0, most: int | None = None) -> Iterator[Share]:
        """From `start_step` on, `most` examples at most."""
        for mine, counted, rows in self._shares(self.reader.packed(epoch, start_step), most):
            yield Share(self.reader.columns.batch(mine.to(self.device)), counted, rows)


class PinnedFeed(Feed):
    """Each batch is copied from pinned memory, in a stream of its own, while the step before it computes."""

    name = "pinned"

    def epoch(self, epoch: int, start_step: int = 0, most: int | None = None) -> Iterator[Share]:
        """From `start_step` on, `most` examples at most."""
        copies = torch.cuda.Stream(self.device)
        ring: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        ahead: deque[tuple[Tensor, torch.cuda.Event, int, int]] = deque()
        for mine, counted, rows in self._shares(self.reader.packed(epoch, start_step), most):
            if len(ring) < PINNED_BUFFERS:
                shape = (max(len(mine), self.reader.batch_size), mine.shape[1])
                buffer, copied = torch.empty(shape, dtype=mine.dtype, pin_memory=True), torch.cuda.Event()
            else:
                buffer, copied = ring.popleft()
                copied.synchronize()  # of the copy before last: hardly ever waits
            held = buffer[: len(mine)].copy_(mine)
            with torch.cuda.stream(copies):
                there = held.to(self.device, non_blocking=True)
                copied.record()
            ring.append((buffer, copied))
            ahead.append((there, copied, counted, rows))
            if len(ahead) > 1:
                yield self._ready(*ahead.popleft())
        while ahead:
            yield self._ready(*ahead.popleft())

    def _ready(self, there: Tensor, copied: torch.cuda.Event, counted: int, rows: int) -> Share:
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(copied)
        there.record_stream(computing)  # its memory was taken by the stream of copies
        return Share(self.reader.columns.batch(there), counted, rows)


class ResidentFeed(Feed):
    """The whole split lies on the device; only the numbers of a batch's rows are copied there."""

    name = "device"

    def __init__(self, reader: BatchReader, device: torch.device, world: World) -> None:
        super().__init__(reader, device, world)
        self.rows = torch.empty((reader.rows, reader.columns.width), dtype=torch.int32, device=device)
        start = 0
        for part in reader.in_file_order():
            self.rows[start : start + len(part)].copy_(part)
            start += len(part)

    def epoch(self, epoch: int, start_step: int = 0, most: int | None = None) -> Iterator[Share]:
        """From `start_step` on, `most` examples at most."""
        for places, counted, rows in self._shares(self.reader.places(epoch, start_step), most):
            mine = self.rows.index_select(0, places.to(self.device, non_blocking=True))
            yield Share(self.reader.columns.batch(mine), counted, rows)


def choose(reader: BatchReader, recipe: TrainingSpec, execution: Execution, world: World) -> Feed:
    """The feed for `data_on` of the recipe, `auto` by the memory that is free on the device."""
    device, where = execution.device, recipe.data_on
    if device == CPU:
        return HostFeed(reader, device, world)
    if where == "auto":
        free = free_memory(device)
        where = "device" if 4 * reader.rows * reader.columns.width <= SHARE_OF_MEMORY * free else "host"
    if where == "device":
        return ResidentFeed(reader, device, world)
    return (PinnedFeed if device.type == "cuda" else HostFeed)(reader, device, world)
