"""RankMixer, dense (Zhu et al. 2025, arXiv 2507.15551): tokens exchange slices, then pass their own network.

    S        = LN(mix(X) + X)                        mix: slice t of every token becomes token t
    layer(X) = LN(FFN(S) + S)                        FFN_t(s) = W2_t GELU(W1_t s + b1_t) + b2_t
    logit    = MLP(mean over tokens)

From the paper, as published reviews of it report: equal slices of the concatenated embeddings as tokens,
each with its own projection; as many heads as tokens; LayerNorm after both residual connections; a network
for each token, `expansion` times as wide in between; the mean. Ours: the dataset's order of features where
the paper groups them by meaning (`models.tokens`), one scale and shift of a LayerNorm for all tokens,
dropout on the hidden layer of the networks, and the MLP head, of which the paper gives no sizes. Left out:
the sparse mixture of experts.

Shapes: B batch, T tokens, D their width, F = `expansion` D. Tokens come first: (T, B, D).
"""

from torch import Tensor, nn
from torch.nn import functional

from wukongctl.config.mixers import RankMixerSpec
from wukongctl.data.schema import Schema
from wukongctl.models.layers import Dropout
from wukongctl.models.tokens import TokenLayer, TokenLinear, TokenModel, mix_heads


class TokenFFN(nn.Module):
    """A network with one hidden layer for each token: (T, B, D) → (T, B, D)."""

    def __init__(self, tokens: int, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = TokenLinear(tokens, width, hidden, gain=2.0)
        self.dropout = Dropout(dropout)
        self.second = TokenLinear(tokens, hidden, width)

    def forward(self, X: Tensor) -> Tensor:
        """(T, B, D) → (T, B, D)."""
        hidden = functional.gelu(self.first(X))  # (T, B, F)
        return self.second(self.dropout(hidden))

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.first.macs() + self.second.macs()


class RankMixerLayer(TokenLayer):
    """(T, B, D) → (T, B, D)."""

    def __init__(self, spec: RankMixerSpec) -> None:
        super().__init__()
        width = spec.token_width
        self.tokens = spec.tokens
        self.mix_norm = nn.LayerNorm(width)
        self.ffn = TokenFFN(spec.tokens, width, spec.expansion * width, dropout=spec.dropout)
        self.ffn_norm = nn.LayerNorm(width)

    def forward(self, X: Tensor) -> Tensor:
        """(T, B, D) → (T, B, D)."""
        S = self.mix_norm(mix_heads(X, self.tokens) + X)
        return self.ffn_norm(self.ffn(S) + S)

    def macs(self) -> int:
        """Multiply-accumulates per example; mixing only moves numbers."""
        return self.ffn.macs()


class RankMixer(TokenModel):
    """Batch → (B,) logits."""

    def __init__(self, spec: RankMixerSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__(spec, schema, sparse=sparse)
        self.layers.extend(RankMixerLayer(spec) for _ in range(spec.layers))
