"""MaskNet (Wang et al. 2021, arXiv 2102.07619): hidden layers multiplied by masks of the embeddings.

    block(e, h) = ReLU(LN(W (mask(e) * h)))          mask(e) = W_2 ReLU(W_1 e + b_1) + b_2

e is the flattened embeddings. Serial blocks pass h on; parallel blocks all read e, and an MLP reads
their concatenation. Shapes: B batch, N embeddings (numeric ones included), D width.
"""

import itertools

import torch
from torch import Tensor, nn

from wukongctl.config.model import MaskNetSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.layers import MLP, Dropout, linear
from wukongctl.models.model import Model


class MaskBlock(nn.Module):
    """(B, N D) embeddings and (B, inputs) hidden values → (B, outputs).

    The mask's hidden layer is `reduction` times as wide as `inputs`.
    """

    def __init__(self, spec: MaskNetSpec, embedded: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mask = MLP(embedded, (max(1, int(inputs * spec.reduction)),), inputs)
        self.hidden = linear(inputs, outputs, gain=2.0, bias=False)
        self.norm = nn.LayerNorm(outputs) if spec.layer_norm else nn.Identity()
        self.dropout = Dropout(spec.dropout)

    def forward(self, e: Tensor, h: Tensor) -> Tensor:
        """(B, N D), (B, inputs) → (B, outputs)."""
        return self.dropout(torch.relu(self.norm(self.hidden(self.mask(e) * h))))

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.mask.macs() + self.hidden.weight.numel()


class FieldNorm(nn.Module):
    """LayerNorm over the width with separate weights for each embedding: (B, N, D) → (B, N, D)."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.weight = nn.Parameter(torch.ones(n, width))
        self.bias = nn.Parameter(torch.zeros(n, width))

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        return self.norm(X) * self.weight + self.bias


class MaskNet(Model):
    """Batch → (B,) logits.

    `serial` chains one block per width of `hidden`; `parallel` feeds `blocks` blocks of `block_width` to an
    MLP with the `hidden` layers.
    """

    def __init__(self, spec: MaskNetSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(
            schema, spec.width, bottom=spec.bottom, init_std=spec.embedding_init, sparse=sparse
        )
        self.norm = FieldNorm(self.embeddings.n, spec.width) if spec.embedding_norm else nn.Identity()
        embedded = self.embeddings.n * spec.width
        self.serial = spec.structure == "serial"
        shapes = (
            list(itertools.pairwise((embedded, *spec.hidden)))
            if self.serial
            else [(embedded, spec.block_width)] * spec.blocks
        )
        self.blocks = nn.ModuleList(MaskBlock(spec, embedded, inputs, outputs) for inputs, outputs in shapes)
        widths = [outputs for _, outputs in shapes]
        self.output = (
            MLP(widths[-1], (), 1) if self.serial else MLP(sum(widths), spec.hidden, 1, dropout=spec.dropout)
        )

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch)  # (B, N, D)
        e, h = X.flatten(1), self.norm(X).flatten(1)  # (B, N D)
        if self.serial:
            for block in self.blocks:
                h = block(e, h)
        else:
            h = torch.cat([block(e, h) for block in self.blocks], dim=1)
        return self.output(h).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs() | {
            f"blocks.{index}": block.macs()
            for index, block in enumerate(self.blocks)
            if isinstance(block, MaskBlock)
        }
        return parts | {"output": self.output.macs()}
