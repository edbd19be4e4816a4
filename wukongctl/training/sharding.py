"""Embedding tables sharded across processes by TorchRec, instead of replicated.

Needs the extra `distributed` (torchrec and fbgemm-gpu-cpu). The table of each feature is sharded by rows, by
columns, by assigning whole tables to processes, or as TorchRec's planner chooses. Rows are updated in the
backward pass by FBGEMM's exact row-wise AdaGrad, the same rule as `optimizers.RowwiseAdagrad`, except that
with column sharding each process has its own accumulators.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wukongctl.config.training import RowwiseAdagradSpec
from wukongctl.models.deferred import InitialRows
from wukongctl.models.embeddings import Embeddings
from wukongctl.training.distributed import World
from wukongctl.training.sharding_plan import (
    Sharding,
    require_memory,
    require_torchrec,
    require_width,
    sharded_tables,
)
from wukongctl.training.shards import Shard, Shards, StoredMatrix


class ShardedTable(nn.Module):
    """(B, C) rows → (B, C, D), like `nn.Embedding`, from tables sharded across processes.

    `starts` are the first rows of the tables in the one they replace, `columns` the table of each id
    column. Parameters are hidden from torch, to keep them out of DDP and the dense optimizer.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        starts: list[int],
        columns: list[int],
        *,
        sharding: Sharding,
        optimizer: RowwiseAdagradSpec,
        world: World,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.rows, self.width = shape
        self.edges = [*starts, self.rows]
        self.keys = [f"c{column}" for column in range(len(columns))]
        self.register_buffer("offsets", torch.tensor([starts[t] for t in columns]), persistent=False)
        self._hidden = (sharded_tables(self.edges, columns, self.width, sharding, optimizer, world, device),)
        self.slices = world.largest(max((shard.column for shard in self._sums()), default=0)) + 1
        """S: column pieces of a row, each with an accumulator of its own."""

    def forward(self, rows: Tensor) -> Tensor:
        """(B, C) → (B, C, D)."""
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

        ids = (rows - self.offsets).t().reshape(-1)  # (C B), column by column
        lengths = torch.ones_like(ids, dtype=torch.int32)
        found = self._hidden[0](KeyedJaggedTensor(self.keys, ids, lengths=lengths))
        by_key = found.wait()  # in TorchRec's order
        return torch.stack([by_key[key] for key in self.keys], dim=1)

    @property
    def fused_optimizer(self) -> Any:
        """TorchRec's optimizer, which updates rows in the backward pass."""
        return self._hidden[0].fused_optimizer

    @property
    def weights(self) -> Shards:
        """This rank's shards of the (R, D) weights."""
        return Shards((self.rows, self.width), tuple(self._weights()))

    @property
    def sums(self) -> Shards:
        """This rank's shards of the (R, S) squared-gradient sums; S = 1 without column sharding."""
        return Shards((self.rows, self.slices), tuple(self._sums()))

    @torch.no_grad()
    def initialize(self, rows: InitialRows) -> None:
        """Fill this rank's shards with those of the initial weights."""
        shards = tuple(self._weights())
        for start, block in rows.blocks():
            for tensor, row, column in shards:
                first, last = max(row, start), min(row + len(tensor), start + len(block))
                if first < last:
                    columns = slice(column, column + tensor.shape[1])
                    tensor[first - row : last - row].copy_(block[first - start : last - start, columns])

    @torch.no_grad()
    def load_sums(self, full: Tensor | StoredMatrix) -> None:
        """Load this rank's shards of (R, S) sums; their mean over S if columns were sharded differently."""
        if full.shape[1] == self.slices:
            self.sums.fill(full)
            return
        for tensor, row, _ in self._sums():
            slices = torch.empty(len(tensor), full.shape[1])
            Shards((self.rows, full.shape[1]), (Shard(slices, row),)).fill(full)
            tensor.copy_(slices.mean(1, keepdim=True))

    def _weights(self) -> Iterator[Shard]:
        state = self._hidden[0].state_dict()
        for index, start in enumerate(self.edges[:-1]):
            for shard in state[f"embedding_bags.t{index}.weight"].local_shards():
                row, column = shard.metadata.shard_offsets
                yield Shard(shard.tensor, start + row, column)

    def _sums(self) -> Iterator[Shard]:
        """(rows, 1) sums; the column is the number of the column piece."""
        state = self.fused_optimizer.state_dict()["state"]
        for index, (start, stop) in enumerate(itertools.pairwise(self.edges)):
            found = state.get(f"embedding_bags.t{index}.weight", {}).get(f"t{index}.momentum1")
            for shard in () if found is None else found.local_shards():
                # Column pieces are stacked, each with all rows of the table.
                piece, row = divmod(shard.metadata.shard_offsets[0], stop - start)
                yield Shard(shard.tensor.unsqueeze(1), start + row, piece)


class ShardedRowwiseAdagrad:
    """The embedding optimizer of sharded tables, with the state of `optimizers.RowwiseAdagrad`."""

    def __init__(self, tables: list[ShardedTable], spec: RowwiseAdagradSpec) -> None:
        self.tables = tables
        self.param_groups: list[dict[str, Any]] = [{"lr": spec.lr, "eps": spec.eps}]

    def zero_grad(self, *, set_to_none: bool = True) -> None:  # noqa: ARG002 the signature of torch's
        """Pass the learning rate to the kernels, which keep no gradients."""
        for table in self.tables:
            for group in table.fused_optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            table.fused_optimizer.zero_grad()

    def step(self) -> None:
        """Nothing to do: the backward pass updates the rows."""

    def state_dict(self) -> dict[str, Any]:
        """This rank's shards of the state."""
        state = {index: {"sum": table.sums} for index, table in enumerate(self.tables)}
        groups = [dict(self.param_groups[0], params=list(range(len(self.tables))))]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load this rank's shards from the state of any number of processes."""
        for index, table in enumerate(self.tables):
            sums = state["state"][index]["sum"]
            table.load_sums(sums if len(sums.shape) > 1 else sums.unsqueeze(1))


def shard_tables(
    model: nn.Module,
    sharding: Sharding,
    optimizer: RowwiseAdagradSpec,
    world: World,
    device: torch.device,
) -> dict[str, ShardedTable]:
    """Replace every embedding table of a model; returns the new ones by the name of their weight.

    Raises UsageError without TorchRec, for a width that FBGEMM does not support, and for tables that do not
    fit the memory.
    """
    require_torchrec()
    found: dict[str, ShardedTable] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Embeddings):
            rows, width = module.table.weight.shape
            require_width(width, sharding, world)
            starts = sorted(set(module.offsets.tolist())) or [0]
            require_memory([*starts, rows], width, sharding, world, device)
            columns = [starts.index(offset) for offset in module.offsets.tolist()]
            sharded = ShardedTable(
                (rows, width), starts, columns,
                sharding=sharding, optimizer=optimizer, world=world, device=device,
            )  # fmt: skip
            if module.initial is None:
                sharded.weights.fill(module.table.weight.detach())
            else:
                sharded.initialize(module.initial)
            module.add_module("table", sharded)
            found[f"{name}.table.weight"] = sharded
    return found
