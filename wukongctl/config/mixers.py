"""Sections of the models that mix tokens: RankMixer, TokenMixer-Large and UniMixing-Lite."""

from collections.abc import Iterator
from typing import Literal

from wukongctl.config.dimensions import HIDDEN, LAYERS, WIDTHS, Space, Steps
from wukongctl.config.model_section import DeepFieldsSpec, Depth, Size, Widths
from wukongctl.config.spec import Mistake, PositiveFloat


class TokensSpec(DeepFieldsSpec):
    """What the models that mix tokens have in common."""

    tokens: Size = 8
    """Number of tokens T: equal slices of the concatenated embeddings, each mapped to `token_width` numbers.
    The last slice is filled up with zeros."""
    token_width: Size = 64
    """Width D of a token."""
    layers: Depth = 2
    """Number of layers."""
    expansion: Size = 4
    """Width of the hidden layer of each per-token network, relative to its input."""
    head: Widths = ()
    """Hidden layers of the MLP on the mean of the tokens."""

    def _space(self, step: int) -> Space:
        """Depth and sizes, token widths in multiples of `step`."""
        widths = sorted({step * max(1, round(width / step)) for width in (32, *WIDTHS.values[:2])})
        sizes: Space = {"token_width": Steps(tuple(widths)), "expansion": Steps((1, 2, 4))}
        return {"layers": LAYERS} | sizes | {"head": HIDDEN}


class RankMixerSpec(TokensSpec):
    """RankMixer (arXiv 2507.15551), dense: tokens exchange slices, then each passes its own network."""

    name: Literal["rankmixer"]

    def search_space(self) -> Space:
        """Depth and sizes."""
        return self._space(self.tokens)

    def _mistakes(self) -> Iterator[Mistake]:
        if self.token_width % self.tokens:
            what = f"`tokens` {self.tokens} does not divide `token_width` {self.token_width}"
            yield Mistake(what, ("tokens",), others=(("token_width",),))


class TokenMixerLargeSpec(TokensSpec):
    """TokenMixer-Large (arXiv 2602.06563), dense: each layer mixes tokens and puts them back."""

    name: Literal["tokenmixer_large"]
    expansion: Size = 2
    """Width of the hidden layer of each per-token SwiGLU, relative to its input."""
    heads: Size | None = None
    """Slices of a token, which is the number of mixed tokens; must divide `token_width`. `tokens` when
    omitted."""
    global_token: bool = True
    """Whether the first of the `tokens` reads all embeddings instead of a slice."""
    interval: Size | None = 2
    """Layers between the two ends of an additional residual connection, never to the last layer; null for
    none."""

    @property
    def mixed_tokens(self) -> int:
        """Number of mixed tokens H."""
        return self.heads or self.tokens

    def search_space(self) -> Space:
        """Depth and sizes."""
        return self._space(self.mixed_tokens)

    def _mistakes(self) -> Iterator[Mistake]:
        if self.token_width % self.mixed_tokens:
            key = "tokens" if self.heads is None else "heads"
            what = f"`{key}` {self.mixed_tokens} does not divide `token_width` {self.token_width}"
            yield Mistake(what, (key,), others=(("token_width",),))
        if self.global_token and self.tokens == 1:
            what = "`global_token` needs at least 2 `tokens`: itself, and one that reads a slice"
            yield Mistake(what, ("tokens",), others=(("global_token",),))


class UniMixerSpec(TokensSpec):
    """UniMixing-Lite of UniMixer (arXiv 2604.00590), dense: how tokens mix is learned."""

    name: Literal["unimixer"]
    expansion: Size = 2
    """Width of the hidden layer of each per-token SwiGLU, relative to its input."""
    block: Size = 8
    """Width B of the blocks that are mixed; must divide `tokens` times `token_width`."""
    basis: Size = 4
    """Number b of matrices of which the local mixing matrix of every block is composed."""
    rank: Size = 16
    """Rank r of the global mixing matrix before its normalization."""
    temperature: PositiveFloat = 0.2
    """Temperature of both mixing matrices: lower is closer to a permutation."""
    sinkhorn: Size = 20
    """Iterations of Sinkhorn and Knopp, which make the rows and columns of a mixing matrix sum to one."""

    def search_space(self) -> Space:
        """Depth and sizes, basis and rank."""
        return self._space(self.block) | {"basis": Steps((2, 4, 8)), "rank": Steps((4, 16, 64))}

    def _mistakes(self) -> Iterator[Mistake]:
        total = self.tokens * self.token_width
        if total % self.block:
            what = f"`block` {self.block} does not divide `tokens` times `token_width`, {total}"
            yield Mistake(what, ("block",), others=(("tokens",), ("token_width",)))
