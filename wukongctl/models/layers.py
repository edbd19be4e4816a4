"""Layers that several models share. Shapes: B batch, N embeddings, D width."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Hidden layers Linear → (BatchNorm) → ReLU → (Dropout), then one plain Linear.

    (B, inputs) → (B, outputs). "N x H" in the paper's tables is N hidden layers of width H plus this
    output layer; `outputs=None` leaves it out, and the last hidden layer is the result.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int | None,
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden_widths = (inputs, *hidden)
        steps: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(hidden_widths):
            steps.append(linear(fan_in, fan_out, gain=2.0, bias=bias))
            if batch_norm:
                steps.append(nn.BatchNorm1d(fan_out))
            steps.append(nn.ReLU())
            if dropout > 0:
                steps.append(Dropout(dropout))
        if outputs is not None:
            steps.append(linear(hidden_widths[-1], outputs, bias=bias))
        self.widths = hidden_widths if outputs is None else (*hidden_widths, outputs)
        self.steps = nn.Sequential(*steps)

    def forward(self, X: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        return self.steps(X)

    def macs(self) -> int:
        """Multiply-accumulates per example; biases and activations are not counted."""
        return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(self.widths))


class Dropout(nn.Module):
    """Zeroes each value with probability `p` and scales the others by 1 / (1 - p), while training.

    On CPU `nn.Dropout` draws a random number for every value, which takes longer than the matrix products
    around it. Here one draw of 64 bits decides four values, so `p` is rounded to 2^-16.
    """

    LEVELS = 1 << 16

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.threshold = round(p * self.LEVELS)

    def forward(self, X: Tensor) -> Tensor:
        """Any shape → the same shape."""
        if not self.training or self.threshold == 0:
            return X
        if X.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(X, self.p)  # one fused kernel there
        draws = torch.empty(-(-X.numel() // 4), dtype=torch.int64, device=X.device)
        levels = draws.random_(-(2**63), None).view(torch.int16)[: X.numel()].view(X.shape)
        kept = levels >= self.threshold - self.LEVELS // 2
        return X * kept * (self.LEVELS / (self.LEVELS - self.threshold))


class Linear(nn.Linear):
    """A linear layer with a fast weight gradient in bfloat16 on CPU.

    Gᵀ X from G itself reaches 45 % of the peak of AMX, from a transposed copy of G all of it.
    """

    BLOCK = 32
    SMALLEST = 1 << 20
    """Fewer weights gain nothing: the copy takes longer than it saves."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in nn.Linear
        """(…, inputs) → (…, outputs)."""
        if self._is_slow(input):
            return _CopiedGradient.apply(input, self.weight, self.bias)
        return super().forward(input)

    def _is_slow(self, X: Tensor) -> bool:
        if X.device.type != "cpu" or torch.compiler.is_compiling() or not torch.is_autocast_enabled("cpu"):
            return False
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        return learns and X.dim() == 2 and self.weight.numel() >= self.SMALLEST


class _CopiedGradient(torch.autograd.Function):
    """X Wᵀ + b under autocast; the backward pass transposes the gradient before multiplying."""

    @staticmethod
    def forward(ctx: Any, X: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
        X, W = for_products(X), for_products(W)
        ctx.save_for_backward(X, W)
        return functional.linear(X, W, None if b is None else for_products(b))

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:  # type: ignore[override]
        X, W = ctx.saved_tensors
        wants_input, _, wants_bias = ctx.needs_input_grad
        # Block by block: `G.t().contiguous()` takes twice as long.
        Gt = torch.cat([block.t() for block in G.split(Linear.BLOCK)], dim=1)
        return G @ W if wants_input else None, Gt @ X, G.sum(0) if wants_bias else None


class Logit(nn.Linear):
    """A linear layer with one output, computed in the precision of its weights.

    Logits rounded to bfloat16 would tie, which changes AUC; one column saves no time.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in nn.Linear
        """(…, inputs) → (…, 1)."""
        if not torch.amp.is_autocast_available(input.device.type):  # the meta device
            return super().forward(input)
        X = input.to(self.weight.dtype)
        if torch.compiler.is_compiling() and torch.is_autocast_enabled(input.device.type):
            # torch does not cache a graph that switches autocast.
            product = (X * self.weight).sum(-1, keepdim=True)
            return product if self.bias is None else product + self.bias
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(X)


def linear(fan_in: int, fan_out: int, *, gain: float = 1.0, bias: bool = True) -> nn.Linear:
    """He initialization before a ReLU (gain 2), variance-preserving before none (gain 1)."""
    layer = (Logit if fan_out == 1 else Linear)(fan_in, fan_out, bias=bias)
    nn.init.normal_(layer.weight, std=(gain / fan_in) ** 0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def logit_weights(module: nn.Module) -> list[Tensor]:
    """The weights of every `Logit` in a module."""
    return [each.weight for each in module.modules() if isinstance(each, Logit)]


def for_products(X: Tensor) -> Tensor:
    """X in the precision of autocast's products; unchanged without autocast.

    Converted once here, not by every product; and element-wise operations on mixed precisions take several
    times as long.
    """
    device = X.device.type
    if device == "meta":
        dtype = _PRODUCTS_ON_META.get()
        return X if dtype is None else X.to(dtype)
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return X
    return X.to(torch.get_autocast_dtype(device))


_PRODUCTS_ON_META: ContextVar[torch.dtype | None] = ContextVar("products_on_meta", default=None)


@contextmanager
def products_on_meta(dtype: torch.dtype) -> Iterator[None]:
    """The precision of `for_products` on the meta device, which has no autocast to ask; to count memory."""
    token = _PRODUCTS_ON_META.set(dtype)
    try:
        yield
    finally:
        _PRODUCTS_ON_META.reset(token)


def row_weights(rows: int, n: int) -> nn.Parameter:
    """(rows, N) weights that mix embeddings; variance 1/N keeps the scale of their rows."""
    return nn.Parameter(torch.randn(rows, n) * n**-0.5)


def mix_rows(weights: Tensor, X: Tensor) -> Tensor:
    """(rows, N) weights times each example of (B, N, D) → (B, rows, D).

    Not `weights @ X`, which copies X twice for one large product and takes up to five times as long. For a
    single embedding, though, einsum makes no product, and counters of products would miss it.
    """
    if X.shape[1] == 1:
        return weights @ X
    return torch.einsum("on,bnd->bod", weights, X)
