"""Wukong: stacked factorization machines (Zhang et al., ICML 2024, arXiv 2403.02545).

    X_{i+1} = LN(concat(FMB_i(X_i), LCB_i(X_i)) + X_i)
    FMB(X)  = reshape(MLP(LN(flatten(FM(X)))))          FM(X) = X Xᵀ Y, computed as X (Xᵀ Y)
    LCB(X)  = W_L X

Each layer doubles the highest interaction order, so l layers reach order 2^l.

Shapes: B batch, N embeddings entering a layer, D width, K columns of Y, M rows of the attention input.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from wukongctl.config.wukong import Group, LayerSizes, WukongSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import Embeddings
from wukongctl.models.layers import MLP, for_products, mix_rows, row_weights
from wukongctl.models.lookups import id_features, matching, require_features
from wukongctl.models.model import Model
from wukongctl.models.numbers import DenseInputs


class AttentiveProjection(nn.Module):
    """Y(X): a linearly compressed input, flattened, through an MLP. (B, N, D) → (B, N, K).

    The paper gives the two steps (section 3.3) but no sizes: `rows` and `hidden` are ours.
    """

    def __init__(self, spec: WukongSpec, n: int, k: int) -> None:
        super().__init__()
        self.n, self.k, self.width = n, k, spec.width
        self.compress = row_weights(spec.attention.rows, n)
        self.mlp = MLP(spec.attention.rows * spec.width, spec.attention.hidden, n * k, bias=spec.bias)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, N, K)."""
        compressed = mix_rows(self.compress, X)  # (B, M, D)
        return self.mlp(compressed.flatten(1)).unflatten(1, (self.n, self.k))  # (B, N, K)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.compress.numel() * self.width + self.mlp.macs()


class WukongLayer(nn.Module):
    """One layer of the stack: (B, N, D) → (B, n_F + n_L, D).

    The output of every part named in `ablate` is replaced by zeros; its cost and its weights stay (the
    paper's Figure 4).
    """

    def __init__(self, spec: WukongSpec, sizes: LayerSizes, n: int) -> None:
        super().__init__()
        n_F, n_L, k, hidden = sizes
        self.n, self.width = n, spec.width
        self.ablate = frozenset(spec.ablate)
        self.n_F, self.n_L = n_F, n_L
        self.columns = n if spec.projection == "none" else k
        self.attention = AttentiveProjection(spec, n, k) if spec.projection == "attentive" else None
        # Y is stored transposed: the products of X with Y, W_L and W_R are then one matrix product.
        self.projection = row_weights(k, n) if spec.projection == "static" else None
        self.lcb = row_weights(n_L, n)
        self.residual = None if n == n_F + n_L else row_weights(n_F + n_L, n)
        self.fm_norm = nn.LayerNorm(n * self.columns)
        self.mlp = MLP(n * self.columns, hidden, n_F * spec.width, dropout=spec.dropout, bias=spec.bias)
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, n_F + n_L, D)."""
        weights: list[Tensor] = [w for w in (self.lcb, self.residual, self.projection) if w is not None]
        products = mix_rows(torch.cat(weights), X).split([len(w) for w in weights], dim=1)
        compressed = products[0]  # (B, n_L, D)
        skip = X if self.residual is None else products[1]  # (B, n_F + n_L, D)
        interactions = self._fm(X, products[-1])  # (B, N, K)
        fmb = self.mlp(self.fm_norm(interactions.flatten(1)))  # (B, n_F D)
        fmb = fmb.unflatten(1, (self.n_F, self.width))  # (B, n_F, D)
        fmb, compressed = self._ablate("fmb", fmb), self._ablate("lcb", compressed)
        return self.norm(torch.cat([fmb, compressed], dim=1) + self._ablate("residual", skip))

    def _ablate(self, part: Literal["fmb", "lcb", "residual"], X: Tensor) -> Tensor:
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


class GroupEmbedding(nn.Module):
    """Less important features as a few embeddings: narrow lookups, concatenated, through one MLP.

    (B, C) ids → (B, embeddings, D).
    """

    def __init__(self, spec: WukongSpec, group: Group, schema: Schema, *, sparse: bool) -> None:
        super().__init__()
        features = matching(group.features, id_features(schema))
        self.embeddings = group.embeddings
        self.ids = Embeddings(
            schema, group.width, features=features, init_std=spec.embedding_init, sparse=sparse
        )
        self.mlp = MLP(len(features) * group.width, group.hidden, group.embeddings * spec.width)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) → (B, embeddings, D)."""
        return self.mlp(self.ids(ids).flatten(1)).unflatten(1, (self.embeddings, -1))


class Wukong(Model):
    """Embeddings, a stack of `WukongLayer`s and an MLP head; batch → (B,) logits.

    Numeric features pass through a bottom MLP that yields `dense_embeddings` more rows; a feature may have
    several embeddings, and the features of a group share those of the group.
    Raises Mismatch if the recipe names features that the data does not have.
    """

    def __init__(self, spec: WukongSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        ids = id_features(schema)
        require_features([spec.named_features], ids, ("model",))
        self.width = spec.width
        self.embeddings = Embeddings(
            schema,
            spec.width,
            features=_single_features(spec, ids),
            init_std=spec.embedding_init,
            sparse=sparse,
        )
        self.groups = nn.ModuleList(
            GroupEmbedding(spec, group, schema, sparse=sparse) for group in spec.groups
        )
        self.dense = DenseInputs(schema)
        self.bottom: MLP | None = None
        n = self.embeddings.n + sum(group.embeddings for group in spec.groups)
        if self.dense.n:
            self.bottom = MLP(self.dense.n, spec.bottom, spec.dense_embeddings * spec.width)
            n += spec.dense_embeddings
        self.layers = nn.ModuleList()
        for sizes in spec.layer_sizes:
            self.layers.append(WukongLayer(spec, sizes, n))
            n = sizes.n_F + sizes.n_L
        self.head = MLP(n * spec.width, spec.head, 1, dropout=spec.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        rows = [self.embeddings(batch.ids), *(group(batch.ids) for group in self.groups)]
        if self.bottom is not None:
            dense = self.bottom(self.dense(batch.dense))
            rows.append(dense.unflatten(1, (-1, self.width)))  # (B, dense_embeddings, D)
        rows = [for_products(row) for row in rows]
        X = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)  # (B, N, D)
        for layer in self.layers:
            X = layer(X)  # (B, n_F + n_L, D)
        return self.head(X.flatten(1)).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part; embedding lookups count 0."""
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

    def counted_under(self) -> dict[str, str]:
        """The computation and normalization of X Xᵀ Y is counted as the part `fm` of its layer."""
        layers = [f"layers.{index}" for index in range(len(self.layers))]
        return {f"{layer}.{name}": f"{layer}.fm" for layer in layers for name in ("projection", "fm_norm")}


def _single_features(spec: WukongSpec, ids: Sequence[str]) -> list[str]:
    """Features outside groups, then one entry for each further embedding of a feature."""
    grouped = {name for group in spec.groups for name in matching(group.features, ids)}
    repeated = [
        name
        for pattern, count in spec.embeddings_per_feature.items()
        for name in matching([pattern], ids)
        for _ in range(count - 1)
    ]
    return [*(name for name in ids if name not in grouped), *repeated]
