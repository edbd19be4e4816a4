"""FM (Rendle 2010, doi:10.1109/ICDM.2010.127): a linear model plus the dot products of all pairs.

    logit = b + Σ_i w_i + Σ_{i<j} <e_i, e_j>

Shapes: B batch, N embeddings (numeric ones included), D width.
"""

import torch
from torch import Tensor, nn

from wukongctl.config.model import FMSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.model import Model


class FM(Model):
    """Batch → (B,) logits. The pairs cost O(N D) element-wise work and no matrix product."""

    def __init__(self, spec: FMSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(
            schema, spec.width, linear=True, init_std=spec.embedding_init, sparse=sparse
        )
        self.interaction = BiasedPairs()

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X, linear = split_linear(self.embeddings(batch))
        return linear + self.interaction(X)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of matrix products per example: none."""
        return self.embeddings.macs() | {"interaction": 0}


class BiasedPairs(nn.Module):
    """b + Σ_{i<j} <x_i, x_j>; (B, N, D) → (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B,)."""
        return self.bias + pair_sum(X)


def pair_sum(X: Tensor) -> Tensor:
    """Σ_{i<j} <x_i, x_j> as (‖Σ x‖² - Σ ‖x‖²) / 2; (B, N, D) → (B,)."""
    return (X.sum(1).square().sum(1) - X.square().sum((1, 2))) / 2


def split_linear(X: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings with `linear` → (B, N, D) vectors and the (B,) sum of the feature weights."""
    return X[..., :-1], X[..., -1].sum(1)
