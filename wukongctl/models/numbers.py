"""Numeric features as inputs of models: values for an MLP, or one embedding each.

A piecewise feature with T pieces is one position u in [0, T], -1 if missing. Its encoding (Gorishniy et al.
2022, arXiv 2203.05556) has the components min(max(u - t, 0), 1) for t = 0 … T - 1: 1 for the pieces below the
value, 0 for those above, a fraction for its own.

B batch, M dense columns, P piecewise ones, T largest number of pieces, S inputs of an MLP, D width.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Schema
from wukongctl.models.layers import MLP


class DenseInputs(nn.Module):
    """(B, M) dense values → (B, S) inputs of an MLP: numbers unchanged, then the components of each piecewise
    feature and one that is 1 if it is missing."""

    owners: Tensor
    offsets: Tensor
    signs: Tensor

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.scalars = len(schema.numeric)
        self.n = self.scalars + sum(schema.pieces) + len(schema.pieces)
        places = range(self.scalars, len(schema.dense))
        owners = [[place] * (pieces + 1) for place, pieces in zip(places, schema.pieces, strict=True)]
        # The last component of each is 1 if missing: min(max(-u, 0), 1).
        offsets = [[*range(pieces), 0] for pieces in schema.pieces]
        signs = [[1] * pieces + [-1] for pieces in schema.pieces]
        self._register("owners", owners, torch.int64)
        self._register("offsets", offsets, torch.float32)
        self._register("signs", signs, torch.float32)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, S)."""
        if not len(self.owners):
            return dense
        positions = dense.index_select(1, self.owners)
        components = (positions * self.signs - self.offsets).clamp(0, 1)
        return torch.cat([dense[:, : self.scalars], components], dim=1)

    def _register(self, name: str, values: Sequence[Sequence[int]], dtype: torch.dtype) -> None:
        self.register_buffer(name, torch.tensor([*chain(*values)], dtype=dtype), persistent=False)


class NumericEmbedding(nn.Module):
    """(B, M) values → (B, M, D): value x_j times a learned vector w_j, as in factorization machines.

    `columns` are the indices of the values, in order; they may repeat.
    """

    def __init__(
        self, columns: Sequence[int], width: int, *, linear: bool = False, init_std: float | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(len(columns), width + linear))
        initialize(self.weight, init_std or width**-0.5, linear=linear)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, M, D)."""
        return dense.index_select(1, self.columns).unsqueeze(2) * self.weight


class PiecewiseEmbedding(nn.Module):
    """(B, M) positions → (B, P, D): the components of a feature times a learned (T, D) matrix, plus a bias;
    a separate vector if the feature is missing.

    `columns` are the columns of the batch, `pieces` the number of pieces of each. Matrix rows beyond a
    feature's pieces are unused. Initial embeddings have the variance of others at every value.
    """

    def __init__(
        self,
        columns: Sequence[int],
        pieces: Sequence[int],
        width: int,
        *,
        linear: bool = False,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        most, std = max(pieces), init_std or width**-0.5
        self.weight = nn.Parameter(torch.empty(len(columns), most, width + linear))
        self.bias = nn.Parameter(torch.empty(len(columns), width + linear))
        self.missing = nn.Parameter(torch.empty(len(columns), width + linear))
        initialize(self.weight, 2 * std, linear=linear)
        initialize(self.missing, std, linear=linear)
        with torch.no_grad():
            used = torch.arange(most).unsqueeze(0) < torch.tensor(pieces).unsqueeze(1)  # (P, T)
            self.weight.mul_((used / torch.tensor(pieces).unsqueeze(1) ** 0.5).unsqueeze(2))
            self.bias.copy_(-self.weight.sum(1) / 2)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("offsets", torch.arange(most, dtype=torch.float32), persistent=False)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, P, D)."""
        positions = dense.index_select(1, self.columns).t().unsqueeze(2)  # (P, B, 1)
        components = (positions - self.offsets).clamp(0, 1)  # (P, B, T)
        present = torch.matmul(components, self.weight) + self.bias.unsqueeze(1)  # (P, B, D)
        return torch.where(positions < 0, self.missing.unsqueeze(1), present).transpose(0, 1)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.weight.numel()


class BottomEmbedding(nn.Module):
    """(B, M) values → (B, 1, D): one MLP with a final ReLU for all numeric features, as in DLRM."""

    def __init__(self, schema: Schema, hidden: Sequence[int], width: int) -> None:
        super().__init__()
        self.inputs = DenseInputs(schema)
        self.mlp = MLP(self.inputs.n, (*hidden, width), None)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, 1, D)."""
        return self.mlp(self.inputs(dense)).unsqueeze(1)


@torch.no_grad()
def initialize(weight: Tensor, std: float, *, linear: bool) -> None:
    """Gaussian vectors; the weights of the linear model, if any, start at zero."""
    weight.normal_(std=std)
    if linear:
        weight[..., -1].zero_()
