"""Sweep files: what they expand to, and every problem with its place."""

from pathlib import Path

import pytest

from wukongctl.config.entries import Entry, expand
from wukongctl.config.sweep import Search, SweepSpec
from wukongctl.errors import Problem, RecipeError

BASE = "data: tiny\nmodel: {name: mlp, hidden: [8]}\noptimizer: {dense: {lr: 0.5}}\n"


def expanded(folder: Path, text: str, *overrides: str) -> tuple[SweepSpec, tuple[Entry, ...]]:
    (folder / "base.yaml").write_text(BASE)
    (folder / "sweep.yaml").write_text(text)
    return expand(folder / "sweep.yaml", overrides)


def problems_of(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(RecipeError) as caught:
        expanded(folder, text)
    return list(caught.value.problems)


def test_sizes_times_fractions_with_the_later_setting_winning(tmp_path: Path) -> None:
    _, entries = expanded(
        tmp_path,
        """\
name: s
set: {batch_size: 7, epochs: 2}
fractions: [0.5, 1.0]
ladders:
  - recipe: base.yaml
    name: plain
    set: {epochs: 3, model.dropout: 0.1}
    sizes: [{model.hidden: [4]}, {model.hidden: [9, 9], model.dropout: 0.2}]
""",
    )
    assert [entry.name for entry in entries] == ["plain-1-0.5", "plain-1-1", "plain-2-0.5", "plain-2-1"]
    (trial,) = entries[2].trials
    recipe = trial.recipe
    assert (recipe.name, recipe.curve, recipe.batch_size, recipe.epochs) == ("plain-2-0.5", "plain", 7, 3)
    assert recipe.model.to_dict() | {"hidden": [9, 9], "dropout": 0.2} == recipe.model.to_dict()
    assert recipe.optimizer.dense.lr == 0.5


def test_a_grid_is_every_combination_with_the_seed_of_the_search(tmp_path: Path) -> None:
    _, (entry,) = expanded(
        tmp_path,
        """\
name: s
search: {seed: 9, grid: {optimizer.dense.lr: [1e-3, 1e-2], model.dropout: [0.0, 0.5]}}
ladders: [{recipe: base.yaml}]
""",
    )
    found = [(t.recipe.optimizer.dense.lr, t.recipe.to_dict()["model"]["dropout"]) for t in entry.trials]
    assert found == [(1e-3, 0.0), (1e-3, 0.5), (1e-2, 0.0), (1e-2, 0.5)]
    assert {trial.recipe.seed for trial in entry.trials} == {9}
    assert entry.name == "mlp"


def test_listed_settings_and_a_search_of_the_ladder_replace_the_grid(tmp_path: Path) -> None:
    spec, entries = expanded(
        tmp_path,
        """\
name: s
search: {grid: {optimizer.dense.lr: [1e-3]}}
ladders:
  - {recipe: base.yaml}
  - {recipe: base.yaml, name: own, search: {metric: auc, settings: [{epochs: 1}, {epochs: 4}]}}
""",
        "seeds=[3, 4]",
    )
    assert spec.seeds == (3, 4)
    assert [[trial.setting for trial in entry.trials] for entry in entries] == [
        [{"optimizer.dense.lr": 1e-3}], [{"epochs": 1}, {"epochs": 4}],
    ]  # fmt: skip
    assert entries[1].search == Search(settings=({"epochs": 1}, {"epochs": 4}), metric="auc")


def test_every_problem_is_at_the_key_that_makes_it(tmp_path: Path) -> None:
    text = """\
name: s
set: {bach_size: 7}
search:
  grid:
    optimizer.dense.lr: [1e-3, fast]
ladders:
  - recipe: absent/model
  - recipe: base.yaml
    sizes:
      - {model.hidden: [8]}
      - model.layers: 2
"""
    found = problems_of(tmp_path, text)
    sweep = str(tmp_path / "sweep.yaml")
    assert [(p.file, p.line, p.column) for p in found] == [
        (sweep, 2, 7), (sweep, 5, 5), (sweep, 7, 13), (sweep, 11, 9),
    ]  # fmt: skip
    assert found[0].message == "unknown key `bach_size`"
    assert found[0].hint == "did you mean `batch_size`?"
    assert "there is no recipe `absent/model`" in found[2].message


def test_a_problem_of_the_base_recipe_is_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("data: x\nmodel: {name: mlp, widht: 3}\n")
    (found,) = problems_of(tmp_path, "name: s\nladders: [{recipe: wrong.yaml}]\n")
    assert (found.file, found.line, found.column) == (str(tmp_path / "wrong.yaml"), 2, 20)


def test_values_inside_what_a_size_replaces_are_the_sizes(tmp_path: Path) -> None:
    text = "name: s\nladders:\n  - recipe: base.yaml\n    sizes:\n      - {model.hidden: [0]}\n"
    text += "      - {optimizer.dense: {lr: -1}}\n"
    found = problems_of(tmp_path, text)
    assert [(p.file, p.line) for p in found] == [(str(tmp_path / "sweep.yaml"), line) for line in (5, 6)]
    assert "`model.hidden.0`" in found[0].message


def test_a_size_twice_is_a_problem_of_the_second(tmp_path: Path) -> None:
    text = "name: s\nladders: [{recipe: base.yaml, sizes: [{model.hidden: [8]}, {}]}]\n"
    (found,) = problems_of(tmp_path, text)
    assert (found.line, found.column) == (2, 60)
    assert found.message == "size 2 makes the same recipe as size 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: s\nladders: []\n", "ladders"),
        ("name: s\nladders: [{recipe: base.yaml, search: {}}]\n", "needs either `grid` or `settings`"),
        ("name: s\nseeds: [1, 1]\nladders: [{recipe: base.yaml}]\n", "lists a value twice"),
        ("name: s\nladders: [{recipe: base.yaml}, {recipe: base.yaml}]\n", "would be called `mlp`"),
        ("name: s\nsearch: {settings: [{epochs: 1}, {}]}\nladders: [{recipe: base.yaml}]\n", "same recipe"),
        ("name: s\nset: {model.hidden.x.y: 1}\nladders: [{recipe: base.yaml}]\n", "cannot set"),
        ("name: s\nset: {model..x: 1}\nladders: [{recipe: base.yaml}]\n", "not of the form"),
        ("name: s\nfractions: [0.0]\nladders: [{recipe: base.yaml}]\n", "expected more than 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in " ".join(str(problem) for problem in problems_of(tmp_path, text))


SCALED = """\
name: s
scale_rates: mup
search: {grid: {optimizer.dense.lr: [1e-3, 1e-2]}}
fractions: [0.5, 1.0]
ladders:
  - recipe: base.yaml
    sizes:
      - {model.hidden: [4]}
      - {model.hidden: [8]%s}
"""


def test_with_scaled_rates_larger_sizes_have_the_first_as_their_base(tmp_path: Path) -> None:
    _, entries = expanded(tmp_path, SCALED % "")
    assert {entry.name: entry.base for entry in entries} == {
        "mlp-1-0.5": None, "mlp-1-1": None, "mlp-2-0.5": "mlp-1-0.5", "mlp-2-1": "mlp-1-1",
    }  # fmt: skip
    _, entries = expanded(tmp_path, SCALED.replace("scale_rates: mup\n", "") % "")
    assert {entry.base for entry in entries} == {None}


@pytest.mark.parametrize(
    "key", ["optimizer.dense.lr", "optimizer.embedding", "model.embedding_init", "model.logit_scale"]
)
def test_a_size_cannot_set_a_rate_that_the_rule_decides(tmp_path: Path, key: str) -> None:
    (problem,) = problems_of(tmp_path, SCALED % f", {key}: 0.5")
    assert problem.message == f"a size sets `{key}`, which `scale_rates` decides"
    assert (problem.line, problem.column) == (9, 29)
    assert problem.hint is not None


def test_a_sweep_without_a_rule_keeps_its_digest() -> None:
    content = SweepSpec.from_dict({"name": "s", "ladders": [{"recipe": "r"}]}).to_dict()
    assert "scale_rates" not in content
    assert SweepSpec.from_dict(content | {"scale_rates": "mup"}).to_dict()["scale_rates"] == "mup"
