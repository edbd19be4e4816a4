"""FwFM: logit = b + Σ_i w_i + Σ_{i<j} r_ij <e_i, e_j>.

Shapes: B batch, N embeddings, D width.
"""

import torch
from torch import Tensor, nn

from fwfm.section import FwFMSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models import Model
from wukongctl.models.embeddings import FieldEmbeddings


class FwFM(Model):
    """Batch → (B,) logits."""

    def __init__(self, spec: FwFMSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.linear, self.width = spec.linear, spec.width
        self.embeddings = FieldEmbeddings(
            schema,
            spec.width,
            bottom=spec.bottom,
            linear=spec.linear,
            init_std=spec.embedding_init,
            sparse=sparse,
        )
        self.pairs = WeightedPairs(self.embeddings.n)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) numbers → (B,) logits."""
        X = self.embeddings(batch)  # (B, N, D), one column more with `linear`
        if not self.linear:
            return self.pairs(X)
        return self.pairs(X[..., :-1]) + X[..., -1].sum(1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of matrix products per example, by part; the trace of `flops` must agree."""
        return self.embeddings.macs() | {"pairs": self.pairs.n**2 * self.width}

    def last_weights(self) -> list[Tensor]:
        """The logit is linear in the weights of the pairs: `logit_scale` multiplies them."""
        return [self.pairs.weights]


class WeightedPairs(nn.Module):
    """b + Σ_{i<j} r_ij <x_i, x_j>; (B, N, D) → (B,)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.weights = nn.Parameter(torch.ones(n, n))  # above the diagonal
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B,)."""
        mixed = self.weights.triu(1) @ X  # (B, N, D)
        return self.bias + (X * mixed).sum((1, 2))
