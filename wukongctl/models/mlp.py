"""A plain MLP on the concatenated embeddings and numeric values: the baseline without interactions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import Embeddings
from wukongctl.models.layers import MLP
from wukongctl.models.numbers import DenseInputs


class MLPModel(nn.Module):
    """Batch → (B,) logits."""

    def __init__(
        self,
        schema: Schema,
        *,
        width: int,
        hidden: Sequence[int],
        dropout: float,
        batch_norm: bool,
        embedding_init: float | None,
        sparse: bool,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(schema, width, init_std=embedding_init, sparse=sparse)
        self.dense = DenseInputs(schema)
        inputs = schema.embeddings * width + self.dense.n
        self.mlp = MLP(inputs, hidden, 1, dropout=dropout, batch_norm=batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch.ids).flatten(1)  # (B, N D)
        return self.mlp(torch.cat([X, self.dense(batch.dense)], dim=1)).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example."""
        return self.embeddings.macs("embeddings") | {"mlp": self.mlp.macs()}
