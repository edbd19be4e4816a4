"""Models of other packages in recipes: their keys, and one line for each way in which a package is broken."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.installed import install, install_fwfm
from wukongctl.config import model, plugins
from wukongctl.config.defaults import DatasetFacts, choices
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.schema import json_schema
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import RecipeError


def read(section: str) -> TrainingSpec:
    return validate(parse(f"data: clicks\nmodel: {section}\n", "r.yaml"), TrainingSpec)


def problems(section: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        read(section)
    return [str(problem) for problem in error.value.problems]


@pytest.fixture
def fwfm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fwfm(tmp_path / "site", monkeypatch)


@pytest.mark.usefixtures("fwfm")
def test_a_section_of_a_plugin_survives_a_run_folder() -> None:
    recipe = read("{name: fwfm, width: 8, bottom: [4]}")
    content = recipe.to_dict()
    assert content["model"] == {
        "name": "fwfm", "width": 8, "bottom": [4], "linear": True, "embedding_init": None,
    }  # fmt: skip
    again = TrainingSpec.from_dict(content)
    assert again == recipe
    assert again.model_copy(update={"seed": 1}).model == recipe.model
    assert again.digest() == recipe.digest() != read("{name: fwfm, width: 8}").digest()


@pytest.mark.usefixtures("fwfm")
def test_keys_of_a_plugin_are_checked_where_they_stand() -> None:
    assert problems("{name: fwfm, widht: 8, linear: often}") == [
        "r.yaml:2:21: unknown key `widht` (did you mean `width`?)",
        "r.yaml:2:39: `model.linear` is `often`, expected `true` or `false`",
    ]
    (wukongs,) = problems("{name: fwfm, layers: 3}")
    assert wukongs.startswith("r.yaml:2:21: unknown key `layers`")


@pytest.mark.usefixtures("fwfm")
def test_a_misspelt_plugin_is_suggested_and_its_keys_are_checked() -> None:
    first, second = problems("{name: fwfmm, widht: 8}")
    assert first.startswith("r.yaml:2:15: `model.name` is `fwfmm`, expected `wukong`, ")
    assert first.endswith("`fwfm` (did you mean `fwfm`?)")
    assert second == "r.yaml:2:22: unknown key `widht` (did you mean `width`?)"


@pytest.mark.usefixtures("fwfm")
def test_default_rules_and_the_schema_know_plugins() -> None:
    facts = DatasetFacts(1000, 100, (5, 7), 1, 0, 12)
    chosen = {choice.key for choice in choices({"model": {"name": "fwfm"}}, facts)}
    assert {"model.width", "model.logit_scale", "batch_size"} <= chosen
    assert "model.dropout" not in chosen
    schema = json_schema("training")
    place = schema["properties"]["model"]["discriminator"]["mapping"]["fwfm"]
    keys = schema["$defs"][place.rpartition("/")[2]]["properties"]
    assert keys["linear"]["description"] == "Add a linear model, one weight per feature value."
    assert {"$ref": place} in schema["properties"]["model"]["oneOf"]
    assert model.model_names()[-1] == "fwfm"


def test_without_plugins_nothing_is_looked_up_for_models_of_this_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(**_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(plugins, "entry_points", never)
    assert read("{name: fm}").model.name == "fm"


BROKEN = {
    "missing": ("nowhere.section:Spec", "ModuleNotFoundError: No module named 'nowhere'"),
    "nothing": ("parts:Nothing", "AttributeError: module 'parts' has no attribute 'Nothing'"),
    "raises": ("explodes:Spec", "ZeroDivisionError: division by zero"),
    "number": ("parts:NUMBER", "`parts:NUMBER` is not a subclass of `ModelSpec`"),
    "plain": ("parts:Plain", "`parts:Plain` is not a subclass of `ModelSpec`"),
    "other": ("parts:Named", '`parts:Named` has no key `name: Literal["other"]`'),
    "unnamed": ("parts:Unnamed", '`parts:Unnamed` has no key `name: Literal["unnamed"]`'),
}
PARTS = """
from typing import Literal
from wukongctl.config.model_section import ModelSpec
NUMBER = 3
class Plain: ...
class Named(ModelSpec):
    name: Literal["named"]
class Unnamed(ModelSpec): ...
"""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_one_line_that_names_its_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, why = BROKEN[name]
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "explodes.py").write_text("1 / 0\n")
    install(tmp_path, monkeypatch, "broken-models", {name: target})
    assert read("{name: fm}").model.name == "fm"
    assert model.section_of(name) is None
    assert problems(f"{{name: {name}, width: 4}}") == [
        f"r.yaml:2:9: model `{name}` of the package `broken-models` 1.0 does not work: {why} "
        "(repair the package or remove it, `pip uninstall broken-models`)"
    ]


def test_two_packages_may_not_have_a_model_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("first", "second"):
        install(tmp_path / package, monkeypatch, package, {"twice": "parts:Named"})
    (problem,) = problems("{name: twice}")
    assert re.search(r"2:9: the packages `\w+` and `\w+` both have a model `twice` \(remove one", problem)
    assert read("{name: fm}").model.name == "fm"


def test_a_plugin_cannot_replace_a_model_of_this_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "impostor", {"fm": "parts:Named"})
    assert type(read("{name: fm}").model) is model.FMSpec
    assert model.model_names().count("fm") == 1
