"""The processes of a run under torchrun, and their collectives.

The batch of a step does not depend on their number: each rank processes its shard of it, so a recipe has the
same loss curve on one process or many, and a run may resume with a different number.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from wukongctl.errors import RunFailed, WukongError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`.

    Numbers and Python objects are exchanged by gloo, tensors by the backend of their device: NCCL on GPUs.
    """

    rank: int = 0
    size: int = 1
    group: "dist.ProcessGroup | None" = None
    """Exchanges numbers and objects; None for torch's default group."""
    thread_group: "dist.ProcessGroup | None" = None
    """The same for a second thread."""

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def shard(self, batch: Tensor) -> tuple[Tensor, int]:
        """This process's rows of a batch, (B, …), and how many of them count.

        All shards have the same length, as collectives require: the last ones are padded with copies of the
        last row.
        """
        rows = len(batch)
        if self.size == 1:
            return batch, rows
        length = -(-rows // self.size)
        start = min(self.rank * length, rows)
        places = torch.arange(self.rank * length, (self.rank + 1) * length).clamp_(max=rows - 1)
        return batch[places], min(length, rows - start)

    def all_gather(self, part: Tensor, rows: int) -> Tensor:
        """(rows,) values of a whole batch, in order, from those that each process has for its shard."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part)
        return torch.cat(parts)[:rows]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.group)
        return total.tolist()

    def sum_tensor(self, value: Tensor) -> Tensor:
        """A tensor summed over all processes, in place, without waiting for its device."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def largest(self, value: int) -> int:
        """The largest value on any rank."""
        if self.size == 1:
            return value
        greatest = torch.tensor(int(value))
        dist.all_reduce(greatest, dist.ReduceOp.MAX, group=self.group)
        return int(greatest)

    def for_thread(self) -> "World":
        """The same processes, for use in a second thread: collectives of two threads must not mix."""
        return replace(self, group=self.thread_group)

    def seed(self, seed: int, step: int) -> None:
        """Seed the random numbers of a step, mainly dropout, differently on each rank.

        A single process uses the generator, whose state is in the checkpoint; with several, that would tie
        the checkpoint to their number.
        """
        if self.size > 1:
            (mixed,) = np.random.SeedSequence([seed, step, self.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(mixed >> np.uint64(1)))

    def copy_buffers(self, model: nn.Module) -> None:
        """Broadcast the batch-norm statistics of rank 0."""
        if self.size > 1:
            saved = model.state_dict(keep_vars=True)
            for name, buffer in model.named_buffers():
                if name in saved:
                    dist.broadcast(buffer, src=0)

    def on_rank_zero(self, action: Callable[[], T]) -> T | None:
        """Run `action` on rank 0 while the other ranks wait; they get None, or its error if it fails."""
        if self.size == 1:
            return action()
        result, failure = None, None
        if self.is_rank_zero:
            try:
                result = action()
            except WukongError as error:
                failure = error
        broadcast = [None if failure is None else (failure.message, failure.hint, failure.exit_code)]
        dist.broadcast_object_list(broadcast, src=0, group=self.group)
        if failure is not None:
            raise failure
        if broadcast[0] is not None:
            message, hint, exit_code = broadcast[0]
            error = WukongError(message, hint=hint)
            error.exit_code, error.on_every_rank = exit_code, True
            raise error
        return result

    def from_rank_zero(self, action: Callable[[], T]) -> T:
        """The result of `action` on rank 0, on every rank; its error if it fails."""
        result = [self.on_rank_zero(action)]
        if self.size > 1:
            dist.broadcast_object_list(result, src=0, group=self.group)
        return cast(T, result[0])

    def require_same(self, value: int, what: str) -> None:
        """Raise RunFailed unless every process has the same value."""
        if self.largest(value) != -self.largest(-value):
            error = RunFailed(
                f"the processes of this run do not see the same {what}",
                hint="`--out` must be a folder that all machines share",
            )
            error.on_every_rank = True
            raise error


CPU = torch.device("cpu")
SECONDS_TO_LET_GO = 0.1
"""Before the process group is destroyed. Gloo's thread needs the interpreter to release the tensors of the
last collective, and torch waits for that thread while it holds the interpreter: an exit may hang."""
ALONE = World()


def processes() -> int:
    """How many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1


def local_processes() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes()))


@contextmanager
def joined(device: torch.device = CPU) -> Iterator[World]:
    """The world that torchrun describes in the environment; a single process without it. `device` is what
    this process computes on.

    Raises RunFailed if another process of the run is lost.
    """
    if processes() == 1:
        yield ALONE
        return
    lost = False
    try:
        yield _join(device)
    except RuntimeError as error:
        words = ("gloo", "NCCL", "Connection")
        if not isinstance(error, dist.DistError) and not any(word in str(error) for word in words):
            raise
        lost = True
        raise RunFailed(
            "lost contact with another process of this run",
            hint="start it again, or use `torchrun --max-restarts`: it resumes from its last checkpoint",
        ) from error
    finally:
        if dist.is_initialized():
            if not lost:  # torchrun is about to stop this process, which has something to report
                time.sleep(SECONDS_TO_LET_GO)
            dist.destroy_process_group()


def _join(device: torch.device) -> World:
    store, rank, size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # After a restart on one machine, the store still has the addresses of dead processes.
        store = dist.PrefixStore(f"restart-{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    if device == CPU:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
        return World(rank, size)
    torch.cuda.set_device(device)
    dist.init_process_group(backend(), store=store, rank=rank, world_size=size)
    return World(rank, size, _gloo(), _gloo())


def _gloo() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup), "every process is in it"
    return group


def backend() -> str:
    """torch's name of the backend for GPUs: NCCL, or gloo where processes share a GPU, which NCCL refuses."""
    share = local_processes() > torch.cuda.device_count()
    return "gloo" if share or not dist.is_nccl_available() else "cpu:gloo,cuda:nccl"
