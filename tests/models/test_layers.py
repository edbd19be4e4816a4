"""Dropout against what its definition says: rates, scale, seeds; and nothing outside training. Linear maps
against torch's own."""

import pytest
import torch
from torch import nn

from wukongctl.models.layers import Dropout, Linear


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1001, 37), (64, 10, 9)])
def test_dropout_zeroes_a_fraction_p_and_keeps_the_mean(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    X = torch.ones(shape)
    dropped = Dropout(p).train()(X)
    n = X.numel()
    share = (dropped == 0).double().mean().item()
    assert abs(share - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-4)


def test_dropout_of_neighbors_is_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(400_000)) != 0).double()
    for lag in (1, 2, 3, 4, 5):  # four values share one draw
        correlation = torch.corrcoef(torch.stack([kept[:-lag], kept[lag:]]))[0, 1].item()
        assert abs(correlation) < 5 / 400_000**0.5


def test_dropout_gradient_has_the_mask_of_the_values() -> None:
    X = torch.ones(50, 50, requires_grad=True)
    dropped = Dropout(0.3).train()(X)
    dropped.sum().backward()
    assert X.grad is not None
    assert torch.equal(X.grad, dropped.detach())


def test_same_seed_drops_the_same_values() -> None:
    layer, X = Dropout(0.4).train(), torch.randn(33, 7)
    torch.manual_seed(3)
    first = layer(X)
    again = layer(X)
    torch.manual_seed(3)
    assert torch.equal(layer(X), first)
    assert not torch.equal(first, again)


@pytest.mark.parametrize("layer", [Dropout(0.4).eval(), Dropout(0.0).train()])
def test_dropout_is_the_identity_outside_training(layer: nn.Module) -> None:
    X = torch.randn(5, 3)
    assert layer(X) is X


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 31, 96])
def test_a_copied_gradient_is_that_of_torch(rows: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, up to the order of sums; narrow layers take the path of wide ones here."""
    monkeypatch.setattr(Linear, "SMALLEST", 1)
    torch.manual_seed(0)
    ours, plain = Linear(40, 24, bias=bias), nn.Linear(40, 24, bias=bias)
    plain.load_state_dict(ours.state_dict())
    X = torch.randn(rows, 40)
    found = []
    for layer in (ours, plain):
        given = X.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(given)
        output.float().square().sum().backward()
        found.append([output, given.grad, *(weight.grad for weight in layer.parameters())])
    assert type(found[0][0].grad_fn).__name__ == "_CopiedGradientBackward"
    for mine, theirs in zip(*found, strict=True):
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2 * theirs.abs().max().item())


def test_only_wide_layers_under_autocast_copy_their_gradient() -> None:
    X = torch.randn(4, 1024)
    wide = Linear(1024, 1024)
    with torch.autocast("cpu", torch.bfloat16):
        assert type(wide(X).grad_fn).__name__ == "_CopiedGradientBackward"
        assert type(Linear(1024, 8)(X).grad_fn).__name__ != "_CopiedGradientBackward"
        with torch.no_grad():
            assert wide(X).grad_fn is None
    assert type(wide(X).grad_fn).__name__ != "_CopiedGradientBackward"
