"""Dropout against what its definition says: rates, scale, seeds; and nothing outside training."""

import pytest
import torch
from torch import nn

from wukongctl.models.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1001, 37), (64, 10, 9)])
def test_zeroes_a_share_p_and_keeps_the_mean(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    X = torch.ones(shape)
    dropped = Dropout(p).train()(X)
    n = X.numel()
    share = (dropped == 0).double().mean().item()
    assert abs(share - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-4)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(400_000)) != 0).double()
    for lag in (1, 2, 3, 4, 5):  # four values share one draw
        correlation = torch.corrcoef(torch.stack([kept[:-lag], kept[lag:]]))[0, 1].item()
        assert abs(correlation) < 5 / 400_000**0.5


def test_the_gradient_passes_where_the_value_did() -> None:
    X = torch.ones(50, 50, requires_grad=True)
    dropped = Dropout(0.3).train()(X)
    dropped.sum().backward()
    assert X.grad is not None
    assert torch.equal(X.grad, dropped.detach())


def test_the_same_seed_drops_the_same_values() -> None:
    layer, X = Dropout(0.4).train(), torch.randn(33, 7)
    torch.manual_seed(3)
    first = layer(X)
    again = layer(X)
    torch.manual_seed(3)
    assert torch.equal(layer(X), first)
    assert not torch.equal(first, again)


@pytest.mark.parametrize("layer", [Dropout(0.4).eval(), Dropout(0.0).train()])
def test_otherwise_nothing_happens(layer: nn.Module) -> None:
    X = torch.randn(5, 3)
    assert layer(X) is X
