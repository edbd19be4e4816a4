"""The processes of a run under torchrun, and their collectives.

The batch of a step does not depend on their number: each rank processes its shard of it, so a recipe has the
same loss curve on one process or many, and a run may resume with a different number.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from wukongctl.errors import RunFailed, WukongError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`."""

    rank: int = 0
    size: int = 1

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
        dist.all_reduce(total)
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
        greatest = torch.tensor(value)
        dist.all_reduce(greatest, dist.ReduceOp.MAX)
        return int(greatest)

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
        dist.broadcast_object_list(broadcast, src=0)
        if failure is not None:
            raise failure
        if broadcast[0] is not None:
            message, hint, exit_code = broadcast[0]
            error = WukongError(message, hint=hint)
            error.exit_code = exit_code
            raise error
        return result

    def require_same(self, value: int, what: str) -> None:
        """Raise RunFailed unless every process has the same value."""
        low, high = self.sum([value, value**2])
        if self.size > 1 and abs(high * self.size - low**2) > 0.5:
            raise RunFailed(
                f"the processes of this run do not see the same {what}",
                hint="`--out` must be a folder that all machines share",
            )


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun describes in the environment; a single process without it.

    Raises RunFailed if another process of the run is lost.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
        yield ALONE
        return
    try:
        yield _join()
    except RuntimeError as error:
        if "gloo" not in str(error) and "Connection" not in str(error):
            raise
        raise RunFailed(
            "lost contact with another process of this run",
            hint="start it again, or use `torchrun --max-restarts`: it resumes from its last checkpoint",
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join() -> World:
    store, rank, size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # After a restart on one machine, the store still has the addresses of dead processes.
        store = dist.PrefixStore(f"restart-{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    return World(rank, size)
