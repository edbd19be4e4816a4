"""The default rules: a function of the dataset's facts, which yields to whatever a recipe says."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.shipped import keys_of
from wukongctl.config import defaults, library
from wukongctl.config.completion import complete
from wukongctl.config.defaults import DatasetFacts
from wukongctl.config.entries import expand
from wukongctl.config.formats import format_of
from wukongctl.config.loading import Override, load, read
from wukongctl.config.positions import parse
from wukongctl.config.sweep import SweepSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import RecipeError

MODELS = ("wukong", "fm", "deepfm", "dlrm", "dcnv2", "autoint", "afn", "finalmlp", "masknet", "xdeepfm")
MODELS += ("mlp", "rankmixer", "tokenmixer_large", "unimixer")
FACTS = DatasetFacts(40_000, 5_000, (100, 30), 3, 1, 130)
LARGE = DatasetFacts(20_000_000, None, (10**7,), 0, 0, 10**7)
ROWS = st.integers(1, 10**11)


def completed(text: str, facts: DatasetFacts | None = FACTS, *overrides: str | Override) -> TrainingSpec:
    return complete(parse(text, "mine.yaml"), lambda _: facts, overrides)


def recipe(more: str = "", model: str = "{name: wukong}") -> str:
    return f"data: x\nmodel: {model}\n{more}"


@given(ROWS)
@settings(deadline=None)
def test_the_batch_is_the_largest_that_gives_enough_updates(rows: int) -> None:
    size = completed(recipe(), replace(FACTS, train_rows=rows)).batch_size
    power = 1 << (size.bit_length() - 1)
    assert 64 <= power <= 4096
    assert size - power <= 2  # room for the row that would be left alone
    assert power == 64 or rows // power >= 250
    assert power == 4096 or rows // (2 * power) < 250


@given(ROWS)
@settings(deadline=None)
def test_no_pass_ends_in_a_batch_of_one_row(rows: int) -> None:
    """Batch norm, which FinalMLP has by default, would have no variance."""
    size = completed(recipe(), replace(FACTS, train_rows=rows)).batch_size
    assert rows == 1 or rows % size != 1


@pytest.mark.parametrize(
    ("rows", "valid", "epochs"),
    [(1_000, 100, 8), (1_000_000, 9, 8), (1_000_001, 9, 3), (10_000_001, 9, 1), (1_000, None, 3)],
)
def test_the_number_of_passes(rows: int, valid: int | None, epochs: int) -> None:
    made = completed(recipe(), replace(FACTS, train_rows=rows, valid_rows=valid))
    assert made.epochs == epochs
    watched = (made.early_stopping.metric, made.early_stopping.patience)
    assert watched == (("logloss", None) if valid is None else ("auc", defaults.PATIENCE))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("facts", [FACTS, LARGE])
def test_every_model_gets_a_valid_recipe_and_the_same_rules(model: str, facts: DatasetFacts) -> None:
    made = completed(recipe(model=f"{{name: {model}}}"), facts)
    like = completed(recipe(), facts)
    common = {"width", "embedding_init", "logit_scale", "dropout"} & made.model.to_dict().keys()
    assert {key: made.model.to_dict()[key] for key in common} == {
        key: like.model.to_dict()[key] for key in common
    }
    alone = {"model"}
    assert made.model_dump(exclude=alone) == like.model_dump(exclude=alone)


@pytest.mark.parametrize(
    ("rows", "more", "name"),
    [
        (199_999, "", "adam"),
        (200_000, "", "lazy_adam"),
        (100, "embedding_dtype: bfloat16", "lazy_adam"),
        (100, "distributed: {embeddings: row_wise}", "rowwise_adagrad"),
        (100, "distributed: {embeddings: replicated}", "adam"),
    ],
)
def test_the_embedding_optimizer_fits_the_tables_and_what_the_recipe_says(
    rows: int, more: str, name: str
) -> None:
    assert completed(recipe(more), replace(FACTS, embedding_rows=rows)).optimizer.embedding.name == name


def test_a_model_with_defaults_of_its_own_keeps_them() -> None:
    made = completed(recipe(model="{name: lightgbm}"))
    assert made.digest() == load_fixed(recipe(model="{name: lightgbm}")).digest()


def test_rates_of_one_optimizer_do_not_reach_another() -> None:
    named = completed(recipe("optimizer: {embedding: {name: rowwise_adagrad}}"))
    constant = load_fixed(recipe("optimizer: {embedding: {name: rowwise_adagrad}}"))
    assert named.optimizer.embedding == constant.optimizer.embedding
    rate = completed(recipe("optimizer: {embedding: {lr: 0.5}}")).optimizer.embedding
    assert (rate.name, rate.lr) == ("adam", 0.5)
    same = completed(recipe("optimizer: {embedding: {name: adam}}")).optimizer.embedding
    assert same.lr == defaults.EMBEDDING_RATE


def load_fixed(text: str) -> TrainingSpec:
    return completed(f"defaults: fixed\n{text}")


def test_what_a_recipe_says_stays_said() -> None:
    text = recipe(
        "batch_size: 7\nepochs: 2\nschedule: {warmup: 0.1}\nearly_stopping: {metric: logloss}\n"
        "optimizer: {dense: {lr: 0.5}}\n",
        "{name: wukong, width: 3}",
    )
    made = completed(text)
    assert (made.batch_size, made.epochs, made.schedule.warmup, made.model.width) == (7, 2, 0.1, 3)
    assert (made.early_stopping.metric, made.optimizer.dense.lr) == ("logloss", 0.5)
    assert made.schedule.decay == "linear"  # the rest of a group is open all the same
    assert completed(recipe(), FACTS, "batch_size=9").batch_size == 9


def test_a_key_said_in_full_is_what_the_rules_would_have_chosen() -> None:
    made = completed(recipe())
    said = "".join(
        f"{choice.key}={choice.value}\n" for choice in defaults.choices({"model": {"name": "wukong"}}, FACTS)
    ).splitlines()
    assert load_fixed(recipe()).digest() != made.digest()
    assert completed(f"defaults: fixed\n{recipe()}", FACTS, *said).digest() == made.digest()


def test_without_a_prepared_dataset_constants_hold() -> None:
    assert completed(recipe(), None) == load_fixed(recipe())


def test_the_key_is_checked_and_not_kept() -> None:
    fixed = load_fixed(recipe())
    assert "defaults" not in fixed.to_dict()
    assert fixed == TrainingSpec.from_dict(fixed.to_dict())
    assert completed(recipe("defaults: rules")) == completed(recipe())
    with pytest.raises(RecipeError) as caught:
        completed(recipe("defaults: fxied"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.hint) == (3, "did you mean `fixed`?")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data: [x]\nmodel: {name: wukong}\n", 1),
        ("data: x\nmodel: wukong\n", 2),
        ("data: x\nmodel: {name: [wukong]}\n", 2),
        ("data: x\nmodel: {name: wukogn}\n", 2),
        ("data: x\nmodel: {name: wukong}\noptimizer: null\n", 3),
        ("data: x\nmodel: {name: wukong}\noptimizer: {embedding: adam}\n", 3),
        ("data: x\nmodel: {name: wukong}\nschedule: [1]\n", 3),
        ("data: x\nmodel: {name: wukong}\nbatch_size: null\n", 3),
        ("data: x\nmodel: {name: wukong}\ndefaults: [1]\n", 3),
    ],
)
def test_the_rules_hide_no_problem_and_add_none(text: str, line: int) -> None:
    with pytest.raises(RecipeError) as filled:
        completed(text)
    with pytest.raises(RecipeError) as plain:
        completed(text, None)
    assert filled.value.problems == plain.value.problems
    assert [problem.line for problem in filled.value.problems] == [line]


def test_a_saved_recipe_is_open_to_no_rule() -> None:
    """Those of older versions do not say `defaults: fixed`, and leave `logit_scale` out where it is 1."""
    assert not defaults.is_open(load_fixed(recipe()).to_dict())
    assert defaults.is_open({"data": "x", "model": {"name": "wukong"}, "name": "mine", "threads": 1})


def test_a_size_that_depends_on_the_dataset_is_known_to_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, Any] = {"data": "x", "model": {"name": "mlp"}}
    assert defaults.open_sizes(written) == []
    monkeypatch.setattr(defaults, "WIDTH", 8)
    assert defaults.open_sizes(written) == ["model.width"]
    assert defaults.open_sizes({"data": "x", "model": {"name": "mlp", "width": 8}}) == []
    assert defaults.open_sizes(written | {"defaults": "fixed"}) == []


def test_the_depth_and_projection_of_wukong_follow_the_dataset() -> None:
    small = completed(recipe()).model.to_dict()
    assert (small["layers"], small["projection"]) == (1, "none")
    wide = replace(FACTS, train_rows=defaults.ROWS_OF_TWO_LAYERS, cardinalities=(9,) * 64)  # and numbers
    large = completed(recipe(), wide).model.to_dict()
    assert (large["layers"], large["projection"]) == (2, "static")
    rare = completed(recipe(), replace(FACTS, cardinalities=(FACTS.train_rows // 200 + 1, 3))).model.to_dict()
    assert (rare["n_F"], rare["projection"]) == (8, "static")
    common = completed(recipe(), replace(FACTS, cardinalities=(FACTS.train_rows // 200, 3))).model.to_dict()
    assert (common["n_F"], common["projection"]) == (16, "none")
    said = completed(recipe(model="{name: wukong, k: 4, n_F: [8, 4, 2], layers: 3}")).model.to_dict()
    assert (said["layers"], said["projection"]) == (3, "static")
    listed = completed(recipe(model="{name: wukong, hidden: [[64], [32]]}")).model.to_dict()
    assert listed["layers"] == 2
    assert completed(recipe(model="{name: wukong, hidden: [64, 32]}")).model.to_dict()["layers"] == 1
    open_keys = defaults.open_sizes({"data": "x", "model": {"name": "wukong"}})
    assert open_keys == [f"model.{key}" for key in ("head", "hidden", "layers", "n_F", "n_L", "projection")]


def recipes(spec: type) -> list[str]:
    return [name for name in library.names() if format_of(set(keys_of(name))).spec is spec]


def test_shipped_recipes_are_what_they_were() -> None:
    """Run folders, and published numbers, are found by these digests. A key added to the format must leave
    them as they are (as `logit_scale` does); a recipe that was changed on purpose gets its new one."""
    pinned = json.loads((Path(__file__).parent / "shipped_digests.json").read_text())
    names = recipes(TrainingSpec)
    assert {name: load(library.find(name), TrainingSpec).digest()[:16] for name in names} == pinned


@pytest.mark.parametrize("name", recipes(TrainingSpec))
def test_no_shipped_recipe_is_open_to_the_rules(name: str) -> None:
    """What they were measured with is theirs, whatever the rules become."""
    path = library.find(name)
    assert complete(read(path), lambda _: LARGE).digest() == load(path, TrainingSpec).digest()


@pytest.mark.parametrize("name", recipes(SweepSpec))
def test_no_shipped_sweep_is_open_to_the_rules(name: str) -> None:
    path = library.find(name)
    assert expand(path, (), lambda _: LARGE) == expand(path)


def test_every_key_of_the_rules_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/concepts/defaults.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    for choice in defaults.choices({"model": {"name": "wukong"}}, FACTS):
        assert any(f"{choice.key}.".startswith(f"{key}.") for key in documented), choice.key
