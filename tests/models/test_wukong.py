"""Wukong against an explicit per-example re-implementation in NumPy, loops and all."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wukongctl.config.model import WukongSpec
from wukongctl.data.schema import Batch, Schema, SequenceColumn
from wukongctl.models import build
from wukongctl.models.wukong import Wukong, WukongLayer

Array = NDArray[np.float64]
PROJECTIONS = ["none", "static", "attentive"]


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


def reference_mlp(weights: list[tuple[Array, Array]], x: Array) -> Array:
    """Hidden layers with ReLU, then one linear layer."""
    for index, (weight, bias) in enumerate(weights):
        out = np.zeros(weight.shape[0])
        for row in range(weight.shape[0]):
            out[row] = sum(weight[row, column] * x[column] for column in range(len(x))) + bias[row]
        x = np.maximum(out, 0) if index < len(weights) - 1 else out
    return x


def reference_layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def linears(mlp: torch.nn.Module) -> list[tuple[Array, Array]]:
    return [(array(m.weight), array(m.bias)) for m in mlp.modules() if isinstance(m, torch.nn.Linear)]


def reference_layer(layer: WukongLayer, X: Array) -> Array:
    """X_{i+1} = LN(concat(FMB(X), LCB(X)) + residual), written out for one example."""
    n, d = X.shape
    if layer.attention is not None:
        compressed = array(layer.attention.compress) @ X
        Y = reference_mlp(linears(layer.attention.mlp), compressed.reshape(-1)).reshape(n, -1)
    elif layer.projection is not None:
        Y = array(layer.projection).T
    else:
        Y = np.eye(n)
    pairs = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            pairs[i, j] = sum(X[i, c] * X[j, c] for c in range(d))
    interactions = (pairs @ Y).reshape(-1)
    norm = layer.fm_norm
    made = reference_mlp(
        linears(layer.mlp), reference_layer_norm(interactions, array(norm.weight), array(norm.bias))
    )
    rows = np.concatenate([made.reshape(layer.n_F, d), array(layer.lcb) @ X])
    rows = rows + (X if layer.residual is None else array(layer.residual) @ X)
    weight, bias = array(layer.norm.weight), array(layer.norm.bias)
    return np.stack([reference_layer_norm(row, weight, bias) for row in rows])


def make_layer(projection: str, *, n: int = 5) -> WukongLayer:
    torch.manual_seed(0)
    layer = WukongLayer(
        n,
        6,
        n_F=3,
        n_L=2,
        k=4,
        projection=projection,
        attention_rows=3,
        attention_hidden=(7,),
        hidden=(8, 9),
        dropout=0.0,
        bias=True,
    )
    for parameter in layer.parameters():  # biases and norms away from their neutral start
        torch.nn.init.normal_(parameter, std=0.4)
    return layer


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("n", [5, 7], ids=["identity residual", "compressed residual"])
def test_a_layer_equals_its_equations(projection: str, n: int) -> None:
    layer = make_layer(projection, n=n).double()
    assert (layer.residual is None) == (n == 5)
    X = torch.randn(4, n, 6, dtype=torch.float64)
    expected = np.stack([reference_layer(layer, array(example)) for example in X])
    np.testing.assert_allclose(array(layer(X)), expected, atol=1e-10)
    np.testing.assert_allclose(array(layer.float()(X.float())), expected, atol=1e-5)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_gradients_of_a_layer(projection: str) -> None:
    layer = make_layer(projection).double()
    X = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (X,))


SCHEMA = Schema(("a", "b"), ("x", "y"), (SequenceColumn("s", 2, 3), SequenceColumn("t", 0, 2)), (5, 4, 6))


def make_model(**changes: object) -> Wukong:
    torch.manual_seed(1)
    keys = {"name": "wukong", "width": 6, "n_F": 3, "n_L": 2, "k": 3, "hidden": (8,), "head": (5,)}
    spec = WukongSpec.from_dict({**keys, "bottom": (4,), **changes})
    model = build(spec, SCHEMA, sparse=False)
    assert isinstance(model, Wukong)
    return model


def make_batch(rows: int = 9) -> Batch:
    torch.manual_seed(2)
    highs = (5, 4, 6, 6, 6, 5, 5)
    ids = torch.stack([torch.randint(0, high, (rows,)) for high in highs], dim=1).int()
    return Batch(ids, torch.randn(rows, 2), torch.randint(0, 2, (rows,)).float())


def test_the_whole_model_is_embeddings_layers_and_head() -> None:
    model, batch = make_model(dense_embeddings=2).double(), make_batch()
    table = array(model.embeddings.table.weight)
    logits = []
    for ids, dense in zip(batch.ids.numpy(), batch.dense.double().numpy(), strict=True):
        rows = [table[ids[0]], table[5 + ids[1]]]
        for values, offset in ((ids[2:5], 9), (ids[5:7], 0)):
            used = [table[offset + value] for value in values if value > 0]
            rows.append(np.mean(used, axis=0) if used else np.zeros(6))
        assert model.bottom is not None
        X = np.concatenate([np.stack(rows), reference_mlp(linears(model.bottom), dense).reshape(2, 6)])
        for layer in model.layers:
            assert isinstance(layer, WukongLayer)
            X = reference_layer(layer, X)
        logits.append(reference_mlp(linears(model.head), X.reshape(-1))[0])
    output = model(batch._replace(dense=batch.dense.double()))
    np.testing.assert_allclose(array(output), logits, atol=1e-10)


def test_padding_changes_nothing_and_the_batch_order_is_free() -> None:
    model, batch = make_model(), make_batch()
    moved = batch.ids.clone()
    moved[:, 2:5] = moved[:, 2:5].roll(1, dims=1)  # a sequence is a set for the mean
    torch.testing.assert_close(model(batch._replace(ids=moved)), model(batch))
    order = torch.randperm(len(batch.labels))
    shuffled = Batch(batch.ids[order], batch.dense[order], batch.labels[order])
    torch.testing.assert_close(model(shuffled), model(batch)[order])


def test_it_exports() -> None:
    model, batch = make_model(projection="attentive").eval(), make_batch()
    program = torch.export.export(model, (batch,))
    torch.testing.assert_close(program.module()(batch), model(batch))


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_signal_keeps_its_scale_through_a_new_stack(projection: str) -> None:
    """Initialization must neither starve nor drown deep layers: logits start near unit size."""
    model = make_model(projection=projection, layers=6, width=16, n_F=8, n_L=8, hidden=(64, 64), head=(64,))
    logits = model(make_batch(512))
    assert 0.1 < logits.std().item() < 10
