"""A model over the processes of a run: dense weights by DDP or FSDP2, tables whole or sharded.

States are those of the same model in one process, whole, on the first process: a checkpoint does not know
how many processes wrote it, and any number may go on from it. Every process must take part in making one.
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

State = dict[str, Any]


class ParallelModel:
    """What one process holds of a model. `forward` gives logits; gradients are means over processes.

    Raises UsageError for a recipe that several processes cannot follow.
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
        plan, embedding = recipe.distributed.embeddings, recipe.optimizer.embedding
        if plan != "replicated" and isinstance(embedding, RowwiseAdagradSpec):
            self.sharded = shard_tables(model, plan, embedding, world)
        if recipe.distributed.dense == "fsdp":
            fully_shard(model)
        else:
            self.forward = _ddp(model)

    def optimizers(self, spec: OptimizerSpec) -> dict[str, Any]:
        """{"dense": …, "embedding": …}, as `optimizers.build` makes them."""
        if not self.sharded or not isinstance(spec.embedding, RowwiseAdagradSpec):
            return dict(optimizers.build(spec, self.model))
        embedding = ShardedRowwiseAdagrad(list(self.sharded.values()), spec.embedding)
        return {"dense": optimizers.dense(spec, self.model), "embedding": embedding}

    def state_dict(self) -> State:
        """Weights and statistics."""
        whole = {name: _whole(value) for name, value in self.model.state_dict().items()}
        return whole | {name: table.gather() for name, table in self.sharded.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take this process's part of a whole state."""
        for name, table in self.sharded.items():
            table.load(state[name])
        own = self.model.state_dict()
        self.model.load_state_dict({name: _like(value, state[name]) for name, value in own.items()})


def whole_optimizer(optimizer: Any) -> State:
    """An optimizer's state with nothing sharded."""
    state = optimizer.state_dict()
    entries = {
        index: {key: _whole(value) for key, value in entry.items()} for index, entry in state["state"].items()
    }
    return {**state, "state": entries}


def load_optimizer(optimizer: Any, state: State) -> None:
    """The inverse of `whole_optimizer`."""
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        for weight in group.get("params", ()):
            if isinstance(weight, DTensor):
                for key, value in optimizer.state[weight].items():
                    if value.shape == weight.shape:
                        optimizer.state[weight][key] = _like(weight, value)


def _ddp(model: nn.Module) -> DistributedDataParallel:
    # Frozen vectors and offsets are the same everywhere; only what a checkpoint holds need be sent around.
    saved = model.state_dict().keys()
    ignored = [name for name, _ in model.named_buffers() if name not in saved]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ignored)
    return DistributedDataParallel(model)


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(own: Tensor, whole: Tensor) -> Tensor:
    """`whole` as `own` is: divided in the same way, or not at all."""
    if isinstance(own, DTensor) and not isinstance(whole, DTensor):
        with torch.no_grad():
            return distribute_tensor(whole, own.device_mesh, own.placements)
    return whole
