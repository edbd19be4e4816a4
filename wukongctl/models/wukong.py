"""Wukong: stacked factorization machines (Zhang et al., ICML 2024, arXiv 2403.02545).

    X_{i+1} = LN(concat(FMB_i(X_i), LCB_i(X_i)) + X_i)
    FMB(X)  = reshape(MLP(LN(flatten(FM(X)))))          FM(X) = X Xᵀ Y, computed as X (Xᵀ Y)
    LCB(X)  = W_L X

Each layer doubles the highest interaction order, so l layers reach order 2^l.

Shapes: B batch, N embeddings entering a layer, D width, K columns of Y, M rows of the attention input.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import Embeddings, GroupEmbedding
from wukongctl.models.layers import MLP, for_products, mix_rows, row_weights
from wukongctl.models.lookups import id_features
from wukongctl.models.numbers import DenseInputs

Projection = Literal["none", "static", "attentive"]
Part = Literal["fmb", "lcb", "residual"]


class AttentiveProjection(nn.Module):
    """Y(X): a linearly compressed input, flattened, through an MLP. (B, N, D) → (B, N, K).

    The paper gives the two steps (section 3.3) but no sizes: `rows` and `hidden` are ours.
    """

    def __init__(self, n: int, width: int, k: int, *, rows: int, hidden: Sequence[int], bias: bool) -> None:
        super().__init__()
        self.n, self.k, self.width = n, k, width
        self.compress = row_weights(rows, n)
        self.mlp = MLP(rows * width, hidden, n * k, bias=bias)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, N, K)."""
        compressed = mix_rows(self.compress, X)  # (B, M, D)
        return self.mlp(compressed.flatten(1)).unflatten(1, (self.n, self.k))  # (B, N, K)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.compress.numel() * self.width + self.mlp.macs()


class WukongLayer(nn.Module):
    """One layer of the stack: (B, N, D) → (B, n_F + n_L, D).

    The output of every part named in `ablate` is replaced by zeros; its cost and its weights stay, so
    that only what it contributes is missing (the paper's Figure 4).
    """

    def __init__(
        self,
        n: int,
        width: int,
        *,
        n_F: int,
        n_L: int,
        k: int,
        projection: Projection,
        attention_rows: int,
        attention_hidden: Sequence[int],
        hidden: Sequence[int],
        dropout: float,
        bias: bool,
        ablate: Sequence[Part] = (),
    ) -> None:
        super().__init__()
        self.n, self.width = n, width
        self.ablate = frozenset(ablate)
        self.n_F, self.n_L = n_F, n_L
        self.columns = n if projection == "none" else k
        self.attention = (
            AttentiveProjection(n, width, k, rows=attention_rows, hidden=attention_hidden, bias=bias)
            if projection == "attentive"
            else None
        )
        # Y is kept transposed: the products of X with Y, W_L and W_R are then one matrix product.
        self.projection = row_weights(k, n) if projection == "static" else None
        self.lcb = row_weights(n_L, n)
        self.residual = None if n == n_F + n_L else row_weights(n_F + n_L, n)
        self.fm_norm = nn.LayerNorm(n * self.columns)
        self.mlp = MLP(n * self.columns, hidden, n_F * width, dropout=dropout, bias=bias)
        self.norm = nn.LayerNorm(width)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, n_F + n_L, D)."""
        weights: list[Tensor] = [w for w in (self.lcb, self.residual, self.projection) if w is not None]
        products = mix_rows(torch.cat(weights), X).split([len(w) for w in weights], dim=1)
        compressed = products[0]  # (B, n_L, D)
        skip = X if self.residual is None else products[1]  # (B, n_F + n_L, D)
        interactions = self._fm(X, products[-1])  # (B, N, K)
        made = self.mlp(self.fm_norm(interactions.flatten(1)))  # (B, n_F D)
        made = made.unflatten(1, (self.n_F, self.width))  # (B, n_F, D)
        made, compressed = self._kept("fmb", made), self._kept("lcb", compressed)
        return self.norm(torch.cat([made, compressed], dim=1) + self._kept("residual", skip))

    def _kept(self, part: Part, X: Tensor) -> Tensor:
        return torch.zeros_like(X) if part in self.ablate else X

    def _fm(self, X: Tensor, projected: Tensor) -> Tensor:
        """X Xᵀ Y, right product first: O(N K D) instead of O(N² D)."""
        if self.attention is not None:
            projected = torch.matmul(self.attention(X).transpose(1, 2), X)  # (B, K, D)
        elif self.projection is None:
            projected = X
        return torch.matmul(X, projected.transpose(1, 2))

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example and part, exact where the paper gives orders of magnitude."""
        n, d, k = self.n, self.width, self.columns
        plain = self.attention is None and self.projection is None
        parts = {
            "fm": n * n * d if plain else 2 * n * k * d,
            "mlp": self.mlp.macs(),
            "lcb": n * self.n_L * d,
        }
        if self.attention is not None:
            parts["attention"] = self.attention.macs()
        if self.residual is not None:
            parts["residual"] = n * (self.n_F + self.n_L) * d
        return parts


class Group(NamedTuple):
    """Features of little importance, embedded in `narrow` columns each and mapped by one MLP to few
    embeddings of the common width."""

    features: Sequence[str]
    narrow: int
    hidden: Sequence[int]
    embeddings: int


class Wukong(nn.Module):
    """Embeddings, a stack of `WukongLayer`s and an MLP head; batch → (B,) logits.

    `n_F`, `n_L`, `k` and `hidden` have one entry per layer. Numeric features pass a bottom MLP that
    yields `dense_embeddings` more rows; each name in `repeated` gives that feature one embedding more,
    and the features of a group share the embeddings of the group.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        width: int,
        n_F: Sequence[int],
        n_L: Sequence[int],
        k: Sequence[int],
        projection: Projection,
        attention_rows: int,
        attention_hidden: Sequence[int],
        hidden: Sequence[Sequence[int]],
        bottom: Sequence[int],
        dense_embeddings: int,
        repeated: Sequence[str],
        groups: Sequence[Group],
        head: Sequence[int],
        dropout: float,
        bias: bool,
        ablate: Sequence[Part],
        embedding_init: float | None,
        sparse: bool,
    ) -> None:
        super().__init__()
        self.width = width
        grouped = {name for group in groups for name in group.features}
        single = [name for name in id_features(schema) if name not in grouped]
        self.embeddings = Embeddings(
            schema, width, features=(*single, *repeated), init_std=embedding_init, sparse=sparse
        )
        self.groups = nn.ModuleList(
            GroupEmbedding(
                schema,
                group.features,
                narrow=group.narrow,
                hidden=group.hidden,
                embeddings=group.embeddings,
                width=width,
                init_std=embedding_init,
                sparse=sparse,
            )
            for group in groups
        )
        self.dense = DenseInputs(schema)
        self.bottom = MLP(self.dense.n, bottom, dense_embeddings * width) if self.dense.n else None
        n = self.embeddings.n + sum(group.embeddings for group in groups)
        n += dense_embeddings if self.dense.n else 0
        layer = partial(
            WukongLayer,
            projection=projection,
            attention_rows=attention_rows,
            attention_hidden=attention_hidden,
            dropout=dropout,
            bias=bias,
            ablate=ablate,
        )
        self.layers = nn.ModuleList()
        for made, compressed, columns, widths in zip(n_F, n_L, k, hidden, strict=True):
            self.layers.append(layer(n, width, n_F=made, n_L=compressed, k=columns, hidden=widths))
            n = made + compressed
        self.head = MLP(n * width, head, 1, dropout=dropout)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        rows = [self.embeddings(batch.ids), *(group(batch.ids) for group in self.groups)]
        if self.bottom is not None:
            made = self.bottom(self.dense(batch.dense))
            rows.append(made.unflatten(1, (-1, self.width)))  # (B, dense_embeddings, D)
        rows = [for_products(row) for row in rows]
        X = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)  # (B, N, D)
        for layer in self.layers:
            X = layer(X)  # (B, n_F + n_L, D)
        return self.head(X.flatten(1)).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part; embedding look-ups count 0."""
        parts = self.embeddings.macs("embeddings")
        if self.bottom is not None:
            parts["bottom"] = self.bottom.macs()
        for index, group in enumerate(self.groups):
            assert isinstance(group, GroupEmbedding)
            parts |= group.ids.macs(f"groups.{index}.ids")
            parts[f"groups.{index}.mlp"] = group.mlp.macs()
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, WukongLayer)
            parts |= {f"layers.{index}.{part}": macs for part, macs in layer.macs().items()}
        return parts | {"head": self.head.macs()}
