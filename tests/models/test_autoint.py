import numpy as np
import pytest
import torch

from tests.models.oracle import (
    Array,
    array,
    assert_logits,
    dot,
    examples,
    fields,
    layer_norm,
    linear,
    matrix,
    mlp,
    relu,
)
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.config.model import AutoIntSpec
from wukongctl.models.autoint import AttentionLayer, AutoInt, FlatMLP


def per_row(part: torch.nn.Module, X: Array) -> Array:
    if isinstance(part, FlatMLP):
        return mlp(part.mlp, X.reshape(-1)).reshape(len(X), -1)
    return np.stack([linear(part, row) for row in X])


def reference_layer(layer: AttentionLayer, X: Array) -> Array:
    Q, K, V = per_row(layer.query, X), per_row(layer.key, X), per_row(layer.value, X)
    size = layer.width // layer.heads
    out = np.zeros((len(X), layer.width))
    for head in range(layer.heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(X)):
            scores = [dot(Q[i, part], K[j, part]) * layer.scale for j in range(len(X))]
            shares = np.exp(scores) / sum(np.exp(scores))
            for j in range(len(X)):
                out[i, part] += shares[j] * V[j, part]
    if layer.after is not None:
        out = per_row(layer.after, out)
    if isinstance(layer.residual, torch.nn.Linear):
        out = out + per_row(layer.residual, X)
    elif layer.residual is not None:
        out = out + X
    if isinstance(layer.norm, torch.nn.LayerNorm):
        out = np.stack([layer_norm(layer.norm, row) for row in out])
    return np.stack([relu(row) for row in out])


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name.startswith("autoint")])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, AutoInt)
    expected = []
    for ids, dense in examples(make_batch()):
        X, logit = fields(model.embeddings, ids, dense), 0.0
        if model.linear_term:
            logit += sum(X[:, -1])
            X = X[:, :-1]
        e = X.reshape(-1)
        if model.mlp is not None:
            logit += mlp(model.mlp, e)[0]
        for index, layer in enumerate(model.layers):
            assert isinstance(layer, AttentionLayer)
            X = reference_layer(layer, X)
            if index == 0 and model.compress is not None:
                X = matrix(model.compress, X)
        attended = np.concatenate([X.reshape(-1), e]) if model.stacked else X.reshape(-1)
        expected.append(logit + mlp(model.output, attended)[0])
    assert_logits(model, expected)


def test_scores_are_scaled_by_the_width_of_a_head() -> None:
    model = make({"name": "autoint", "attention_width": 8, "heads": 2, "hidden": None})
    layer = next(module for module in model.modules() if isinstance(module, AttentionLayer))
    assert layer.scale == 4**-0.5


@pytest.mark.parametrize("flat", [None, (3,)], ids=["linear", "flat MLPs"])
def test_gradients_of_a_layer(flat: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    spec = AutoIntSpec(
        name="autoint", attention_width=6, layer_norm=True, value_hidden=flat, layer_hidden=flat
    )
    layer = AttentionLayer(spec, 3, 4).double()
    assert torch.autograd.gradcheck(layer, (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),))


def test_pyramid_saves_most_of_the_compute() -> None:
    """Table 4: both MLP changes and the pyramid cost less than plain AutoInt+ with the same attention."""
    keys = {"name": "autoint", "attention_width": 8, "hidden": [8], "value_hidden": [7], "layer_hidden": [9]}
    narrow, wide = make({**keys, "pyramid": 2}), make(keys)
    assert array(narrow(make_batch())).shape == (9,)
    assert narrow.macs()["layers.1"] < 0.5 * wide.macs()["layers.1"]
    assert narrow.macs()["compress"] == 2 * 6 * 8
