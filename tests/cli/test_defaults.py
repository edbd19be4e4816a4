"""A dataset and a model define a recipe: with a two-line file, a full one, or none."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong
from wukongctl.config import defaults

TWO_LINES = "data: tiny\nmodel: {name: mlp}\n"
MLP = ("--data", "tiny", "--model", "mlp")
SMALL = ("--set", "model.hidden=[4]", "--set", "epochs=1", "--set", "threads=1")


def planned(wukong: Wukong, *words: object) -> dict[str, object]:
    result = wukong("train", *words, "--dry-run", "--json")
    assert result.code == 0, result.err
    return result.json


def test_three_recipes_map_to_the_same_run(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_LINES)
    (tmp_path / "all.yaml").write_text(wukong("recipes", "init", "tiny", "--model", "mlp").out)
    plan = planned(wukong, *MLP)
    assert plan["steps"] == 8 * 13  # 800 rows in batches of 64, eight times
    assert planned(wukong, "two.yaml") == planned(wukong, "all.yaml") == plan
    assert planned(wukong, "--data", "data/tiny", "--model", "mlp") == plan
    assert planned(wukong, "--data", dataset / "tiny", "--model", "mlp") == plan
    assert planned(wukong, "two.yaml", "--set", "defaults=fixed") != plan


def test_overrides_and_seeds_work_without_a_recipe(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_LINES)
    assert planned(wukong, *MLP, *SMALL, "--seed", 3) == planned(wukong, "two.yaml", *SMALL, "--seed", 3)
    plans = planned(wukong, *MLP, "--seeds", 2)
    assert [plan["run"] for plan in plans] == [
        planned(wukong, "two.yaml", "--seed", seed)["run"] for seed in (0, 1)
    ]


def test_saved_recipe_maps_to_its_run_after_rules_change(
    wukong: Wukong, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `logit_scale: 1.0` is not written: a rule must not fill it in for a saved recipe.
    trained = wukong("train", *MLP, *SMALL, "--set", "model.logit_scale=1.0", "--json").json
    saved = tmp_path / trained["run"] / "recipe.yaml"
    assert "logit_scale" not in saved.read_text()
    old = tmp_path / "old.yaml"  # as older versions wrote it
    old.write_text(saved.read_text().replace("defaults: fixed\n", ""))
    assert old.read_text() != saved.read_text()
    for key in ("WIDTH", "EPOCHS", "PATIENCE", "SMALLEST_BATCH"):
        monkeypatch.setattr(defaults, key, getattr(defaults, key) * 2)
    assert wukong("train", saved, "--json").json == trained
    assert wukong("train", old, "--json").json == trained
    assert json.loads((tmp_path / trained["run"] / "run.json").read_text())["recipe"]["model"]["width"] == 16


def test_sweep_fills_keys_that_its_recipes_omit(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_LINES)
    (tmp_path / "sweep.yaml").write_text(
        "name: sizes\nladders: [{recipe: two.yaml, sizes: [{model.width: 2}, {model.width: 3, epochs: 1}]}]\n"
    )
    plan = wukong("sweep", "sweep.yaml", "--dry-run", "--json").json
    assert [entry["examples"] for entry in plan["entries"]] == [8 * 800, 800]


def test_flops_and_bench_count_what_train_would_train(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO_LINES)
    (report,) = wukong("flops", "two.yaml", "--json").json
    assert report["gflop_per_example"] == planned(wukong, *MLP)["gflop_per_example"]
    solved = wukong("recipes", "init", "tiny", "--json").json["recipe"]
    (tmp_path / "wukong.yaml").write_text(solved)
    found = wukong("flops", "wukong.yaml", "--solve", "gflop=0.002")
    (tmp_path / "solved.yaml").write_text(found.out)
    assert "defaults: fixed" in found.out
    (solved_report,) = wukong("flops", "solved.yaml", "--json").json
    assert 0.0019 < solved_report["gflop_per_example"] <= 0.002


def test_flops_warns_of_sizes_that_depend_on_the_data(
    wukong: Wukong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.yaml").write_text(TWO_LINES.replace("tiny", "frappe").replace("wukong", "mlp"))
    assert wukong("flops", "two.yaml").err == ""
    monkeypatch.setattr(defaults, "WIDTH", 8)
    assert "omits `model.width`" in wukong("flops", "two.yaml").err


def test_recipes_init_gives_a_reason_for_every_choice(wukong: Wukong, dataset: Path) -> None:
    result = wukong("recipes", "init", "tiny", "--json").json
    assert set(result) == {"dataset", "model", "recipe", "choices"}
    lines = result["recipe"].splitlines()
    assert lines[0].startswith("# wukong on tiny, ")
    assert lines[1] == "# wukongctl train tiny-wukong.yaml"
    for choice in result["choices"]:
        (line,) = [line for line in lines if line.endswith(f"# {choice['reason']}")]
        assert line.strip().startswith(f"{choice['key'].split('.')[-1]}: ")
    assert "  # 13 updates per pass" in result["recipe"]
    assert wukong("recipes", "init", "tiny").out == result["recipe"]


def test_model_without_default_rules_is_trained_the_same_way(
    wukong: Wukong, dataset: Path, tmp_path: Path
) -> None:
    written = wukong("recipes", "init", "tiny", "--model", "lightgbm").out
    assert written.splitlines()[2:] == ["data: tiny", "model:", "  name: lightgbm"]
    (tmp_path / "trees.yaml").write_text(written)
    assert planned(wukong, "trees.yaml") == planned(wukong, "--data", "tiny", "--model", "lightgbm")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a recipe, or a prepared dataset and a model"),
        (("--data", "tiny"), "`--data` without a recipe needs `--model`"),
        (("--model", "mlp"), "`--model` without a recipe needs `--data NAME`"),
        (("--data", "data", "--model", "mlp"), "`data` is a folder of prepared datasets"),
        (("mine.yaml", "--model", "mlp"), "`--model` cannot be used with a recipe"),
        (("mine.yaml", "--data", "data/tiny"), "`data/tiny` is a prepared dataset"),
        (("mine.yaml", "--data", "tiny"), "`tiny` is a prepared dataset"),
        (("--data", "tiny", "--model", "mpl"), "--data tiny --model mpl: `model.name` is `mpl`"),
    ],
)
def test_missing_or_conflicting_sources_are_rejected_with_a_hint(
    wukong: Wukong, recipe: Path, words: tuple[str, ...], message: str
) -> None:
    result = wukong("train", *words)
    assert result.code == 2
    assert message in result.err
    assert "hint:" in result.err or "did you mean `mlp`?" in result.err


def test_problems_without_a_recipe_name_the_option(wukong: Wukong, dataset: Path) -> None:
    batch = ("--set", "model.batch_norm=true", "--set", "batch_size=799")
    result = wukong("train", *MLP, *batch)
    assert (result.code, result.err.startswith("--set batch_size=799: `batch_norm` needs two rows")) == (
        2,
        True,
    )
    assert wukong("train", *MLP, "--set", "model.batch_norm=true", "--dry-run").code == 0
