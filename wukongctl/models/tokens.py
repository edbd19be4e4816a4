"""Tokens: what RankMixer, TokenMixer-Large and UniMixing-Lite share.

    x_t          = W_t e[d(t-1) : dt] + b_t                          e: the concatenated embeddings
    mix(X)_h     = concat(slice h of x_1, ..., slice h of x_T)       slices: H equal parts of a token
    swiglu_t(x)  = W_t^down (swish(W_t^gate x) * W_t^up x)           biases left out here

The slices of e follow RankMixer (arXiv 2507.15551), which sorts the features by meaning first; here they keep
the order of the dataset. The last slice is filled up with zeros.

Shapes: B batch, N embeddings of width D', T tokens of width D, H heads, F hidden width. Tokens come first,
(T, B, D), so that a layer with weights for each token is one batched product.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from wukongctl.config.mixers import TokensSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.layers import MLP, Dropout, for_products, linear
from wukongctl.models.model import Model


class TokenLinear(nn.Module):
    """A linear layer for each token: (T, B, inputs) → (T, B, outputs)."""

    def __init__(
        self, tokens: int, inputs: int, outputs: int, *, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(tokens, inputs, outputs) * (gain / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(tokens, 1, outputs)) if bias else None

    def forward(self, X: Tensor) -> Tensor:
        """(T, B, inputs) → (T, B, outputs)."""
        if self.bias is None:
            return torch.bmm(X, self.weight)
        return torch.baddbmm(self.bias, X, self.weight)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.weight.numel()


class TokenNorm(nn.RMSNorm):
    """RMSNorm of every token in the precision of its weight, which all tokens share: (…, D) → (…, D)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5)  # as in LayerNorm

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return super().forward(x.to(self.weight.dtype))


class TokenSwiGLU(nn.Module):
    """A SwiGLU for each token: (T, B, D) → (T, B, D).

    `small` is a factor on the initial weights of the last layer.
    """

    def __init__(
        self, tokens: int, width: int, hidden: int, *, dropout: float = 0.0, small: float = 1.0
    ) -> None:
        super().__init__()
        self.gate = TokenLinear(tokens, width, hidden)
        self.up = TokenLinear(tokens, width, hidden)
        self.dropout = Dropout(dropout)
        self.down = TokenLinear(tokens, hidden, width, gain=small**2)

    def forward(self, X: Tensor) -> Tensor:
        """(T, B, D) → (T, B, D)."""
        hidden = functional.silu(self.gate(X)) * self.up(X)  # (T, B, F)
        return self.down(self.dropout(hidden))

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.gate.macs() + self.up.macs() + self.down.macs()


class TokenSlices(nn.Module):
    """(B, N D') embeddings, concatenated → (T, B, D) tokens: slices, each through its own linear layer.

    With `global_token` the first token is a linear map of all embeddings, and T - 1 slices follow.
    """

    def __init__(self, inputs: int, tokens: int, width: int, *, global_token: bool = False) -> None:
        super().__init__()
        self.slices = tokens - global_token
        self.length = -(-inputs // self.slices)
        self.missing = self.slices * self.length - inputs
        self.local = TokenLinear(self.slices, self.length, width)
        self.all = linear(inputs, width) if global_token else None

    def forward(self, e: Tensor) -> Tensor:
        """(B, N D') → (T, B, D)."""
        padded = functional.pad(e, (0, self.missing)) if self.missing else e
        X = self.local(padded.unflatten(1, (self.slices, self.length)).transpose(0, 1))
        return X if self.all is None else torch.cat([self.all(e).unsqueeze(0), X])

    def macs(self) -> int:
        """Multiply-accumulates per example, those with the zeros of the last slice included."""
        return self.local.macs() + (0 if self.all is None else self.all.weight.numel())


class TokenLayer(nn.Module, ABC):
    """One of the layers of a `TokenModel`."""

    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates per example."""


class TokenModel(Model):
    """Embeddings, tokens, a stack of layers, the mean of the tokens and an MLP head; batch → (B,) logits.

    A subclass fills `layers` and, where they do not simply follow one another, overrides `mixed`.
    """

    def __init__(
        self, spec: TokensSpec, schema: Schema, *, global_token: bool = False, sparse: bool = False
    ) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(
            schema, spec.width, bottom=spec.bottom, init_std=spec.embedding_init, sparse=sparse
        )
        inputs = self.embeddings.n * spec.width
        self.tokens = TokenSlices(inputs, spec.tokens, spec.token_width, global_token=global_token)
        self.layers = nn.ModuleList()
        self.head = MLP(spec.token_width, spec.head, 1, dropout=spec.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        e = for_products(self.embeddings(batch)).flatten(1)  # (B, N D')
        X = self.mixed(self.tokens(e))  # (T, B, D)
        return self.head(X.mean(0)).squeeze(1)  # (B,)

    def mixed(self, X: Tensor) -> Tensor:
        """(T, B, D) tokens → (T, B, D), through all layers."""
        for layer in self.layers:
            X = layer(X)
        return X

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs() | {"tokens": self.tokens.macs()}
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, TokenLayer)
            parts[f"layers.{index}"] = layer.macs()
        return parts | {"head": self.head.macs()}


def mix_heads(X: Tensor, heads: int) -> Tensor:
    """(T, B, D) → (H, B, T D / H): mixed token h has slice h of every token. Mixing H tokens with T heads
    reverts it."""
    slices = X.unflatten(2, (heads, X.shape[2] // heads))  # (T, B, H, D / H)
    return slices.permute(2, 1, 0, 3).flatten(2)
