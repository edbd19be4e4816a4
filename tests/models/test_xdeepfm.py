import numpy as np
import pytest
import torch

from tests.models.oracle import Array, array, assert_logits, examples, fields, mlp
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.models.xdeepfm import CIN, XDeepFM


def reference_cin(cin: CIN, X0: Array) -> float:
    """X^k_h = Σ_{i,j} W^k_{h,ij} (X^0_i * X^{k-1}_j) + b^k_h; every row summed, then one linear layer."""
    n, d = X0.shape
    X, sums = X0, []
    for layer in cin.layers:
        weight, bias = array(layer.weight), array(layer.bias)
        made = np.zeros((len(weight), d))
        for h in range(len(weight)):
            for i in range(n):
                for j in range(len(X)):
                    for c in range(d):
                        made[h, c] += weight[h, i * len(X) + j] * X0[i, c] * X[j, c]
            made[h] += bias[h]
        X = made
        sums += [float(sum(row)) for row in X]
    return mlp(cin.output, np.array(sums))[0]


@pytest.mark.parametrize("name", ["xdeepfm", "xdeepfm-no-mlp"])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, XDeepFM)
    assert (model.mlp is None) == (name == "xdeepfm-no-mlp")
    expected = []
    for ids, dense in examples(make_batch()):
        rows = fields(model.embeddings, ids, dense)
        X, logit = rows[:, :-1], sum(rows[:, -1])
        logit += reference_cin(model.cin, X)
        if model.mlp is not None:
            logit += mlp(model.mlp, X.reshape(-1))[0]
        expected.append(logit)
    assert_logits(model, expected)


def test_gradients_of_the_compressed_interaction_network() -> None:
    torch.manual_seed(0)
    cin = CIN(4, 3, (3, 2)).double()
    assert torch.autograd.gradcheck(cin, (torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True),))
