"""xDeepFM (Lian et al. 2018, arXiv 1803.05170): compressed interaction network, linear model and MLP.

    X^k_h = Σ_{i,j} W^k_{h,ij} (X^0_i * X^{k-1}_j) + b^k_h          one order higher per layer

The sum over pairs is one matrix product of W^k (H_k x N H_{k-1}) with the element-wise products, so it
is counted; element-wise operations are not.

Shapes: B batch, N embeddings (numeric ones included), D width, H output rows of a layer.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wukongctl.config.model import XDeepFMSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.fm import split_linear
from wukongctl.models.layers import MLP, mix_rows, row_weights
from wukongctl.models.model import Model


class CINLayer(nn.Module):
    """(B, N, D) inputs and (B, H, D) of the layer below → (B, H', D)."""

    def __init__(self, n: int, below: int, rows: int) -> None:
        super().__init__()
        self.weight = row_weights(rows, n * below)
        self.bias = nn.Parameter(torch.zeros(rows, 1))

    def forward(self, X0: Tensor, X: Tensor) -> Tensor:
        """Two stacks of embeddings → (B, H', D)."""
        products = (X0.unsqueeze(2) * X.unsqueeze(1)).flatten(1, 2)  # (B, N H, D)
        return mix_rows(self.weight, products) + self.bias


class CIN(nn.Module):
    """(B, N, D) → (B,): the rows of every layer, summed over the width, through one linear layer."""

    def __init__(self, n: int, width: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(
            CINLayer(n, below, rows) for below, rows in itertools.pairwise((n, *layers))
        )
        self.output = MLP(sum(layers), (), 1)

    def forward(self, X0: Tensor) -> Tensor:
        """(B, N, D) → (B,)."""
        X, sums = X0, []
        for layer in self.layers:
            X = layer(X0, X)  # (B, H, D)
            sums.append(X.sum(2))
        return self.output(torch.cat(sums, dim=1)).squeeze(1)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        weights = sum(layer.weight.numel() for layer in self.layers if isinstance(layer, CINLayer))
        return weights * self.width + self.output.macs()


class XDeepFM(Model):
    """Batch → (B,) logits; `hidden: null` leaves out the MLP."""

    def __init__(self, spec: XDeepFMSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(
            schema, spec.width, linear=True, init_std=spec.embedding_init, sparse=sparse
        )
        n = self.embeddings.n
        self.cin = CIN(n, spec.width, spec.cin)
        self.mlp: MLP | None = None
        if spec.hidden is not None:
            self.mlp = MLP(n * spec.width, spec.hidden, 1, dropout=spec.dropout, batch_norm=spec.batch_norm)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X, logits = split_linear(self.embeddings(batch))  # (B, N, D), (B,)
        logits = logits + self.cin(X)
        return logits if self.mlp is None else logits + self.mlp(X.flatten(1)).squeeze(1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs() | {"cin": self.cin.macs()}
        return parts if self.mlp is None else parts | {"mlp": self.mlp.macs()}
