"""UniMixing-Lite of UniMixer, dense (Ha et al. 2026, arXiv 2604.00590): how tokens mix is learned.

    mix(X)   = W_G [x_1 W_1; ...; x_n W_n]           x_i: n = T D / B blocks of the flattened tokens
    W_G      = sinkhorn(sym(A C) / τ)                A: (n, r), C: (r, n)
    W_i      = sinkhorn(sym(Σ_l ω_il Z_l) / τ)       b matrices Z_l (B, B), shared by all blocks
    f(U)     = swiglu(RMSNorm(U + mix(U)))           a SwiGLU for each token
    X', Y'   = RMSNorm(X + O), Y + O                 O = f(X + RMSNorm(Y)); X and Y start as the tokens
    logit    = MLP(mean over tokens of X + RMSNorm(Y))

sym(W) = (W + Wᵀ) / 2; sinkhorn exponentiates, then makes the rows and the columns sum to one, in turns.

From the paper, as published reviews of it report: both mixing matrices with their three constraints (doubly
stochastic, symmetric, sharpened by a temperature), the two coupled streams (SiameseNorm) and their sum, the
per-token SwiGLU. From code for public datasets that appears to be one author's: the place of RMSNorm in f,
20 iterations and a constant τ of 0.2. Ours: the slices that make tokens (`models.tokens`), the initial
scale of the mixing matrices (`START`), the mean and the MLP head. Left out: lowering τ from 1 to 0.05
during training, or starting from weights trained at τ = 1, without which the paper loses 0.09 % of AUC,
because a model here does not know how far its training is; and the sparse mixture of experts.

Both matrices are made once per batch from weights alone, so making them is no cost per example.

Shapes: R rows of the batch, T tokens, D their width, n blocks of width B. Tokens come first: (T, R, D).
"""

import torch
from torch import Tensor, nn

from wukongctl.config.mixers import UniMixerSpec
from wukongctl.data.schema import Schema
from wukongctl.models.tokens import TokenLayer, TokenModel, TokenNorm, TokenSwiGLU

START = 0.2
"""Standard deviation of the initial entries before `sinkhorn`: at the default temperature the matrices start
soft, but not uniform."""


def doubly_stochastic(W: Tensor, temperature: float, iterations: int) -> Tensor:
    """(…, n, n) → (…, n, n): positive, each column sums to one and each row nearly so.

    Of the symmetric part of W; in logarithms, which cannot overflow at low temperatures.
    """
    logs = (W + W.transpose(-1, -2)) / (2 * temperature)
    for _ in range(iterations):
        logs = logs - logs.logsumexp(-1, keepdim=True)
        logs = logs - logs.logsumexp(-2, keepdim=True)
    return logs.exp()


class UniMixing(nn.Module):
    """(T, R, D) → (T, R, D): every block by its local matrix, then all blocks by the global one."""

    def __init__(self, spec: UniMixerSpec) -> None:
        super().__init__()
        self.block, self.blocks = spec.block, spec.tokens * spec.token_width // spec.block
        self.temperature, self.iterations = spec.temperature, spec.sinkhorn
        std = 2**0.5 * START  # symmetrizing halves the variance, except on the diagonal
        self.left = nn.Parameter(torch.randn(self.blocks, spec.rank) * (std / spec.rank**0.5))
        self.right = nn.Parameter(torch.randn(spec.rank, self.blocks))
        self.basis = nn.Parameter(torch.randn(spec.basis, self.block, self.block) * std)
        self.weights = nn.Parameter(torch.randn(self.blocks, spec.basis) * spec.basis**-0.5)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The global matrix (n, n) and the local ones (n, B, B), in the precision of the weights."""
        local = (self.weights @ self.basis.flatten(1)).unflatten(1, (self.block, self.block))
        W_G, W_local = (
            doubly_stochastic(W.to(self.left.dtype), self.temperature, self.iterations)
            for W in (self.left @ self.right, local)
        )
        return W_G, W_local

    def forward(self, X: Tensor) -> Tensor:
        """(T, R, D) → (T, R, D)."""
        W_G, W_local = self.matrices()
        tokens, _, width = X.shape
        blocks = X.transpose(0, 1).flatten(1).unflatten(1, (self.blocks, self.block))  # (R, n, B)
        local = torch.bmm(blocks.transpose(0, 1), W_local)  # (n, R, B)
        mixed = torch.mm(W_G, local.flatten(1)).unflatten(1, local.shape[1:])  # (n, R, B)
        return mixed.transpose(0, 1).flatten(1).unflatten(1, (tokens, width)).transpose(0, 1)

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.blocks * self.block * (self.block + self.blocks)


class UniMixerLayer(TokenLayer):
    """Two streams (T, R, D) → the next two."""

    def __init__(self, spec: UniMixerSpec) -> None:
        super().__init__()
        width = spec.token_width
        self.in_norm, self.mix_norm, self.out_norm = (TokenNorm(width) for _ in range(3))
        self.mix = UniMixing(spec)
        self.swiglu = TokenSwiGLU(spec.tokens, width, spec.expansion * width, dropout=spec.dropout)

    def forward(self, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """(T, R, D), (T, R, D) → the same shapes."""
        U = X + self.in_norm(Y)
        out = self.swiglu(self.mix_norm(U + self.mix(U)))
        return self.out_norm(X + out), Y + out

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.mix.macs() + self.swiglu.macs()


class UniMixer(TokenModel):
    """Batch → (R,) logits."""

    def __init__(self, spec: UniMixerSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__(spec, schema, sparse=sparse)
        self.layers.extend(UniMixerLayer(spec) for _ in range(spec.layers))
        self.norm = TokenNorm(spec.token_width)

    def mixed(self, X: Tensor) -> Tensor:
        """(T, R, D) tokens → (T, R, D): both streams through all layers, then their sum."""
        Y = X
        for layer in self.layers:
            X, Y = layer(X, Y)
        return X + self.norm(Y)
