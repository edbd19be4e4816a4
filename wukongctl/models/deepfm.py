"""DeepFM (Guo et al. 2017, arXiv 1703.04247): an FM and an MLP on the same embeddings, logits added.

Shapes: B batch, N embeddings (numeric ones included), D width.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.fm import pair_sum, split_linear
from wukongctl.models.layers import MLP


class DeepFM(nn.Module):
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
        self.embeddings = FieldEmbeddings(schema, width, linear=True, init_std=embedding_init, sparse=sparse)
        self.mlp = MLP(self.embeddings.n * width, hidden, 1, dropout=dropout, batch_norm=batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X, linear = split_linear(self.embeddings(batch))  # (B, N, D), (B,)
        return linear + pair_sum(X) + self.mlp(X.flatten(1)).squeeze(1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example; the FM's pairs are no matrix product."""
        return self.embeddings.macs() | {"mlp": self.mlp.macs()}
