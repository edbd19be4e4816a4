"""Wukong against a per-example reimplementation in NumPy with loops."""

import numpy as np
import pytest
import torch

from tests.models.oracle import Array, array, assert_logits, examples
from tests.models.zoo import make, make_batch
from wukongctl.config.wukong import WukongSpec
from wukongctl.errors import UsageError
from wukongctl.models.wukong import GroupEmbedding, Wukong, WukongLayer

PROJECTIONS = ["none", "static", "attentive"]


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
    parts = {
        "fmb": made.reshape(layer.n_F, d),
        "lcb": array(layer.lcb) @ X,
        "residual": X if layer.residual is None else array(layer.residual) @ X,
    }
    for name in layer.ablate:
        parts[name] = np.zeros_like(parts[name])
    rows = np.concatenate([parts["fmb"], parts["lcb"]]) + parts["residual"]
    weight, bias = array(layer.norm.weight), array(layer.norm.bias)
    return np.stack([reference_layer_norm(row, weight, bias) for row in rows])


def make_layer(projection: str, *, n: int = 5, ablate: tuple[str, ...] = ()) -> WukongLayer:
    torch.manual_seed(0)
    spec = WukongSpec.from_dict({
        "name": "wukong", "width": 6, "layers": 1, "n_F": 3, "n_L": 2, "k": 4, "hidden": (8, 9),
        "projection": projection, "attention": {"rows": 3, "hidden": (7,)}, "ablate": ablate,
    })  # fmt: skip
    layer = WukongLayer(spec, spec.layer_sizes[0], n)
    for parameter in layer.parameters():  # biases and norms away from their neutral values
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


@pytest.mark.parametrize("ablate", [("fmb",), ("lcb",), ("residual",), ("lcb", "residual")], ids="+".join)
@pytest.mark.parametrize("n", [5, 7], ids=["identity residual", "compressed residual"])
def test_ablated_parts_are_zeros_in_an_unchanged_layer(ablate: tuple[str, ...], n: int) -> None:
    whole, layer = make_layer("static", n=n).double(), make_layer("static", n=n, ablate=ablate).double()
    assert layer.macs() == whole.macs()
    layer.load_state_dict(whole.state_dict())
    X = torch.randn(4, n, 6, dtype=torch.float64)
    expected = np.stack([reference_layer(layer, array(example)) for example in X])
    np.testing.assert_allclose(array(layer(X)), expected, atol=1e-10)
    assert not torch.allclose(layer(X), whole(X), atol=0.01)


def make_model(**changes: object) -> Wukong:
    keys = {"name": "wukong", "n_F": 3, "n_L": 2, "k": 3, "hidden": [8], "head": [5], "bottom": [4]}
    model = make({**keys, **changes})
    assert isinstance(model, Wukong)
    return model


def pooled(table: Array, values: Array, offset: int) -> Array:
    used = [table[offset + value] for value in values if value > 0]
    return np.mean(used, axis=0) if used else np.zeros(table.shape[1])


def reference_logit(model: Wukong, rows: list[Array], dense: Array) -> float:
    """The embeddings of one example → bottom MLP, layers, head."""
    assert model.bottom is not None
    X = np.concatenate([np.stack(rows), reference_mlp(linears(model.bottom), dense).reshape(-1, 6)])
    for layer in model.layers:
        assert isinstance(layer, WukongLayer)
        X = reference_layer(layer, X)
    return reference_mlp(linears(model.head), X.reshape(-1))[0]


def test_the_whole_model_is_embeddings_layers_and_head() -> None:
    model = make_model(dense_embeddings=2).double()
    table = array(model.embeddings.table.weight)
    logits = []
    for ids, dense in examples(make_batch()):
        rows = [table[ids[0]], table[5 + ids[1]], pooled(table, ids[2:5], 9), pooled(table, ids[5:7], 0)]
        logits.append(reference_logit(model, rows, dense))
    assert_logits(model, logits)


def test_important_features_get_more_embeddings_and_groups_share_some() -> None:
    """`a` twice; `b` and `t`, of width 2, concatenated, through an MLP to 2 embeddings."""
    group = {"features": ["b", "t"], "width": 2, "hidden": [5], "embeddings": 2}
    model = make_model(embeddings_per_feature={"a": 2}, groups=[group]).double()
    table = array(model.embeddings.table.weight)
    assert table.shape == (5 + 6 + 5, 6)  # a, s, a again
    (narrow,) = model.groups
    assert isinstance(narrow, GroupEmbedding)
    small = array(narrow.ids.table.weight)
    assert small.shape == (4 + 5, 2)
    logits = []
    for ids, dense in examples(make_batch()):
        side_by_side = np.concatenate([small[ids[1]], pooled(small, ids[5:7], 4)])
        shared = reference_mlp(linears(narrow.mlp), side_by_side).reshape(2, 6)
        rows = [table[ids[0]], pooled(table, ids[2:5], 5), table[11 + ids[0]], *shared]
        logits.append(reference_logit(model, rows, dense))
    assert_logits(model, logits)


def test_features_may_be_named_by_patterns_but_only_once() -> None:
    named = make_model(groups=[{"features": ["b", "t"], "width": 2}], embeddings_per_feature={"a": 2, "s": 2})
    pattern = make_model(groups=[{"features": ["[bt]"], "width": 2}], embeddings_per_feature={"[as]": 2})
    torch.testing.assert_close(named(make_batch()), pattern(make_batch()))
    with pytest.raises(UsageError, match=r"names `s`, which is already named by `.bs.`"):
        make_model(groups=[{"features": ["[bs]"]}, {"features": ["[st]"]}])


def test_without_biases_only_norms_bottom_and_head_have_them() -> None:
    model = make_model(bias=False, projection="attentive")
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert {name.split(".")[-2] for name in biases if name.startswith("layers.")} == {"norm", "fm_norm"}


def test_every_layer_can_have_its_own_sizes() -> None:
    model = make_model(layers=3, n_F=[4, 3, 2], n_L=[4, 2, 1], k=[5, 4, 3], hidden=[[9], [8, 7], []])
    layers = [layer for layer in model.layers if isinstance(layer, WukongLayer)]
    assert [(layer.n, layer.n_F, layer.n_L, layer.columns) for layer in layers] == [
        (5, 4, 4, 5), (8, 3, 2, 4), (5, 2, 1, 3),
    ]  # fmt: skip
    assert [layer.mlp.widths for layer in layers] == [(25, 9, 24), (32, 8, 7, 18), (15, 12)]
    assert model.head.widths == (18, 5, 1)


def test_a_single_value_means_every_layer() -> None:
    one = make_model(layers=2, n_F=4, hidden=[8])
    listed = make_model(layers=2, n_F=[4, 4], hidden=[[8], [8]])
    assert one.macs() == listed.macs()
    torch.testing.assert_close(one(make_batch()), listed(make_batch()))


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_initial_stack_keeps_the_scale_of_its_input(projection: str) -> None:
    """Initialization must neither starve nor drown deep layers: logits start near unit size."""
    model = make_model(projection=projection, layers=6, width=16, n_F=8, n_L=8, hidden=(64, 64), head=(64,))
    logits = model(make_batch(512))
    assert 0.1 < logits.std().item() < 10
