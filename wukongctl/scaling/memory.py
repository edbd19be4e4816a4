"""Bytes that training a recipe needs, without allocating any: weights, gradients, optimiser, activations."""

from dataclasses import asdict, dataclass
from typing import assert_never

from wukongctl.config.training import Adam, LazyAdam, OptimizerSpec, RowwiseAdagrad
from wukongctl.data.schema import Schema
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables

FLOAT_BYTES = 4


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes, all in float32. `activations` are what the backward pass of one example needs."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    batch_size: int

    @property
    def total(self) -> int:
        """At the recipe's batch size."""
        return self.weights + self.gradients + self.optimizer + self.activations * self.batch_size

    def to_dict(self) -> dict[str, int]:
        """The object `memory` of `flops --json`."""
        return {**asdict(self), "total": self.total}


def training_memory(
    model: Model, schema: Schema, optimizer: OptimizerSpec, *, activations: int, batch_size: int
) -> TrainingMemory:
    """What `model` will hold while it trains; it may be on the meta device.

    Dense Adam keeps a gradient and two moments for every weight. Row-wise AdaGrad keeps one number per
    embedding row, lazy Adam two moments for each of its weights; their gradients have only the rows of
    the batch.
    """
    tables = embedding_tables(model)
    table, rows = sum(weights.numel() for weights in tables), sum(len(weights) for weights in tables)
    dense = sum(parameter.numel() for parameter in model.parameters()) - table
    width = max((weights.shape[1] for weights in tables), default=0)
    sparse = min(table, batch_size * schema.id_columns * width)
    match optimizer.embedding:
        case Adam():
            gradient, state = table, 2 * table
        case RowwiseAdagrad():
            gradient, state = sparse, rows
        case LazyAdam():
            gradient, state = sparse, 2 * table
        case _:
            assert_never(optimizer.embedding)
    return TrainingMemory(
        weights=FLOAT_BYTES * (dense + table),
        gradients=FLOAT_BYTES * (dense + gradient),
        optimizer=FLOAT_BYTES * (2 * dense + state),
        activations=activations,
        batch_size=batch_size,
    )
