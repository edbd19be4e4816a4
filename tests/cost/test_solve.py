"""Scaling a Wukong to a given cost."""

import pytest

from wukongctl.config.model import WukongSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.flops import analyze
from wukongctl.cost.solve import solve
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError

SCHEMA = Schema(tuple(f"f{index}" for index in range(12)), (), (), (10,) * 12)
BASE = {"name": "wukong", "width": 16, "layers": 2, "n_F": 4, "n_L": 4, "k": 4, "hidden": [16], "head": [8]}


def recipe(**model: object) -> TrainingSpec:
    return TrainingSpec.from_dict({"data": "synthetic", "model": BASE | model})


@pytest.mark.parametrize("gflop", [2e-5, 1e-4, 1e-3, 0.1, 3.0])
def test_the_budget_is_met_from_below(gflop: float) -> None:
    found = solve(recipe(), SCHEMA, gflop)
    counted = analyze("x", found.recipe, SCHEMA, embedding_rows_known=True).counts.gflop
    assert counted == found.gflop
    assert 0.95 * gflop <= counted <= gflop
    assert TrainingSpec.from_dict(found.recipe.to_dict()) == found.recipe


def test_layers_are_scaled_first_then_rows_and_hidden_sizes() -> None:
    specs = []
    for gflop in (1e-4, 3e-4, 0.01, 1.0):
        model = solve(recipe(), SCHEMA, gflop).recipe.model
        assert isinstance(model, WukongSpec)
        specs.append(model)
    assert [spec.layers for spec in specs] == sorted(spec.layers for spec in specs)
    assert [spec.layers for spec in specs[2:]] == [8, 8]
    assert specs[0].n_F == 4  # still growing in depth
    assert specs[3].n_F > specs[2].n_F > 4  # type: ignore[operator]
    assert specs[3].n_F == specs[3].n_L == specs[3].k


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "mlp", "hidden": [8]}, "needs a `wukong` model"),
        (BASE | {"n_F": [4, 4]}, "for all layers"),
        (BASE | {"hidden": [[4], [8]]}, "one `hidden` for all layers"),
        (BASE | {"head": [4096]}, "cannot scale this recipe to 0.0001 GFLOP"),
    ],
)
def test_unreachable_costs_are_rejected_with_a_reason(model: dict[str, object], message: str) -> None:
    spec = TrainingSpec.from_dict({"data": "synthetic", "model": model})
    with pytest.raises(UsageError, match=message):
        solve(spec, SCHEMA, 1e-4)
