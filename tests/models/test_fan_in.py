"""Fan-ins: counted by hand for four models, and right for every model by what a matrix does to ones."""

import pytest
import torch
from torch import nn

from tests.models.zoo import CONFIGURATIONS, make
from wukongctl.data.schema import Schema
from wukongctl.models.embeddings import embedding_tables
from wukongctl.models.fan_in import fan_ins

FIELDS = Schema(("a", "b", "c"), (), (), (4, 5, 6))
VECTORS = ("numeric", "piecewise", "norm", "constant")
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
