import numpy as np
import pytest
import torch

from tests.models.oracle import Array, array, assert_logits, dot, examples, fields, linear, mlp
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.models.dcnv2 import CrossNet, DCNv2


def reference_cross(cross: CrossNet, x0: Array) -> Array:
    """x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, with W_l = U_l V_lᵀ multiplied out if low-rank."""
    x = x0
    for layer in cross.layers:
        if isinstance(layer, torch.nn.Linear):
            mapped = linear(layer, x)
        else:
            down, up = layer
            W = np.array([[dot(u, v) for v in array(down.weight).T] for u in array(up.weight)])
            mapped = np.array([dot(row, x) for row in W]) + array(up.bias)
        x = np.array([first * value + last for first, value, last in zip(x0, mapped, x, strict=True)])
    return x


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name.startswith("dcnv2")])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, DCNv2)
    expected = []
    for ids, dense in examples(make_batch()):
        x0 = fields(model.embeddings, ids, dense).reshape(-1)
        crossed = reference_cross(model.cross, x0)
        match model.structure:
            case "cross":
                out = crossed
            case "stacked":
                assert model.mlp is not None
                out = mlp(model.mlp, crossed)
            case "parallel":
                assert model.mlp is not None
                out = np.concatenate([crossed, mlp(model.mlp, x0)])
        expected.append(mlp(model.output, out)[0])
    assert_logits(model, expected)


@pytest.mark.parametrize("rank", [None, 2], ids=["full", "low rank"])
def test_gradients_of_the_cross_network(rank: int | None) -> None:
    torch.manual_seed(0)
    cross = CrossNet(5, layers=3, rank=rank).double()
    assert torch.autograd.gradcheck(cross, (torch.randn(3, 5, dtype=torch.float64, requires_grad=True),))
