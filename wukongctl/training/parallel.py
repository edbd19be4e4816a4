"""A model across the processes of a run: dense weights by DDP or FSDP2, tables replicated or sharded.

States are unsharded, as in a single process, and complete on rank 0: a checkpoint does not depend on the
number of processes that wrote it, and any number may resume from it. All ranks must take part in saving.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from wukongctl.config.training import OptimizerSpec, RowwiseAdagradSpec, TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.errors import UsageError
from wukongctl.models import Model
from wukongctl.training import optimizers
from wukongctl.training.distributed import World
from wukongctl.training.sharding import ShardedRowwiseAdagrad, ShardedTable, shard_tables

StateDict = dict[str, Any]


class ParallelModel:
    """One rank's part of a model. `forward` returns logits; gradients are means over ranks.

    Raises UsageError for a recipe that does not support several processes.
    """

    def __init__(self, model: Model, recipe: TrainingSpec, world: World) -> None:
        self.model, self.world = model, world
        self.sharded: dict[str, ShardedTable] = {}
        self.forward: Callable[[Batch], Tensor] = model
        if world.size == 1:
            return
        if recipe.accumulate > 1:
            raise UsageError(
                "`accumulate` needs a single process: several already split each batch",
                hint="add `--set accumulate=1`",
            )
        sharding, embedding = recipe.distributed.embeddings, recipe.optimizer.embedding
        if sharding != "replicated" and isinstance(embedding, RowwiseAdagradSpec):
            self.sharded = shard_tables(model, sharding, embedding, world)
        if recipe.distributed.dense == "fsdp":
            fully_shard(model)
        else:
            self.forward = _ddp(model)

    def optimizers(self, spec: OptimizerSpec) -> dict[str, Any]:
        """{"dense": …, "embedding": …}, as from `optimizers.build`."""
        if not self.sharded or not isinstance(spec.embedding, RowwiseAdagradSpec):
            return dict(optimizers.build(spec, self.model))
        embedding = ShardedRowwiseAdagrad(list(self.sharded.values()), spec.embedding)
        return {"dense": optimizers.dense(spec, self.model), "embedding": embedding}

    def state_dict(self) -> StateDict:
        """Weights and batch-norm statistics."""
        full = {name: _unsharded(value) for name, value in self.model.state_dict().items()}
        return full | {name: table.gather() for name, table in self.sharded.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load this rank's shard of an unsharded state."""
        for name, table in self.sharded.items():
            table.load(state[name])
        own = self.model.state_dict()
        self.model.load_state_dict({name: _like(value, state[name]) for name, value in own.items()})


def unsharded_state(optimizer: Any) -> StateDict:
    """An optimizer's state, unsharded."""
    state = optimizer.state_dict()
    entries = {
        index: {key: _unsharded(value) for key, value in entry.items()}
        for index, entry in state["state"].items()
    }
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "state": entries, "param_groups": groups}


def load_optimizer(optimizer: Any, state: StateDict) -> None:
    """The inverse of `unsharded_state`."""
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        for weight in group.get("params", ()):
            if isinstance(weight, DTensor):
                for key, value in optimizer.state[weight].items():
                    if value.shape == weight.shape:
                        optimizer.state[weight][key] = _like(weight, value)


def _ddp(model: nn.Module) -> DistributedDataParallel:
    # Frozen vectors and offsets are the same on all ranks; only buffers in checkpoints need broadcasting.
    saved = model.state_dict().keys()
    ignored = [name for name, _ in model.named_buffers() if name not in saved]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ignored)
    return DistributedDataParallel(model)


def _unsharded(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(own: Tensor, full: Tensor) -> Tensor:
    """`full`, sharded like `own`."""
    if isinstance(own, DTensor) and not isinstance(full, DTensor):
        with torch.no_grad():
            return distribute_tensor(full, own.device_mesh, own.placements)
    return full
