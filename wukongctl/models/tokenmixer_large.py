"""TokenMixer-Large, dense (Jiang et al. 2026, arXiv 2602.06563): layers mix tokens and put them back.

    H        = mix(X)                                (T, D) → (H, T D / H)
    H'       = H + swiglu(RMSNorm(H))                a SwiGLU for each mixed token
    layer(X) = X + swiglu(RMSNorm(revert(H')))       revert: the inverse of mix; a SwiGLU for each token
    logit    = MLP(mean over tokens of RMSNorm(X))

From the paper, as published reviews of it report: mixing and reverting, so that the residual connection
joins the same token before and after; per-token SwiGLU with biases; RMSNorm, and before instead of after;
down weights that start at a hundredth of the usual scale; a global token that reads all features; residual
connections over two or three layers (`interval`), not to the last layer. The paper's equations have the
norm around the sum, its section on normalization before the SwiGLU; this follows the section.

Ours: slices of the embeddings in the dataset's order instead of groups of features by meaning, each through
one linear layer where the paper has an MLP of unknown depth (`models.tokens`); between which layers the
additional residual connections run; the last RMSNorm, the mean and the MLP head. Left out: the sparse
mixture of experts, and the auxiliary loss on the logits of lower layers. Without that loss and the
additional residual connections together, the paper loses 0.04 % of AUC at 4 billion parameters.

Shapes: B batch, T tokens, D their width, H mixed tokens. Tokens come first: (T, B, D).
"""

from torch import Tensor, nn

from wukongctl.config.mixers import TokenMixerLargeSpec
from wukongctl.data.schema import Schema
from wukongctl.models.tokens import TokenLayer, TokenModel, TokenNorm, TokenSwiGLU, mix_heads

SMALL = 0.01
"""Scale of the initial down weights, from the paper."""


class TokenMixerLargeLayer(TokenLayer):
    """(T, B, D) → (T, B, D)."""

    def __init__(self, spec: TokenMixerLargeSpec) -> None:
        super().__init__()
        self.tokens, self.heads = spec.tokens, spec.mixed_tokens
        self.mixed = _Branch(self.heads, spec.tokens * spec.token_width // self.heads, spec)
        self.reverted = _Branch(spec.tokens, spec.token_width, spec)

    def forward(self, X: Tensor) -> Tensor:
        """(T, B, D) → (T, B, D)."""
        H = mix_heads(X, self.heads)  # (H, B, T D / H)
        H = H + self.mixed(H)
        return X + self.reverted(mix_heads(H, self.tokens))

    def macs(self) -> int:
        """Multiply-accumulates per example; mixing only moves numbers."""
        return self.mixed.swiglu.macs() + self.reverted.swiglu.macs()


class _Branch(nn.Module):
    """swiglu(RMSNorm(X)): (tokens, B, width) → the same shape."""

    def __init__(self, tokens: int, width: int, spec: TokenMixerLargeSpec) -> None:
        super().__init__()
        self.norm = TokenNorm(width)
        self.swiglu = TokenSwiGLU(tokens, width, spec.expansion * width, dropout=spec.dropout, small=SMALL)

    def forward(self, X: Tensor) -> Tensor:
        return self.swiglu(self.norm(X))


class TokenMixerLarge(TokenModel):
    """Batch → (B,) logits."""

    def __init__(self, spec: TokenMixerLargeSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__(spec, schema, global_token=spec.global_token, sparse=sparse)
        self.interval = spec.interval
        self.layers.extend(TokenMixerLargeLayer(spec) for _ in range(spec.layers))
        self.norm = TokenNorm(spec.token_width)

    def mixed(self, X: Tensor) -> Tensor:
        """(T, B, D) → (T, B, D): after every `interval` layers but the last, what entered them is added."""
        earlier = X
        for number, layer in enumerate(self.layers, start=1):
            X = layer(X)
            if self.interval and number % self.interval == 0 and number < len(self.layers):
                X = earlier = X + earlier
        return self.norm(X)
