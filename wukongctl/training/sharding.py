"""Embedding tables divided among processes by TorchRec, in place of a table that each process holds whole.

Needs the extra `distributed` (torchrec and fbgemm-gpu-cpu). Every feature's table is sharded by itself: by
rows, by columns, whole tables to processes, or as TorchRec's planner sees fit. Rows are updated inside the
backward pass by FBGEMM's exact row-wise AdaGrad, the same rule as `optimizers.RowwiseAdagrad`; but where
columns are divided, each process has accumulators of its own for its columns.
"""

import itertools
import logging
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wukongctl.config.training import RowwiseAdagradSpec
from wukongctl.errors import UsageError
from wukongctl.models.embeddings import Embeddings
from wukongctl.training.distributed import World

Plan = Literal["row_wise", "table_wise", "column_wise", "planner"]
ALIGNMENT = 4
"""FBGEMM wants rows of whole multiples of 16 bytes."""


class ShardedTable(nn.Module):
    """(B, C) rows → (B, C, D), as `nn.Embedding` would, from tables that lie on several processes.

    `starts` are the first rows of the tables in the one they replace, `columns` the table of each id
    column. Parameters are hidden from torch: they belong neither to DDP nor to the dense optimizer.
    """

    def __init__(
        self,
        table: nn.Embedding,
        starts: list[int],
        columns: list[int],
        *,
        plan: Plan,
        optimizer: RowwiseAdagradSpec,
        world: World,
    ) -> None:
        super().__init__()
        self.rows, self.width = table.weight.shape
        self.world = world
        self.edges = [*starts, self.rows]
        self.keys = [f"c{column}" for column in range(len(columns))]
        self.register_buffer("offsets", torch.tensor([starts[t] for t in columns]), persistent=False)
        self._hidden = (_sharded(self.edges, columns, self.width, plan, optimizer, world),)
        self.load(table.weight.detach())

    def forward(self, rows: Tensor) -> Tensor:
        """(B, C) → (B, C, D)."""
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

        ids = (rows - self.offsets).t().reshape(-1)  # (C B), column by column
        lengths = torch.ones_like(ids, dtype=torch.int32)
        found = self._hidden[0](KeyedJaggedTensor(self.keys, ids, lengths=lengths))
        by_key = found.wait()  # their order is not ours
        return torch.stack([by_key[key] for key in self.keys], dim=1)

    @property
    def fused_optimizer(self) -> Any:
        """TorchRec's handle on the updates that the backward pass makes."""
        return self._hidden[0].fused_optimizer

    @torch.no_grad()
    def gather(self) -> Tensor:
        """(R, D) weights on the first process, (0, D) on the others. Every process must call it."""
        full = torch.empty(self.rows if self.world.is_rank_zero else 0, self.width)
        for start, stop, sharded in self._tables():
            sharded.gather(0, full[start:stop] if self.world.is_rank_zero else None)
        return full

    @torch.no_grad()
    def load(self, full: Tensor) -> None:
        """Take this process's part of (R, D) weights."""
        for start, stop, sharded in self._tables():
            for shard in sharded.local_shards():
                (row, column), (rows, columns) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
                shard.tensor.copy_(full[start:stop][row : row + rows, column : column + columns])

    @torch.no_grad()
    def gather_sums(self) -> Tensor:
        """(R, S) squared-gradient sums on the first process, S = 1 unless columns are divided."""
        slices = max((piece for _, piece, _ in self._sums()), default=0) + 1
        slices = self.world.largest(slices)
        full = torch.zeros(self.rows, slices)
        for start, piece, sums in self._sums():
            full[start : start + len(sums), piece] = sums
        dist.reduce(full, 0)
        return full

    @torch.no_grad()
    def load_sums(self, full: Tensor) -> None:
        """Take this process's part of (R, S) sums; the mean over S where columns are divided otherwise."""
        for start, piece, sums in self._sums():
            part = full[start : start + len(sums)]
            sums.copy_(part[:, piece] if piece < part.shape[1] and part.shape[1] > 1 else part.mean(1))

    def _tables(self) -> Iterator[tuple[int, int, Any]]:
        state = self._hidden[0].state_dict()
        for index, (start, stop) in enumerate(itertools.pairwise(self.edges)):
            yield start, stop, state[f"embedding_bags.t{index}.weight"]

    def _sums(self) -> Iterator[tuple[int, int, Tensor]]:
        """First row, piece of the columns, and sums of each part that lies here."""
        state = self.fused_optimizer.state_dict()["state"]
        for index, (start, stop) in enumerate(itertools.pairwise(self.edges)):
            found = state.get(f"embedding_bags.t{index}.weight", {}).get(f"t{index}.momentum1")
            for shard in () if found is None else found.local_shards():
                # Pieces of columns stand one after the other, each with all the table's rows.
                piece, row = divmod(shard.metadata.shard_offsets[0], stop - start)
                yield start + row, piece, shard.tensor


class ShardedRowwiseAdagrad:
    """The embedding optimizer of sharded tables; its state is that of `optimizers.RowwiseAdagrad`."""

    def __init__(self, tables: list[ShardedTable], spec: RowwiseAdagradSpec) -> None:
        self.tables = tables
        self.param_groups: list[dict[str, Any]] = [{"lr": spec.lr, "eps": spec.eps}]

    def zero_grad(self, *, set_to_none: bool = True) -> None:  # noqa: ARG002 the signature of torch's
        """Hand the learning rate to the kernels; they keep no gradients."""
        for table in self.tables:
            for group in table.fused_optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            table.fused_optimizer.zero_grad()

    def step(self) -> None:
        """Nothing is left to do: the backward pass has updated the rows."""

    def state_dict(self) -> dict[str, Any]:
        """As one process would have it; whole on the first. Every process must call it."""
        state = {}
        for index, table in enumerate(self.tables):
            sums = table.gather_sums()
            state[index] = {"sum": sums.mean(1)} | ({"slices": sums} if sums.shape[1] > 1 else {})
        groups = [dict(self.param_groups[0], params=list(range(len(self.tables))))]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for index, table in enumerate(self.tables):
            found = state["state"][index]
            table.load_sums(found.get("slices", found["sum"].unsqueeze(1)))


def shard_tables(
    model: nn.Module, plan: Plan, optimizer: RowwiseAdagradSpec, world: World
) -> dict[str, ShardedTable]:
    """Replace every embedding table of a model; the replacements by the name of their weight.

    Raises UsageError without TorchRec, or for a width that FBGEMM cannot take.
    """
    _require_torchrec()
    found: dict[str, ShardedTable] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Embeddings):
            _require_width(module.table.embedding_dim, plan, world)
            starts = sorted(set(module.offsets.tolist())) or [0]
            columns = [starts.index(offset) for offset in module.offsets.tolist()]
            sharded = ShardedTable(module.table, starts, columns, plan=plan, optimizer=optimizer, world=world)
            module.add_module("table", sharded)
            found[f"{name}.table.weight"] = sharded
    return found


def _require_torchrec() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchrec.distributed  # noqa: F401
    except (ImportError, OSError) as error:
        raise UsageError(
            f"sharded embedding tables need TorchRec: {str(error).splitlines()[0]}",
            hint="see `Distributed training` in the docs, or add `--set distributed.embeddings=replicated`",
        ) from error
    # Advice and deprecations meant for TorchRec, not for who uses it.
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)


def _require_width(width: int, plan: Plan, world: World) -> None:
    parts = world.size if plan == "column_wise" else 1
    if width % (ALIGNMENT * parts):
        raise UsageError(
            f"`distributed.embeddings: {plan}` on {world.size} processes needs rows of a multiple of "
            f"{ALIGNMENT * parts} columns, and these have {width}",
            hint="change `model.width`, or add `--set distributed.embeddings=replicated`",
        )


def _sharded(
    edges: list[int], columns: list[int], width: int, plan: Plan, optimizer: RowwiseAdagradSpec, world: World
) -> Any:
    """TorchRec's sharded collection of the tables between `edges`, weights not yet set."""
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.types import ShardingEnv
    from torchrec.modules.embedding_configs import EmbeddingBagConfig
    from torchrec.modules.embedding_modules import EmbeddingBagCollection

    class Sharder(EmbeddingBagCollectionSharder):
        def sharding_types(self, compute_device_type: str) -> list[str]:  # noqa: ARG002
            """All of them: TorchRec offers rows only for CUDA, though its CPU kernels can do it."""
            return super().sharding_types("cuda")

    tables = [
        EmbeddingBagConfig(
            name=f"t{index}",
            embedding_dim=width,
            num_embeddings=stop - start,
            feature_names=[f"c{column}" for column, table in enumerate(columns) if table == index],
        )
        for index, (start, stop) in enumerate(itertools.pairwise(edges))
    ]
    fused = {
        "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        "learning_rate": optimizer.lr,
        "eps": optimizer.eps,
    }
    module = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    sharder = Sharder(fused_params=fused)
    return sharder.shard(
        module,
        _plan(module, sharder, plan, world),
        ShardingEnv.from_process_group(dist.group.WORLD),
        torch.device("cpu"),
    )


def _plan(module: Any, sharder: Any, plan: Plan, world: World) -> Any:
    """Which part of which table lies where."""
    from torchrec.distributed import sharding_plan as plans

    if plan == "planner":
        return _planned(module, sharder, world)
    everyone = list(range(world.size))
    parts = {}
    load = [0] * world.size
    for config in sorted(module.embedding_bag_configs(), key=lambda config: -config.num_embeddings):
        match plan:
            case "row_wise":
                parts[config.name] = plans.row_wise(compute_kernel="fused")
            case "column_wise":
                parts[config.name] = plans.column_wise(ranks=everyone, compute_kernel="fused")
            case "table_wise":  # the largest table left to the process that has the fewest rows
                owner = load.index(min(load))
                load[owner] += config.num_embeddings
                parts[config.name] = plans.table_wise(rank=owner, compute_kernel="fused")
    return plans.construct_module_sharding_plan(
        module, parts, sharder=sharder, local_size=world.size, world_size=world.size, device_type="cpu"
    )


def _planned(module: Any, sharder: Any, world: World) -> Any:
    from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
    from torchrec.distributed.planner.types import ParameterConstraints

    constraint = ParameterConstraints(
        sharding_types=["row_wise", "table_wise"],
        compute_kernels=["fused"],  # these update exactly
    )
    planner = EmbeddingShardingPlanner(
        topology=Topology(world_size=world.size, compute_device="cpu"),
        constraints={config.name: constraint for config in module.embedding_bag_configs()},
    )
    container = nn.ModuleDict({"tables": module})
    return planner.collective_plan(container, [sharder], dist.group.WORLD).get_plan_for_module("tables")
