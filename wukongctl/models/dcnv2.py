"""DCNv2 (Wang et al. 2021, arXiv 2008.13535): cross layers on the flattened embeddings, and an MLP.

    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l           low rank: W_l = U_l V_lᵀ with R columns

Each layer raises the highest interaction order by one. Shapes: B batch, N embeddings, D width, R rank.
"""

import torch
from torch import Tensor, nn

from wukongctl.config.model import DCNv2Spec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.layers import MLP, for_products, linear
from wukongctl.models.model import Model


class CrossNet(nn.Module):
    """(B, N D) → (B, N D) through `layers` cross layers; full matrices when `rank` is None."""

    def __init__(self, inputs: int, *, layers: int, rank: int | None) -> None:
        super().__init__()
        self.inputs, self.rank = inputs, rank
        self.layers = nn.ModuleList(_cross(inputs, rank) for _ in range(layers))

    def forward(self, x0: Tensor) -> Tensor:
        """(B, N D) → (B, N D)."""
        x = x0
        for layer in self.layers:
            x = x0 * layer(x) + x
        return x

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return len(self.layers) * self.inputs * (self.inputs if self.rank is None else 2 * self.rank)


class DCNv2(Model):
    """Batch → (B,) logits.

    `cross`: only the cross network and a linear output. `stacked`: the MLP reads the output of the cross
    network. `parallel`: both read the embeddings, a linear output reads both.
    """

    def __init__(self, spec: DCNv2Spec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.structure = spec.structure
        self.embeddings = FieldEmbeddings(
            schema, spec.width, bottom=spec.bottom, init_std=spec.embedding_init, sparse=sparse
        )
        inputs = self.embeddings.n * spec.width
        self.cross = CrossNet(inputs, layers=spec.cross_layers, rank=spec.rank)
        self.mlp: MLP | None = None
        if spec.structure != "cross":
            self.mlp = MLP(inputs, spec.hidden, None, dropout=spec.dropout, batch_norm=spec.batch_norm)
        deep = inputs if self.mlp is None else self.mlp.widths[-1]
        self.output = MLP(deep + inputs if spec.structure == "parallel" else deep, (), 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        x0 = for_products(self.embeddings(batch)).flatten(1)  # (B, N D)
        out = self.cross(x0)  # (B, N D)
        if self.mlp is not None and self.structure == "parallel":
            out = torch.cat([out, self.mlp(x0)], dim=1)
        elif self.mlp is not None:
            out = self.mlp(out)
        return self.output(out).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs() | {"cross": self.cross.macs()}
        if self.mlp is not None:
            parts["mlp"] = self.mlp.macs()
        return parts | {"output": self.output.macs()}


def _cross(inputs: int, rank: int | None) -> nn.Module:
    """W x + b, or U (Vᵀ x) + b."""
    if rank is None:
        return linear(inputs, inputs)
    return nn.Sequential(linear(inputs, rank, bias=False), linear(rank, inputs))
