"""A model across the processes of a run: dense weights by DDP or FSDP2, tables replicated or sharded.

States are those of a single process, but for sharded tables, of which each rank gives its shards: any number
of processes may resume from a checkpoint, whatever number wrote it. All ranks must take part in saving.
"""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from wukongctl.config.training import OptimizerSpec, RowwiseAdagradSpec, TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.errors import UsageError
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables
from wukongctl.training import optimizers
from wukongctl.training.distributed import CPU, World
from wukongctl.training.sharding import ShardedRowwiseAdagrad, ShardedTable, shard_tables
from wukongctl.training.shards import StoredMatrix, full

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

StateDict = dict[str, Any]
GATHERED_ON = ("cuda",)
"""Devices between which sparse gradients are gathered: NCCL cannot reduce them, as DDP would on a CPU."""


def is_sharded(recipe: TrainingSpec, world: World) -> bool:
    """Whether each process of a world holds only shards of the embedding tables."""
    return world.size > 1 and recipe.distributed.embeddings != "replicated"


class ParallelModel:
    """One rank's part of a model. `forward` returns logits; gradients are means over ranks.

    The model is moved to `device`. Raises UsageError for a recipe that does not support several processes.
    """

    def __init__(
        self, model: Model, recipe: TrainingSpec, world: World, device: torch.device | None = None
    ) -> None:
        self.model, self.world = model, world
        self.sharded: dict[str, ShardedTable] = {}
        self.gathered: list[Tensor] = []
        """Tables whose sparse gradients `exchange_rows` exchanges, in place of DDP."""
        self.forward: Callable[[Batch], Tensor] = model
        if world.size == 1:
            model.to(device)  # stays where it is without one
            return
        device = device or CPU
        if recipe.accumulate > 1:
            raise UsageError(
                "`accumulate` needs a single process: several already split each batch",
                hint="add `--set accumulate=1`",
            )
        sharding, embedding = recipe.distributed.embeddings, recipe.optimizer.embedding
        if sharding != "replicated" and isinstance(embedding, RowwiseAdagradSpec):
            self.sharded = shard_tables(model, sharding, embedding, world, device)
        model.to(device)  # after sharding: tables may have no memory yet
        if recipe.distributed.dense == "fsdp":
            _fsdp(model, device)
            return
        if device.type in GATHERED_ON and optimizers.wants_sparse(recipe.optimizer):
            self.gathered = embedding_tables(model)
        self.forward = _ddp(model, self.gathered)

    def optimizers(self, spec: OptimizerSpec) -> dict[str, Any]:
        """{"dense": …, "embedding": …}, as from `optimizers.build`."""
        if not self.sharded or not isinstance(spec.embedding, RowwiseAdagradSpec):
            return dict(optimizers.build(spec, self.model))
        embedding = ShardedRowwiseAdagrad(list(self.sharded.values()), spec.embedding)
        return {"dense": optimizers.dense(spec, self.model), "embedding": embedding}

    def exchange_rows(self) -> None:
        """Give each rank the sparse gradients of all, after the backward pass.

        What is exchanged has the shape of the batch, whatever rows it uses, so no host waits for a GPU.
        """
        for table in self.gathered:
            gradient = table.grad
            if gradient is not None:
                rows = gradient._indices().shape[1] * self.world.size
                indices = self.world.all_gather(gradient._indices()[0], rows)
                values = self.world.all_gather(gradient._values(), rows).div_(self.world.size)
                table.grad = torch.sparse_coo_tensor(
                    indices.unsqueeze(0), values, gradient.shape, check_invariants=False
                )

    def state_dict(self) -> StateDict:
        """Weights and batch-norm statistics."""
        dense = {name: _unsharded(value) for name, value in self.model.state_dict().items()}
        return dense | {name: table.weights for name, table in self.sharded.items()}

    def load_state_dict(self, state: Mapping[str, Tensor | StoredMatrix]) -> None:
        """Load this rank's part of a state."""
        for name, table in self.sharded.items():
            table.weights.fill(state[name])
        own = self.model.state_dict()
        self.model.load_state_dict({name: _like(value, full(state[name])) for name, value in own.items()})


def unsharded_state(optimizer: Any) -> StateDict:
    """An optimizer's state, unsharded but for sharded tables."""
    state = optimizer.state_dict()
    entries = {
        index: {key: _unsharded(value) for key, value in entry.items()}
        for index, entry in state["state"].items()
    }
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "state": entries, "param_groups": groups}


def load_optimizer(optimizer: Any, state: StateDict) -> None:
    """The inverse of `unsharded_state`, for the state of any number of processes."""
    if not isinstance(optimizer, ShardedRowwiseAdagrad):
        state = _of_one_process(optimizer, state)
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        for weight in group.get("params", ()):
            if _is_dtensor(weight):
                for key, value in optimizer.state[weight].items():
                    if value.shape == weight.shape:
                        optimizer.state[weight][key] = _like(weight, value)


def _of_one_process(optimizer: Any, state: StateDict) -> StateDict:
    """The state with sums of sharded tables as `optimizers.RowwiseAdagrad` has them: (R,), one table each.

    Where columns were sharded, each piece has sums of its own; their mean takes their place.
    """
    entries = {
        index: {
            key: value.full().mean(1) if isinstance(value, StoredMatrix) else value
            for key, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    groups = [
        {**own, **saved} for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    return {**state, "state": entries, "param_groups": groups}


def _ddp(model: nn.Module, gathered: Sequence[Tensor]) -> DistributedDataParallel:
    # Frozen vectors and offsets are the same on all ranks; only buffers in checkpoints need broadcasting.
    saved = model.state_dict().keys()
    ignored = [name for name, _ in model.named_buffers() if name not in saved]
    of_tables = {id(table) for table in gathered}
    ignored += [name for name, weight in model.named_parameters() if id(weight) in of_tables]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ignored)
    return DistributedDataParallel(model)


def _fsdp(model: nn.Module, device: torch.device) -> None:
    """Shard each layer separately, so that only the layer being computed is gathered."""
    from torch.distributed.fsdp import fully_shard

    # Models return views, which nothing changes in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for name, stack in model.named_modules():
        if isinstance(stack, nn.ModuleList) and not name.endswith(".frozen"):
            for layer in stack:
                if any(True for _ in layer.parameters()):
                    fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _is_dtensor(value: Any) -> TypeGuard["DTensor"]:
    # Without FSDP nothing has imported the class, which takes longer than many a run.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def _unsharded(value: Any) -> Any:
    return value.full_tensor() if _is_dtensor(value) else value


def _like(own: Tensor, full: Tensor) -> Tensor:
    """`full`, sharded like `own`."""
    if _is_dtensor(own) and not _is_dtensor(full):
        from torch.distributed.tensor import distribute_tensor

        with torch.no_grad():
            return distribute_tensor(full, own.device_mesh, own.placements)
    return full
