"""DeepFM (Guo et al. 2017, arXiv 1703.04247): an FM and an MLP on the same embeddings, logits added.

Shapes: B batch, N embeddings (numeric ones included), D width.
"""

from torch import Tensor

from wukongctl.config.model import DeepFMSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.fm import pair_sum, split_linear
from wukongctl.models.layers import MLP
from wukongctl.models.model import Model


class DeepFM(Model):
    """Batch → (B,) logits."""

    def __init__(self, spec: DeepFMSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(
            schema, spec.width, linear=True, init_std=spec.embedding_init, sparse=sparse
        )
        self.mlp = MLP(
            self.embeddings.n * spec.width, spec.hidden, 1, dropout=spec.dropout, batch_norm=spec.batch_norm
        )

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X, linear = split_linear(self.embeddings(batch))  # (B, N, D), (B,)
        return linear + pair_sum(X) + self.mlp(X.flatten(1)).squeeze(1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example; the FM's pairs are not a matrix product."""
        return self.embeddings.macs() | {"mlp": self.mlp.macs()}
