"""Which part of which embedding table lies on which process, and TorchRec's collection of them.

Tables are updated in the backward pass by FBGEMM's exact row-wise AdaGrad.
"""

import itertools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn

from wukongctl import extras
from wukongctl.config.training import RowwiseAdagradSpec
from wukongctl.errors import UsageError
from wukongctl.machine import available_memory
from wukongctl.training.distributed import World, local_processes
from wukongctl.training.hardware import free_memory

Sharding = Literal["row_wise", "table_wise", "column_wise", "planner"]
ALIGNMENT = 4
"""FBGEMM needs rows of a multiple of 16 bytes."""
RESERVED = 0.15
"""Share of the free memory that the planner leaves to dense weights and activations."""
MORE_MEMORY = "add machines, or make the tables smaller (`model.width`, `min_count`)"


def require_torchrec() -> None:
    """Raise UsageError where TorchRec and FBGEMM are not installed, or do not load."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchrec.distributed  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        extra = "distributed-gpu" if torch.version.cuda else "distributed"
        raise UsageError(
            f"sharded embedding tables need TorchRec: {str(error).splitlines()[0]}",
            hint=f"{extras.install(extra)}, or add `--set distributed.embeddings=replicated`",
        ) from error
    # Warnings for TorchRec's developers, not for its users.
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)


def require_width(width: int, sharding: Sharding, world: World) -> None:
    """Raise UsageError for an embedding width that FBGEMM does not support."""
    parts = world.size if sharding == "column_wise" else 1
    if width % (ALIGNMENT * parts):
        raise UsageError(
            f"`distributed.embeddings: {sharding}` on {world.size} processes needs an embedding width that "
            f"is a multiple of {ALIGNMENT * parts}, not {width}",
            hint="change `model.width`, or add `--set distributed.embeddings=replicated`",
        )


def require_memory(
    edges: list[int], width: int, sharding: Sharding, world: World, device: torch.device
) -> None:
    """Raise UsageError if the shards of some rank, with their sums, need more memory than is free.

    Not for the planner, which finds out for itself.
    """
    tables = [stop - start for start, stop in itertools.pairwise(edges)]
    match sharding:
        case "row_wise":
            numbers = -(-sum(tables) // world.size) * (width + 1)
        case "column_wise":
            numbers = sum(tables) * (width // world.size + 1)
        case "table_wise":
            numbers = max(_owners(tables, world.size)[1]) * (width + 1)
        case "planner":
            return
    needed, free = 4 * numbers, _free(device)
    if needed > free:
        raise UsageError(
            f"embedding tables need {needed / 1e9:,.1f} GB in one process, and {free / 1e9:,.1f} GB are free",
            hint=MORE_MEMORY,
        )


def _owners(tables: list[int], ranks: int) -> tuple[list[int], list[int]]:
    """The rank of each table, the largest remaining one to the rank with the fewest rows; rows by rank."""
    owners, load = [0] * len(tables), [0] * ranks
    for table in sorted(range(len(tables)), key=lambda table: -tables[table]):
        owners[table] = load.index(min(load))
        load[owners[table]] += tables[table]
    return owners, load


def _free(device: torch.device) -> int:
    """Bytes of memory that are free for this process, on its device."""
    return free_memory(device) if device.type == "cuda" else (available_memory() or 0) // local_processes()


def sharded_tables(
    edges: list[int],
    columns: list[int],
    width: int,
    sharding: Sharding,
    optimizer: RowwiseAdagradSpec,
    world: World,
    device: torch.device,
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
        _plan(module, sharder, sharding, world, device),
        ShardingEnv.from_process_group(dist.group.WORLD),
        device,
    )


def _plan(module: Any, sharder: Any, sharding: Sharding, world: World, device: torch.device) -> Any:
    """TorchRec's sharding plan."""
    from torchrec.distributed import sharding_plan as plans

    if sharding == "planner":
        return _planned(module, sharder, world, device)
    parts = {}
    configs = module.embedding_bag_configs()
    owners, _ = _owners([config.num_embeddings for config in configs], world.size)
    for config, owner in zip(configs, owners, strict=True):
        match sharding:
            case "row_wise":
                parts[config.name] = plans.row_wise(compute_kernel="fused")
            case "column_wise":
                parts[config.name] = plans.column_wise(ranks=list(range(world.size)), compute_kernel="fused")
            case "table_wise":
                parts[config.name] = plans.table_wise(rank=owner, compute_kernel="fused")
    return plans.construct_module_sharding_plan(
        module,
        parts,
        sharder=sharder,
        local_size=local_processes(),
        world_size=world.size,
        device_type=device.type,
    )


def _planned(module: Any, sharder: Any, world: World, device: torch.device) -> Any:
    """The plan of TorchRec's planner, which is told how much memory there is.

    Raises UsageError if the tables do not fit.
    """
    from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
    from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
    from torchrec.distributed.planner.types import ParameterConstraints, PlannerError

    on_gpu = device.type == "cuda"
    constraint = ParameterConstraints(
        sharding_types=["row_wise", "table_wise"],
        # Only these update exactly; those of unified memory are for tables larger than the GPUs' own.
        compute_kernels=["fused", "fused_uvm_caching", "fused_uvm"] if on_gpu else ["fused"],
    )
    with _quiet("torchrec.distributed.planner.types"):
        topology = Topology(
            world_size=world.size,
            local_world_size=local_processes(),
            compute_device=device.type,
            hbm_cap=_free(device) if on_gpu else None,
            ddr_cap=_free(torch.device("cpu")),
        )
    planner = EmbeddingShardingPlanner(
        topology=topology,
        storage_reservation=FixedPercentageStorageReservation(percentage=RESERVED),
        constraints={config.name: constraint for config in module.embedding_bag_configs()},
    )
    container = nn.ModuleDict({"tables": module})

    def plan() -> Any:
        try:
            return planner.plan(container, [sharder])
        except PlannerError as error:
            raise UsageError(
                f"TorchRec finds no place for the embedding tables in {world.size} processes with "
                f"{_free(device) / 1e9:,.1f} GB of free memory each",
                hint=MORE_MEMORY,
            ) from error

    return world.from_rank_zero(plan).get_plan_for_module("tables")


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Silence a library's logger: advice for its developers."""
    found = logging.getLogger(logger)
    before, found.disabled = found.disabled, True
    try:
        yield
    finally:
        found.disabled = before
