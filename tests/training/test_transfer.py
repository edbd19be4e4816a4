"""Rates by size: the rules of Yang et al. (arXiv 2203.03466) worked out by hand, and properties of any."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wukongctl.config.sweep import ScaleRule
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.training.transfer import RULES, rates, transfer

FIELDS = Schema(("a", "b", "c"), (), (), (4, 5, 6))
RATES: dict[str, Any] = {"dense": {"lr": 0.01}, "embedding": {"name": "adam", "lr": 0.04}}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8, 8]},
    "dlrm": {"top": [8, 8]},
    "dcnv2": {"hidden": [8], "cross_layers": 2, "rank": 2},
    "wukong": {"layers": 2, "n_F": 2, "n_L": 2, "k": 2, "hidden": [8], "head": [8]},
    "fm": {},
}
WIDE = {"hidden": [32, 32], "top": [32, 32], "head": [32]}


def recipe(name: str, width: int = 4, **model: Any) -> TrainingSpec:
    section = {"name": name, "width": width, "embedding_init": 0.1, **MODELS[name], **model}
    return TrainingSpec.from_dict({"data": "d", "model": section, "optimizer": RATES})


def wide(name: str, **model: Any) -> TrainingSpec:
    """Four times the widths."""
    sizes = {key: WIDE[key][: len(value)] for key, value in MODELS[name].items() if key in WIDE}
    return recipe(name, 16, **sizes, **({"rank": 8} if name == "dcnv2" else {}), **model)


FACTORS = {
    "mlp": {"mlp.steps.0.weight": 0.25, "mlp.steps.2.weight": 0.25, "mlp.steps.4.weight": 0.25},
    # Three pairs are three inputs at any width.
    "dlrm": {"top.steps.2.weight": 0.25, "top.steps.4.weight": 0.25},
    "dcnv2": {
        "cross.layers.0.0.weight": 0.25, "cross.layers.0.1.weight": 0.25, "cross.layers.1.0.weight": 0.25,
        "cross.layers.1.1.weight": 0.25, "mlp.steps.0.weight": 0.25, "output.steps.0.weight": 0.25,
    },
    # Mixing embeddings and pairs sums over embeddings, whose number is the same.
    "wukong": {
        "layers.0.mlp.steps.2.weight": 0.25, "layers.1.mlp.steps.2.weight": 0.25,
        "head.steps.0.weight": 0.25, "head.steps.2.weight": 0.25,
    },
    "fm": {},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_mup_is_one_over_fan_in_for_matrices_alone(name: str) -> None:
    made = transfer(wide(name), recipe(name), FIELDS, "mup")
    assert made.optimizer.factors == FACTORS[name]
    assert made.optimizer.dense == recipe(name).optimizer.dense


@pytest.mark.parametrize("name", MODELS)
def test_sqrt_is_the_root_of_these_factors(name: str) -> None:
    made = transfer(wide(name), recipe(name), FIELDS, "sqrt")
    assert made.optimizer.factors == dict.fromkeys(FACTORS[name], 0.5)


@pytest.mark.parametrize("name", ["mlp", "dcnv2", "wukong"])
def test_a_last_layer_starts_smaller_and_embeddings_keep_their_rates(name: str) -> None:
    made = rates(transfer(wide(name), recipe(name), FIELDS, "mup"))
    assert made["model.logit_scale"] == 0.5  # variance 1 / fan-in², where the layer has 1 / fan-in
    assert (made["model.embedding_init"], made["optimizer.embedding.lr"]) == (0.1, 0.04)


@pytest.mark.parametrize("rule", get_args(ScaleRule))
@pytest.mark.parametrize("name", MODELS)
def test_at_its_own_size_a_recipe_stays_as_it_is(name: str, rule: ScaleRule) -> None:
    assert transfer(recipe(name), recipe(name), FIELDS, rule) == recipe(name)


def test_the_same_rates_change_nothing_and_need_no_rule() -> None:
    assert transfer(wide("mlp"), recipe("mlp"), FIELDS, "same") == wide("mlp")
    assert set(get_args(ScaleRule)) == {"same", *RULES}


def test_initial_embeddings_do_not_shrink_when_the_recipe_leaves_them_to_the_width() -> None:
    base = recipe("mlp", embedding_init=None)
    assert (
        transfer(wide("mlp", embedding_init=None), base, FIELDS, "mup").model.to_dict()["embedding_init"]
        == 0.5
    )


def test_new_layers_are_compared_with_the_closest_of_the_base() -> None:
    base = recipe("wukong", layers=1)
    made = transfer(recipe("wukong", layers=3, head=[16, 16]), base, FIELDS, "mup")
    # Layers 1 and 2 mix four embeddings where layer 0, all that the base has, mixes three.
    deeper = {f"layers.{layer}.{name}": 0.75 for layer in (1, 2) for name in ("lcb", "projection")}
    deeper |= {f"layers.{layer}.mlp.steps.0.weight": 0.75 for layer in (1, 2)}
    assert made.optimizer.factors == deeper | {"head.steps.2.weight": 0.5, "head.steps.4.weight": 0.5}


def test_factors_of_the_base_are_kept() -> None:
    own = {"mlp.steps.0.bias": 3.0, "mlp.steps.2.weight": 2.0}
    base = TrainingSpec.from_dict(recipe("mlp").to_dict() | {"optimizer": RATES | {"factors": own}})
    made = transfer(wide("mlp"), base, FIELDS, "mup")
    assert made.optimizer.factors == FACTORS["mlp"] | {"mlp.steps.0.bias": 3.0, "mlp.steps.2.weight": 0.5}


def test_trees_have_no_rates_to_scale() -> None:
    trees = TrainingSpec.from_dict({"data": "d", "model": {"name": "lightgbm"}})
    assert transfer(trees, trees, FIELDS, "mup") == trees
    assert rates(trees) == {}


@settings(max_examples=8)
@given(st.lists(st.integers(1, 300), min_size=3, max_size=3), st.sampled_from(sorted(RULES)))
def test_a_transfer_in_two_steps_is_one(widths: list[int], rule: ScaleRule) -> None:
    base, middle, last = (recipe("mlp", width, hidden=[2 * width, 3]) for width in widths)
    direct = transfer(last, base, FIELDS, rule)
    by_way = transfer(last, transfer(middle, base, FIELDS, rule), FIELDS, rule)
    for key, value in rates(direct).items():
        # Factors of 1 are left out.
        for name in value if isinstance(value, dict) else ():
            assert by_way.optimizer.factors.get(name, 1.0) == pytest.approx(value[name], rel=1e-5)
        if not isinstance(value, dict):
            assert rates(by_way)[key] == pytest.approx(value, rel=1e-5)
