"""Embedding tables sharded across processes by TorchRec, instead of replicated.

Needs the extra `distributed` (torchrec and fbgemm-gpu-cpu). The table of each feature is sharded by rows, by
columns, by assigning whole tables to processes, or as TorchRec's planner chooses. Rows are updated in the
backward pass by FBGEMM's exact row-wise AdaGrad, the same rule as `optimizers.RowwiseAdagrad`, except that
with column sharding each process has its own accumulators.
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

Sharding = Literal["row_wise", "table_wise", "column_wise", "planner"]
ALIGNMENT = 4
"""FBGEMM needs rows of a multiple of 16 bytes."""


class ShardedTable(nn.Module):
    """(B, C) rows → (B, C, D), like `nn.Embedding`, from tables sharded across processes.

    `starts` are the first rows of the tables in the one they replace, `columns` the table of each id
    column. Parameters are hidden from torch, to keep them out of DDP and the dense optimizer.
    """

    def __init__(
        self,
        table: nn.Embedding,
        starts: list[int],
        columns: list[int],
        *,
        sharding: Sharding,
        optimizer: RowwiseAdagradSpec,
        world: World,
    ) -> None:
        super().__init__()
        self.rows, self.width = table.weight.shape
        self.world = world
        self.edges = [*starts, self.rows]
        self.keys = [f"c{column}" for column in range(len(columns))]
        self.register_buffer("offsets", torch.tensor([starts[t] for t in columns]), persistent=False)
        self._hidden = (_sharded(self.edges, columns, self.width, sharding, optimizer, world),)
        self.load(table.weight.detach())

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

    @torch.no_grad()
    def gather(self) -> Tensor:
        """(R, D) weights on rank 0, (0, D) on other ranks. All ranks must call it."""
        full = torch.empty(self.rows if self.world.is_rank_zero else 0, self.width)
        for start, stop, sharded in self._tables():
            sharded.gather(0, full[start:stop] if self.world.is_rank_zero else None)
        return full

    @torch.no_grad()
    def load(self, full: Tensor) -> None:
        """Load this rank's shard of (R, D) weights."""
        for start, stop, sharded in self._tables():
            for shard in sharded.local_shards():
                (row, column), (rows, columns) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
                shard.tensor.copy_(full[start:stop][row : row + rows, column : column + columns])

    @torch.no_grad()
    def gather_sums(self) -> Tensor:
        """(R, S) squared-gradient sums on rank 0; S = 1 without column sharding."""
        slices = max((piece for _, piece, _ in self._sums()), default=0) + 1
        slices = self.world.largest(slices)
        full = torch.zeros(self.rows, slices)
        for start, piece, sums in self._sums():
            full[start : start + len(sums), piece] = sums
        dist.reduce(full, 0)
        return full

    @torch.no_grad()
    def load_sums(self, full: Tensor) -> None:
        """Load this rank's shard of (R, S) sums; their mean over S if columns were sharded differently."""
        for start, piece, sums in self._sums():
            part = full[start : start + len(sums)]
            sums.copy_(part[:, piece] if piece < part.shape[1] and part.shape[1] > 1 else part.mean(1))

    def _tables(self) -> Iterator[tuple[int, int, Any]]:
        state = self._hidden[0].state_dict()
        for index, (start, stop) in enumerate(itertools.pairwise(self.edges)):
            yield start, stop, state[f"embedding_bags.t{index}.weight"]

    def _sums(self) -> Iterator[tuple[int, int, Tensor]]:
        """First row, column piece and sums of each local shard."""
        state = self.fused_optimizer.state_dict()["state"]
        for index, (start, stop) in enumerate(itertools.pairwise(self.edges)):
            found = state.get(f"embedding_bags.t{index}.weight", {}).get(f"t{index}.momentum1")
            for shard in () if found is None else found.local_shards():
                # Column pieces are stacked, each with all rows of the table.
                piece, row = divmod(shard.metadata.shard_offsets[0], stop - start)
                yield start + row, piece, shard.tensor


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
        """The state of a single process, complete on rank 0. All ranks must call it."""
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
    model: nn.Module, sharding: Sharding, optimizer: RowwiseAdagradSpec, world: World
) -> dict[str, ShardedTable]:
    """Replace every embedding table of a model; returns the new ones by the name of their weight.

    Raises UsageError without TorchRec, or for a width that FBGEMM does not support.
    """
    _require_torchrec()
    found: dict[str, ShardedTable] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Embeddings):
            _require_width(module.table.embedding_dim, sharding, world)
            starts = sorted(set(module.offsets.tolist())) or [0]
            columns = [starts.index(offset) for offset in module.offsets.tolist()]
            sharded = ShardedTable(
                module.table, starts, columns, sharding=sharding, optimizer=optimizer, world=world
            )
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
    # Warnings for TorchRec's developers, not for its users.
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)


def _require_width(width: int, sharding: Sharding, world: World) -> None:
    parts = world.size if sharding == "column_wise" else 1
    if width % (ALIGNMENT * parts):
        raise UsageError(
            f"`distributed.embeddings: {sharding}` on {world.size} processes needs an embedding width that "
            f"is a multiple of {ALIGNMENT * parts}, not {width}",
            hint="change `model.width`, or add `--set distributed.embeddings=replicated`",
        )


def _sharded(
    edges: list[int],
    columns: list[int],
    width: int,
    sharding: Sharding,
    optimizer: RowwiseAdagradSpec,
    world: World,
) -> Any:
    """TorchRec's sharded collection of the tables between `edges`, with weights not yet set."""
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.types import ShardingEnv
    from torchrec.modules.embedding_configs import EmbeddingBagConfig
    from torchrec.modules.embedding_modules import EmbeddingBagCollection

    class Sharder(EmbeddingBagCollectionSharder):
        def sharding_types(self, compute_device_type: str) -> list[str]:  # noqa: ARG002
            """All types: TorchRec offers row-wise only for CUDA, though its CPU kernels support it."""
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
        _plan(module, sharder, sharding, world),
        ShardingEnv.from_process_group(dist.group.WORLD),
        torch.device("cpu"),
    )


def _plan(module: Any, sharder: Any, sharding: Sharding, world: World) -> Any:
    """TorchRec's sharding plan."""
    from torchrec.distributed import sharding_plan as plans

    if sharding == "planner":
        return _planned(module, sharder, world)
    parts = {}
    load = [0] * world.size
    for config in sorted(module.embedding_bag_configs(), key=lambda config: -config.num_embeddings):
        match sharding:
            case "row_wise":
                parts[config.name] = plans.row_wise(compute_kernel="fused")
            case "column_wise":
                parts[config.name] = plans.column_wise(ranks=list(range(world.size)), compute_kernel="fused")
            case "table_wise":  # the largest remaining table to the rank with the fewest rows
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
        compute_kernels=["fused"],  # only these update exactly
    )
    planner = EmbeddingShardingPlanner(
        topology=Topology(world_size=world.size, compute_device="cpu"),
        constraints={config.name: constraint for config in module.embedding_bag_configs()},
    )
    container = nn.ModuleDict({"tables": module})
    return planner.collective_plan(container, [sharder], dist.group.WORLD).get_plan_for_module("tables")
