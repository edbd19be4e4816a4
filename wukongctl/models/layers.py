"""Layers that several models share. Shapes: B batch, N embeddings, D width."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Hidden layers Linear → (BatchNorm) → ReLU → (Dropout), then one plain Linear.

    (B, inputs) → (B, outputs). "N x H" in the paper's tables is N hidden layers of width H plus this
    output layer.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.widths = (inputs, *hidden, outputs)
        steps: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(self.widths[:-1]):
            steps.append(_linear(fan_in, fan_out, gain=2.0, bias=bias))
            if batch_norm:
                steps.append(nn.BatchNorm1d(fan_out))
            steps.append(nn.ReLU())
            if dropout > 0:
                steps.append(nn.Dropout(dropout))
        steps.append(_linear(self.widths[-2], outputs, gain=1.0, bias=bias))
        self.steps = nn.Sequential(*steps)

    def forward(self, X: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        return self.steps(X)

    def macs(self) -> int:
        """Multiply-accumulates per example; biases and activations are not counted."""
        return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(self.widths))


def _linear(fan_in: int, fan_out: int, *, gain: float, bias: bool) -> nn.Linear:
    """He initialization before a ReLU (gain 2), variance-preserving before none (gain 1)."""
    linear = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.normal_(linear.weight, std=(gain / fan_in) ** 0.5)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
