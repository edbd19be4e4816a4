"""Fan-ins: counted by hand for four models, and right for every model by what a matrix does to ones."""

import pytest
import torch
from torch import nn

from tests.models.zoo import CONFIGURATIONS, make
from wukongctl.data.schema import Schema
from wukongctl.models.embeddings import embedding_tables
from wukongctl.models.fan_in import fan_ins

FIELDS = Schema(("a", "b", "c"), (), (), (4, 5, 6))
VECTORS = ("numeric", "piecewise", "norm", "constant", "bias")
BY_HAND = {
    "mlp": ({"hidden": [7, 8]}, {"mlp.steps.0.weight": 15, "mlp.steps.2.weight": 7, "mlp.steps.4.weight": 8}),
    "dlrm": ({"top": [7]}, {"top.steps.0.weight": 3, "top.steps.2.weight": 7}),
    "dcnv2": (
        {"hidden": [7], "rank": 2, "cross_layers": 1},
        {
            "cross.layers.0.0.weight": 15, "cross.layers.0.1.weight": 2, "mlp.steps.0.weight": 15,
            "output.steps.0.weight": 22,
        },
    ),
    "wukong": (
        {"layers": 1, "n_F": 2, "n_L": 4, "k": 2, "hidden": [7], "head": [8]},
        {
            "layers.0.lcb": 3, "layers.0.projection": 3, "layers.0.residual": 3,
            "layers.0.mlp.steps.0.weight": 6, "layers.0.mlp.steps.2.weight": 7,
            "head.steps.0.weight": 30, "head.steps.2.weight": 8,
        },
    ),
    "rankmixer": (
        {"layers": 1, "tokens": 3, "token_width": 6, "expansion": 2},
        {
            "tokens.local.weight": 5, "layers.0.ffn.first.weight": 6, "layers.0.ffn.second.weight": 12,
            "head.steps.0.weight": 6,
        },
    ),
    "tokenmixer_large": (
        {"layers": 1, "tokens": 3, "heads": 2, "token_width": 4, "expansion": 3},
        {
            "tokens.local.weight": 8, "tokens.all.weight": 15, "head.steps.0.weight": 4,
            **{f"layers.0.mixed.swiglu.{part}.weight": 6 for part in ("gate", "up")},
            **{f"layers.0.reverted.swiglu.{part}.weight": 4 for part in ("gate", "up")},
            "layers.0.mixed.swiglu.down.weight": 18, "layers.0.reverted.swiglu.down.weight": 12,
        },
    ),
    "unimixer": (
        {"layers": 1, "tokens": 3, "token_width": 4, "block": 6, "rank": 7, "basis": 5, "expansion": 2},
        {
            "tokens.local.weight": 5, "layers.0.mix.left": 7, "layers.0.mix.right": 7,
            "layers.0.mix.basis": 5, "layers.0.mix.weights": 5, "layers.0.swiglu.gate.weight": 4,
            "layers.0.swiglu.up.weight": 4, "layers.0.swiglu.down.weight": 8, "head.steps.0.weight": 4,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_fan_ins_counted_by_hand(name: str) -> None:
    keys, expected = BY_HAND[name]
    assert fan_ins(make({"name": name, "width": 5, **keys}, FIELDS)) == expected


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_matrix_sums_its_fan_in(name: str) -> None:
    """A linear layer of ones puts out the number of its inputs."""
    model = make(CONFIGURATIONS[name])
    found = fan_ins(model)
    tables = {id(table) for table in embedding_tables(model)}
    dense = {key: weight for key, weight in model.named_parameters() if id(weight) not in tables}
    assert found.keys() <= dense.keys()
    assert all(dense[key].dim() > 1 for key in found)
    layers = {key: module for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    for key, layer in layers.items():
        nn.init.ones_(layer.weight)
        ones = torch.ones(1, layer.in_features)
        assert (layer.weight @ ones.t()).unique().tolist() == [found[f"{key}.weight"]]
    vectors = {key for key, weight in dense.items() if weight.dim() > 1} - found.keys()
    assert all(any(kind in key for kind in VECTORS) for key in vectors), vectors
