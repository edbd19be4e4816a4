"""Bytes that training a recipe needs, without allocating any: weights, gradients, optimizer, activations."""

from dataclasses import asdict, dataclass
from typing import assert_never

import torch

from wukongctl.config.training import AdamSpec, LazyAdamSpec, RowwiseAdagradSpec, TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.models import Model
from wukongctl.models.counts import count
from wukongctl.models.embeddings import embedding_tables

FLOAT_BYTES = 4


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes; `activations` are what the backward pass of one example needs, in float32."""

    weights: int
    """Frozen vectors among them."""
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
    model: Model, schema: Schema, recipe: TrainingSpec, *, activations: int
) -> TrainingMemory:
    """What `model` of `recipe` will hold while it trains; it may be on the meta device.

    Dense Adam keeps a gradient and two moments for every weight. Row-wise AdaGrad keeps one number per
    embedding row, lazy Adam two moments for each of its weights; their gradients have only the rows of
    the batch.
    """
    counts, tables = count(model), embedding_tables(model)
    table, rows = counts.embedding_params, sum(len(weights) for weights in tables)
    dense, number = counts.dense_params, getattr(torch, recipe.embedding_dtype).itemsize
    width = max((weights.shape[1] for weights in tables), default=0)
    sparse = min(table, recipe.batch_size * schema.id_columns * width)
    match recipe.optimizer.embedding:
        case AdamSpec():
            gradient, state = table, 2 * table
        case RowwiseAdagradSpec():
            gradient, state = sparse, rows
        case LazyAdamSpec():
            gradient, state = sparse, 2 * table
        case _:
            assert_never(recipe.optimizer.embedding)
    return TrainingMemory(
        weights=FLOAT_BYTES * (dense + counts.frozen_values) + number * table,
        gradients=FLOAT_BYTES * dense + number * gradient,
        optimizer=FLOAT_BYTES * (2 * dense + state),
        activations=activations,
        batch_size=recipe.batch_size,
    )
