"""An MLP on the concatenated embeddings and numeric values: the baseline without explicit interactions."""

import torch
from torch import Tensor

from wukongctl.config.model import MLPSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import Embeddings
from wukongctl.models.layers import MLP
from wukongctl.models.model import Model
from wukongctl.models.numbers import DenseInputs


class MLPModel(Model):
    """Batch → (B,) logits."""

    def __init__(self, spec: MLPSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.embeddings = Embeddings(schema, spec.width, init_std=spec.embedding_init, sparse=sparse)
        self.dense = DenseInputs(schema)
        inputs = schema.embeddings * spec.width + self.dense.n
        self.mlp = MLP(inputs, spec.hidden, 1, dropout=spec.dropout, batch_norm=spec.batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch.ids).flatten(1)  # (B, N D)
        return self.mlp(torch.cat([X, self.dense(batch.dense)], dim=1)).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example."""
        return self.embeddings.macs("embeddings") | {"mlp": self.mlp.macs()}
