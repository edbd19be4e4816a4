"""Models at other widths: what is a width, and what is not."""

from typing import get_args

import pytest

from wukongctl.config.model import AnyModelSpec
from wukongctl.config.model_section import ModelSpec, Widths
from wukongctl.config.resizing import WIDTH_KEYS, resized, width_of
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError


def recipe(**model: object) -> TrainingSpec:
    return TrainingSpec.from_dict({"data": "d", "model": model})


def test_widths_grow_and_numbers_of_things_do_not() -> None:
    model = {
        "name": "wukong", "width": 8, "layers": 2, "n_F": 3, "n_L": [4, 5], "hidden": [[6], [7, 10]],
        "head": [12], "bottom": [], "attention": {"rows": 3, "hidden": [20]},
        "groups": [{"features": ["a"], "width": 2, "hidden": [4], "embeddings": 3}],
    }  # fmt: skip
    made = resized(recipe(**model), 16).model.to_dict()
    assert (made["width"], made["hidden"], made["head"]) == (16, [[12], [14, 20]], [24])
    assert (made["layers"], made["n_F"], made["n_L"]) == (2, 3, [4, 5])
    assert made["attention"] == {"rows": 3, "hidden": [40]}
    assert made["groups"] == [{"features": ["a"], "width": 4, "hidden": [8], "embeddings": 3}]


def test_a_width_is_at_least_one_and_its_own_width_changes_nothing() -> None:
    assert resized(recipe(name="mlp", width=64, hidden=[8]), 1).model.to_dict()["hidden"] == [1]
    same = recipe(name="dcnv2", width=5, rank=3)
    assert resized(same, 5) == same


def test_every_list_of_widths_is_known() -> None:
    """A new model whose layers have another name would silently stay as wide as it is."""
    sections = [part for part in get_args(get_args(AnyModelSpec)[0]) if issubclass(part, ModelSpec)]
    lists = {
        name
        for section in sections
        for name, field in section.model_fields.items()
        if field.annotation in (Widths, Widths | None)
    }
    assert {"hidden", "top", "bottom", "afn_hidden"} <= lists
    assert lists - WIDTH_KEYS <= {"cin"}  # rows of xDeepFM's interaction network, as `n_F` of Wukong


def test_a_width_that_does_not_fit_and_trees_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot have width 3: `heads` 2 does not divide"):
        resized(recipe(name="autoint", width=16, attention_width=16), 3)
    with pytest.raises(UsageError, match="model `lightgbm` has no widths"):
        width_of(recipe(name="lightgbm"))
