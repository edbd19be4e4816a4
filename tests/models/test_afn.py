import numpy as np
import pytest
import torch

from tests.models.oracle import Array, array, assert_logits, batch_norm, examples, fields, mlp
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.models.afn import AFN, LogarithmicLayer


def reference_logarithmic(layer: LogarithmicLayer, X: Array) -> Array:
    """BN(exp(Σ_i w_hi BN(ln max(|x_i|, 1e-5)))), number by number."""
    weight = array(layer.powers.weight)
    out = np.zeros((len(weight), X.shape[1]))
    for h in range(len(weight)):
        for c in range(X.shape[1]):
            power = 0.0
            for i in range(len(X)):
                power += weight[h, i] * batch_norm(layer.log_norm, i, np.log(max(abs(X[i, c]), 1e-5)))
            out[h, c] = batch_norm(layer.exp_norm, h, np.exp(power))
    return out


@pytest.mark.parametrize("name", ["afn", "afn-plus", "afn-plus-shared"])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, AFN)
    expected = []
    for ids, dense in examples(make_batch()):
        X = fields(model.embeddings, ids, dense)
        logit = mlp(model.afn, reference_logarithmic(model.logarithmic, X[:, :6]).T.reshape(-1))
        if model.mlp is not None:
            assert X.shape[1] == (6 if name == "afn-plus-shared" else 12)
            own = X[:, -6:].reshape(-1)
            logit = mlp(model.output, np.concatenate([logit, mlp(model.mlp, own)]))
        expected.append(logit[0])
    assert_logits(model, expected)


def test_a_neuron_is_a_product_of_powers() -> None:
    layer = LogarithmicLayer(3, 1, 1).eval()  # a new BatchNorm in evaluation mode is the identity
    torch.nn.init.zeros_(layer.powers.weight)
    layer.powers.weight.data[0] = torch.tensor([1.0, 2.0, -1.0])
    out = layer(torch.tensor([[[3.0], [-2.0], [4.0]]]))
    assert out.item() == pytest.approx(3 * 2**2 / 4, rel=1e-4)


def test_a_neuron_is_normalized_over_examples_and_width() -> None:
    torch.manual_seed(0)
    layer = LogarithmicLayer(3, 4, 2)
    out = layer(torch.rand(5, 3, 4) + 0.5).detach()
    assert out.shape == (5, 4, 2)
    assert out.mean(dim=(0, 1)).numpy() == pytest.approx(np.zeros(2), abs=1e-5)
    assert out.var(dim=(0, 1), correction=0).numpy() == pytest.approx(np.ones(2), abs=1e-2)


def test_gradients_of_the_logarithmic_layer() -> None:
    torch.manual_seed(0)
    layer = LogarithmicLayer(3, 2, 4).double()
    X = torch.rand(4, 3, 2, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(layer.eval(), (X.requires_grad_(),))
