"""Bytes that training a recipe needs, without allocating any: weights, gradients, optimiser, activations."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from wukongctl.config.training import Adam, OptimizerSpec, RowwiseAdagrad
from wukongctl.data.schema import Batch, Schema
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables

FLOAT_BYTES = 4


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes, all in float32. `activations` are those of one example that the backward pass needs."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    batch_size: int

    @property
    def total(self) -> int:
        """At the recipe's batch size."""
        return self.weights + self.gradients + self.optimizer + self.activations * self.batch_size


def training_memory(
    model: Model, schema: Schema, optimizer: OptimizerSpec, batch_size: int
) -> TrainingMemory:
    """What `model`, on the meta device, will hold while it trains.

    Dense Adam keeps a gradient and two moments for every weight. Row-wise AdaGrad keeps one number per
    embedding row, and its gradient has only the rows of the batch.
    """
    table = sum(weights.numel() for weights in embedding_tables(model))
    rows = sum(weights.shape[0] for weights in embedding_tables(model))
    width = table // max(rows, 1)
    dense = sum(parameter.numel() for parameter in model.parameters()) - table
    match optimizer.embedding:
        case Adam():
            gradient, state = table, 2 * table
        case RowwiseAdagrad():
            gradient, state = min(table, batch_size * schema.id_columns * width), rows
        case _:
            assert_never(optimizer.embedding)
    return TrainingMemory(
        weights=FLOAT_BYTES * (dense + table),
        gradients=FLOAT_BYTES * (dense + gradient),
        optimizer=FLOAT_BYTES * (2 * dense + state),
        activations=activation_bytes(model, schema),
        batch_size=batch_size,
    )


def activation_bytes(model: Model, schema: Schema) -> int:
    """Bytes per example that autograd saves for the backward pass, weights apart; seen on the meta device.

    The difference between batches of 4 and of 2 leaves out what does not grow with the batch.
    """
    return (_saved(model, schema, 4) - _saved(model, schema, 2)) // 2


def _saved(model: Model, schema: Schema, rows: int) -> int:
    parameters = {weights.untyped_storage()._cdata for weights in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            storages[storage._cdata] = storage  # kept, so that no later storage gets the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(meta_batch(schema, rows))
    return sum(storage.nbytes() for storage in storages.values())


def meta_batch(schema: Schema, rows: int) -> Batch:
    """A batch of shapes without content."""
    return Batch(
        ids=torch.empty(rows, schema.id_columns, dtype=torch.int32, device="meta"),
        dense=torch.empty(rows, len(schema.numeric), device="meta"),
        labels=torch.empty(rows, device="meta"),
    )
