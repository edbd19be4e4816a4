"""AutoInt and AutoInt+ (Song et al. 2019, arXiv 1810.11921): self-attention over embeddings, plus an MLP.

    layer(X) = ReLU(LN(softmax(Q Kᵀ) V + W_r X))        Q, K, V = X W_q, X W_k, X W_v, in several heads

Attention is written with plain products, so that every multiply-accumulate can be counted. Three
options make AutoInt+ more like Wukong, as in appendix F (Table 4) of arXiv 2403.02545: `value_hidden` and
`layer_hidden` replace the maps of single embeddings by MLPs on all embeddings, and `pyramid` compresses the
output of the first layer to fewer rows.

Shapes: B batch, N embeddings entering a layer, D their width, A attention width, H heads.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from wukongctl.config.model import AutoIntSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.fm import split_linear
from wukongctl.models.layers import MLP, Dropout, linear, mix_rows, row_weights
from wukongctl.models.model import Model


class FlatMLP(nn.Module):
    """An MLP on all embeddings at once, flattened: (B, N, D) → (B, N, A)."""

    def __init__(self, n: int, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.n = n
        self.mlp = MLP(n * inputs, hidden, n * outputs)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, N, A)."""
        return self.mlp(X.flatten(1)).unflatten(1, (self.n, -1))


class AttentionLayer(nn.Module):
    """(B, N, D) → (B, N, A)."""

    def __init__(self, spec: AutoIntSpec, n: int, inputs: int) -> None:
        super().__init__()
        width = spec.attention_width
        self.n, self.inputs, self.width, self.heads = n, inputs, width, spec.heads
        self.scale = (width // spec.heads) ** -0.5 if spec.scale else 1.0
        self.query = linear(inputs, width, bias=False)
        self.key = linear(inputs, width, bias=False)
        self.value = (
            linear(inputs, width, bias=False)
            if spec.value_hidden is None
            else FlatMLP(n, inputs, spec.value_hidden, width)
        )
        self.after = None if spec.layer_hidden is None else FlatMLP(n, width, spec.layer_hidden, width)
        self.residual: nn.Module | None = None
        if spec.residual:
            self.residual = nn.Identity() if inputs == width else linear(inputs, width, bias=False)
        self.norm = nn.LayerNorm(width) if spec.layer_norm else nn.Identity()
        self.dropout = Dropout(spec.dropout)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, N, A)."""
        Q, K, V = (self._heads(part(X)) for part in (self.query, self.key, self.value))  # (B, H, N, A / H)
        scores = torch.matmul(Q, K.transpose(2, 3)) * self.scale  # (B, H, N, N)
        mixed = torch.matmul(self.dropout(scores.softmax(dim=-1)), V)  # (B, H, N, A / H)
        out = mixed.transpose(1, 2).flatten(2)  # (B, N, A)
        if self.after is not None:
            out = self.after(out)
        if self.residual is not None:
            out = out + self.residual(X)
        return torch.relu(self.norm(out))

    def _heads(self, X: Tensor) -> Tensor:
        """(B, N, A) → (B, H, N, A / H)."""
        return X.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        total = 2 * self.n * self.n * self.width
        for part in (self.query, self.key, self.value, self.after, self.residual):
            if isinstance(part, nn.Linear):
                total += self.n * self.inputs * self.width
            elif isinstance(part, FlatMLP):
                total += part.mlp.macs()
        return total


class AutoInt(Model):
    """Batch → (B,) logits. `hidden` adds the MLP of AutoInt+, `linear` a linear model.

    `parallel`: the MLP reads the embeddings, and its logit is added to that of the attention. `stacked`: it
    reads the output of the attention and the embeddings, and has the only logit; the counts of Table 5 of
    arXiv 2403.02545 agree with this form.
    """

    def __init__(self, spec: AutoIntSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        self.linear_term, self.stacked = spec.linear, spec.structure == "stacked"
        self.embeddings = FieldEmbeddings(
            schema,
            spec.width,
            bottom=spec.bottom,
            linear=spec.linear,
            init_std=spec.embedding_init,
            sparse=sparse,
        )
        n = self.embeddings.n
        embedded = n * spec.width
        mlp = partial(MLP, dropout=spec.dropout, batch_norm=spec.batch_norm)
        self.mlp: MLP | None = None
        if spec.hidden is not None and not self.stacked:
            self.mlp = mlp(embedded, spec.hidden, 1)
        self.compress = row_weights(spec.pyramid, n) if spec.pyramid is not None else None
        self.layers = nn.ModuleList()
        for index in range(spec.attention_layers):
            self.layers.append(AttentionLayer(spec, n, spec.width if index == 0 else spec.attention_width))
            n = spec.pyramid or n
        attended = n * spec.attention_width
        self.output = mlp(attended + embedded, spec.hidden or (), 1) if self.stacked else MLP(attended, (), 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch)  # (B, N, D)
        logits = []
        if self.linear_term:
            X, weights = split_linear(X)
            logits.append(weights)
        e = X.flatten(1)  # (B, N D)
        if self.mlp is not None:
            logits.append(self.mlp(e).squeeze(1))
        for index, layer in enumerate(self.layers):
            X = layer(X)  # (B, N, A)
            if index == 0 and self.compress is not None:
                X = mix_rows(self.compress, X)  # (B, pyramid, A)
        attended = X.flatten(1)
        if self.stacked:
            attended = torch.cat([attended, e], dim=1)
        logits.append(self.output(attended).squeeze(1))
        return torch.stack(logits).sum(0)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs()
        if self.mlp is not None:
            parts["mlp"] = self.mlp.macs()
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, AttentionLayer)
            parts[f"layers.{index}"] = layer.macs()
            if index == 0 and self.compress is not None:
                parts["compress"] = self.compress.numel() * layer.width
        return parts | {"output": self.output.macs()}
