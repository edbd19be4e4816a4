"""LightGBM's page, and the keys of a training recipe that it has no use for."""

import json

import numpy as np
import pytest

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import LATER_KEYS, NETWORK_KEYS, TrainingSpec
from wukongctl.errors import RecipeError

OUR_OWN = {"name", "categorical"}


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        validate(parse(text, "r.yaml"), TrainingSpec, overrides)
    return [str(problem) for problem in error.value.problems]


def test_the_defaults_are_lightgbms_own() -> None:
    """Asked of LightGBM itself: a model trained with no parameters tells which it used."""
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(np.arange(100.0)[:, None], np.arange(100) % 2)
    told = lightgbm.train({"objective": "binary", "verbosity": -1}, data).model_to_string()
    used = dict(line[1:-1].split(": ", 1) for line in told.splitlines() if line.startswith("["))
    for key, value in LightGBMSpec(name="lightgbm").to_dict().items():
        if key not in OUR_OWN:
            assert float(used[key]) == (-1 if value is None else value), key


def test_a_recipe_holds_only_what_lightgbm_uses() -> None:
    """And is runnable as it is resolved."""
    spec = TrainingSpec.from_dict({"data": "x", "model": {"name": "lightgbm"}})
    assert not spec.to_dict().keys() & {*NETWORK_KEYS, "device"}
    assert TrainingSpec.from_dict(spec.to_dict()) == spec
    network = TrainingSpec.from_dict({"data": "x", "model": {"name": "mlp"}})
    assert network.to_dict().keys() == TrainingSpec.model_fields.keys() - {"defaults", *LATER_KEYS}


def test_every_key_of_a_network_is_a_mistake_at_its_line() -> None:
    lines = ["data: x", "model: {name: lightgbm}", *(f"{key}: {default(key)}" for key in NETWORK_KEYS)]
    found = problems("\n".join(lines) + "\n")
    assert [problem.partition(" (")[0] for problem in found] == [
        f"r.yaml:{line}:1: model `lightgbm` does not use `{key}`" for line, key in enumerate(NETWORK_KEYS, 3)
    ]


def default(key: str) -> str:
    """Written out it would promise something all the same."""
    written = TrainingSpec.from_dict({"data": "x", "model": {"name": "mlp"}}).to_dict()
    return json.dumps(written.get(key, LATER_KEYS.get(key)))


def test_an_overridden_key_is_pointed_at() -> None:
    text = "data: x\nmodel: {name: lightgbm}\n"
    (found,) = problems(text, "optimizer.dense.lr=1e-3")
    assert found.startswith("--set optimizer.dense.lr=1e-3")
    (found,) = problems(text, "device=cuda")
    assert "trains on CPU only" in found
    (found,) = problems("data: x\nmodel: {name: mlp}\nepochs: 2\n", "model={name: lightgbm}")
    assert found.startswith("r.yaml:3:1:")
    assert "`model.num_iterations`" in found
    assert validate(parse(text, "r.yaml"), TrainingSpec, ["device=cpu", "shuffle=false"]).seed == 0


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("bagging_fraction: 0.5", "`bagging_fraction` does nothing while `bagging_freq` is 0"),
        ("path_smooth: 1.0, min_data_in_leaf: 1", "`path_smooth` needs `min_data_in_leaf` of 2 or more"),
        ("num_leaves: 1", "expected more than 1"),
        ("feature_fraction: 0.0", "expected more than 0"),
        ("num_leafs: 3", "did you mean `num_leaves`?"),
        ("width: 3", "unknown key `width`"),
    ],
)
def test_problems_of_the_page(keys: str, problem: str) -> None:
    (found,) = problems(f"data: x\nmodel: {{name: lightgbm, {keys}}}\n")
    assert problem in found
