"""Estimated memory of training: weights, gradients, optimizer state and activations, in bytes."""

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
    """Memory in bytes; `activations` are those saved for the backward pass of one example, in float32."""

    weights: int
    """Includes frozen vectors."""
    gradients: int
    optimizer: int
    activations: int
    batch_size: int

    @property
    def total(self) -> int:
        """Bytes at the recipe's batch size."""
        return self.weights + self.gradients + self.optimizer + self.activations * self.batch_size

    def to_dict(self) -> dict[str, int]:
        """The object `memory` of `flops --json`."""
        return {**asdict(self), "total": self.total}


def training_memory(
    model: Model, schema: Schema, recipe: TrainingSpec, *, activations: int
) -> TrainingMemory:
    """Memory that training `model` with `recipe` takes; the model may be on the meta device.

    Adam stores a gradient and two moments per weight, lazy Adam two moments per weight, row-wise AdaGrad one
    number per embedding row. The gradients of the last two hold only the rows of the batch.
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
