"""DLRM (Naumov et al. 2019, arXiv 1906.00091): dot products of all pairs of embeddings, then an MLP.

Shapes: B batch, N embeddings (dense one included), D width, P = N (N - 1) / 2 pairs.
"""

import torch
from torch import Tensor

from wukongctl.config.model import DLRMSpec
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import Embeddings
from wukongctl.models.layers import MLP
from wukongctl.models.model import Model
from wukongctl.models.numbers import DenseInputs


class DLRM(Model):
    """Bottom MLP on numeric features, interaction, top MLP; batch → (B,) logits.

    `interaction="cat"` concatenates the embeddings instead of taking dot products, as the tuned
    configurations for datasets without numeric features do.
    """

    def __init__(self, spec: DLRMSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.width = spec.width
        self.embeddings = Embeddings(schema, spec.width, init_std=spec.embedding_init, sparse=sparse)
        self.dense = DenseInputs(schema)
        self.bottom: MLP | None = None
        if self.dense.n:
            self.bottom = MLP(self.dense.n, spec.bottom, self.width, batch_norm=spec.batch_norm)
        self.n = schema.embeddings + (self.bottom is not None)
        self.dot = spec.interaction == "dot"
        if self.dot and self.n < 2:
            raise _no_pairs()
        pairs = torch.triu_indices(self.n, self.n, offset=1)
        self.register_buffer("pairs", pairs[0] * self.n + pairs[1], persistent=False)
        dense_width = self.width if self.bottom is not None else 0
        inputs = self.n * (self.n - 1) // 2 + dense_width if self.dot else self.n * self.width
        self.top = MLP(inputs, spec.top, 1, dropout=spec.dropout, batch_norm=spec.batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch.ids)  # (B, N, D)
        dense = None
        if self.bottom is not None:
            dense = torch.relu(self.bottom(self.dense(batch.dense)))  # (B, D)
            X = torch.cat([X, dense.unsqueeze(1)], dim=1)
        if not self.dot:
            return self.top(X.flatten(1)).squeeze(1)
        products = torch.matmul(X, X.transpose(1, 2))  # (B, N, N)
        interactions = products.flatten(1).index_select(1, self.pairs)  # (B, P)
        if dense is not None:
            interactions = torch.cat([dense, interactions], dim=1)
        return self.top(interactions).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example; the full N x N product is computed, so it is counted."""
        parts = self.embeddings.macs("embeddings")
        if self.bottom is not None:
            parts["bottom"] = self.bottom.macs()
        if self.dot:
            parts["interaction"] = self.n * self.n * self.width
        return parts | {"top": self.top.macs()}


def _no_pairs() -> Mismatch:
    what = "model `dlrm` takes dot products of pairs, but this dataset has one embedding"
    hint = "add `--set model.interaction=cat`"
    return Mismatch([Mistake(what, ("model", "name"), hint, others=(("data",),))])
