from typing import Any

import pytest

from tests.models import zoo
from tests.models.zoo import CONFIGURATIONS
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.flops import analyze
from wukongctl.data.schema import Schema, SequenceColumn

SCHEMA = Schema(tuple("abcde"), ("x", "y", "z"), (), (10,) * 5)


def recipe(**model: object) -> TrainingSpec:
    return TrainingSpec.from_dict({"data": "synthetic", "model": model})


def test_a_small_wukong_counted_by_hand() -> None:
    """n_0 = 5 + 1 embeddings of width 4, two layers of n_F = 2, n_L = 1, k = 3, one hidden layer of 7."""
    spec = recipe(
        name="wukong", width=4, layers=2, n_F=2, n_L=1, k=3, hidden=(7,), bottom=(5,), head=(6,),
        projection="static",
    )  # fmt: skip
    report = analyze("hand", spec, SCHEMA, embedding_rows_known=True)
    bottom = 3 * 5 + 5 * 4
    first = {"fm": 2 * 6 * 3 * 4, "mlp": 18 * 7 + 7 * 8, "lcb": 6 * 1 * 4, "residual": 6 * 3 * 4}
    second = {"fm": 2 * 3 * 3 * 4, "mlp": 9 * 7 + 7 * 8, "lcb": 3 * 1 * 4}
    head = 12 * 6 + 6
    by_hand = bottom + sum(first.values()) + sum(second.values()) + head
    assert report.counts.macs == by_hand == 738
    assert report.traced_macs == by_hand
    assert report.counts.gflop == pytest.approx(6 * by_hand / 1e9)
    assert report.counts.forward_gflop == pytest.approx(2 * by_hand / 1e9)
    named = {module.name: module.macs for module in report.modules}
    assert named["layers.0.residual"] == first["residual"]
    assert "layers.1.residual" not in named

    norms = 2 * (6 * 3 + 3 * 3) + 2 * 2 * 4
    rows = (3 * 6 + 1 * 6 + 3 * 6) + (3 * 3 + 1 * 3)
    biases = (5 + 4) + 2 * (7 + 8) + (6 + 1)
    mlps = bottom + first["mlp"] + second["mlp"] + head
    assert report.counts.dense_params == norms + rows + biases + mlps
    assert report.counts.embedding_params == 50 * 4
    assert sum(module.params for module in report.modules) == report.counts.dense_params + 50 * 4


def test_an_attentive_wukong_counted_by_hand() -> None:
    spec = recipe(
        name="wukong", width=4, layers=1, n_F=2, n_L=2, k=3, hidden=(7,), bottom=(), head=(),
        projection="attentive", attention={"rows": 2, "hidden": (5,)},
    )  # fmt: skip
    report = analyze("hand", spec, SCHEMA, embedding_rows_known=True)
    attention = 6 * 2 * 4 + (8 * 5 + 5 * 18)
    layer = 2 * 6 * 3 * 4 + (18 * 7 + 7 * 8) + 6 * 2 * 4 + 6 * 4 * 4 + attention
    assert report.counts.macs == report.traced_macs == 3 * 4 + layer + 16


def test_frozen_vectors_are_counted_separately() -> None:
    keys = CONFIGURATIONS["wukong"]
    frozen = analyze("x", recipe(**keys, width=6), zoo.FROZEN, embedding_rows_known=True).to_dict()
    assert frozen["params"]["embedding"] == 5 * 6
    assert frozen["params"]["frozen"] == 4 * 3 + 6 * 4
    maps = {module["name"]: module["params"] for module in frozen["modules"]}
    assert maps["embeddings.frozen"] == (3 + 4) * 6
    assert frozen["memory"]["weights"] == 4 * sum(frozen["params"].values())
    learned = analyze("x", recipe(**keys, width=6), zoo.SCHEMA, embedding_rows_known=True).to_dict()
    assert set(learned["params"]) == {"dense", "embedding"}


@pytest.mark.parametrize(("dtype", "bytes_each"), [("float32", 4), ("bfloat16", 2)])
def test_memory_of_tables_by_hand(dtype: str, bytes_each: int) -> None:
    spec = TrainingSpec.from_dict({
        "data": "synthetic", "model": {"name": "fm", "width": 4}, "batch_size": 8, "embedding_dtype": dtype,
        "optimizer": {"embedding": {"name": "rowwise_adagrad", "lr": 0.1}},
    })  # fmt: skip
    report = analyze("hand", spec, SCHEMA, embedding_rows_known=True)
    dense, touched = report.counts.dense_params, 8 * 5
    width = report.counts.embedding_params // 50
    assert report.memory.weights == 4 * dense + bytes_each * 50 * width
    assert report.memory.gradients == 4 * dense + bytes_each * touched * width
    assert report.memory.optimizer == 4 * (2 * dense + 50)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(Schema(("a",), (), (), (5,)), id="one feature"),
        pytest.param(Schema((), ("x", "y"), (), ()), id="numbers alone"),
        pytest.param(Schema((), (), (SequenceColumn("s", 0, 3),), (5,)), id="one sequence"),
    ],
)
@pytest.mark.parametrize(
    "keys",
    [
        *({"name": "wukong", "projection": projection} for projection in ("static", "attentive", "none")),
        {"name": "wukong", "n_F": 1, "n_L": 1, "k": 1, "width": 1, "hidden": [], "head": []},
        *({"name": name} for name in ("dcnv2", "autoint", "masknet", "mlp", "rankmixer", "unimixer")),
        {"name": "tokenmixer_large", "tokens": 2},
        {"name": "dlrm", "interaction": "cat"},
        {"name": "finalmlp", "heads": 1},
        {"name": "afn", "neurons": 3},
        {"name": "xdeepfm", "cin": [1, 2]},
    ],
    ids=lambda keys: "-".join(map(str, keys.values())),
)
def test_formula_and_trace_agree_for_a_single_embedding(keys: dict[str, Any], schema: Schema) -> None:
    report = analyze("x", recipe(**{"width": 4, **keys}), schema, embedding_rows_known=True)
    assert report.counts.macs == report.traced_macs


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_formula_and_trace_agree(name: str) -> None:
    report = analyze("x", recipe(**CONFIGURATIONS[name]), zoo.SCHEMA, embedding_rows_known=True)
    assert report.counts.macs == report.traced_macs
    assert (report.counts.macs > 0) == (name != "fm")  # FM needs no matrix product
    params = report.counts.dense_params + report.counts.embedding_params
    assert sum(module.params for module in report.modules) == params
    assert sum(module.macs for module in report.modules) == report.counts.macs
    assert all(module.name for module in report.modules)
