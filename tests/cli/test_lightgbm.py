"""LightGBM among networks: every command accepts its runs, or says why not."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

pytest.importorskip("lightgbm")


@pytest.fixture
def trees(recipe: Path, tmp_path: Path) -> Path:
    """A recipe for LightGBM on the dataset `tiny`."""
    path = tmp_path / "trees.yaml"
    path.write_text("data: tiny\nmodel: {name: lightgbm, num_iterations: 8, num_leaves: 4}\nthreads: 1\n")
    return path


@pytest.fixture
def runs(wukong: Wukong, recipe: Path, trees: Path) -> tuple[str, str]:
    """A Wukong and LightGBM."""
    made = [wukong("train", path, "--json").json["run"] for path in (recipe, trees)]
    return made[0], made[1]


def test_training_shows_trees_and_no_flops(wukong: Wukong, trees: Path) -> None:
    shown = wukong("train", trees)
    assert shown.code == 0
    assert "lightgbm: 800 examples in " in shown.out
    assert ", 8 trees, best step 8" in shown.out
    assert "MFU" not in shown.out
    again = wukong("train", trees)
    assert "already complete" in again.err
    said = wukong("train", trees, "--json").json
    assert said["gflop_per_example"] is said["mfu"] is None
    assert said["params"] == {"dense": None, "embedding": None}


def test_a_dry_run_counts_trees(wukong: Wukong, trees: Path) -> None:
    assert "up to 8 trees on 800 examples" in wukong("train", trees, "--dry-run").out
    plan = wukong("train", trees, "--dry-run", "--json").json
    assert (plan["steps"], plan["gflop_per_example"], plan["total_gflop"]) == (8, None, None)


def test_lightgbm_is_compared_in_pairs(wukong: Wukong, runs: tuple[str, str]) -> None:
    board = wukong("compare", *runs, "--against", "tiny-lightgbm", "--json").json
    models = {model["name"]: model for model in board["models"]}
    assert models["tiny-lightgbm"]["gflop_per_example"] is None
    assert models["tiny-lightgbm"]["dense_params"] is None
    difference = models["tiny-wukong"]["differences"]["auc"]
    aucs = {name: model["metrics"]["auc"]["mean"] for name, model in models.items()}
    assert difference["value"] == pytest.approx(aucs["tiny-wukong"] - aucs["tiny-lightgbm"])
    assert difference["interval"][0] < difference["value"] < difference["interval"][1]
    shown = wukong("compare", *runs).out
    assert re.search(r"^ *tiny-lightgbm +1 +– ", shown, re.MULTILINE), shown
    assert "| tiny-lightgbm | 1 | – |" in wukong("compare", *runs, "--markdown").out


def test_lightgbm_is_listed(wukong: Wukong, runs: tuple[str, str]) -> None:
    rows = {row["model"]: row for row in wukong("runs", "ls", "--json").json}
    assert (rows["lightgbm"]["status"], rows["lightgbm"]["gflop_per_example"]) == ("complete", None)
    (line,) = [line for line in wukong("runs", "ls").out.splitlines() if "lightgbm" in line]
    assert line.split()[1:5] == ["tiny", "complete", "0", "–"]
    assert "name: lightgbm" in wukong("runs", "show", runs[1]).out


@pytest.mark.usefixtures("no_plots")
def test_scale_report_leaves_lightgbm_out_with_a_note(wukong: Wukong, runs: tuple[str, str]) -> None:
    shown = wukong("scale-report", "runs")
    assert shown.code == 0
    assert f"skipped `{runs[1]}`, which has no FLOPs" in shown.err
    report = wukong("scale-report", "runs", "--json").json
    assert [curve["model"] for curve in report["curves"]] == ["wukong"]
    assert report["without_flops"] == [runs[1]]
    alone = wukong("scale-report", runs[1])
    assert alone.code == 2
    assert "no run has FLOPs" in alone.err


def test_lightgbm_has_no_flops(wukong: Wukong, recipe: Path, trees: Path) -> None:
    alone = wukong("flops", trees)
    assert alone.code == 2
    assert "has no matrix products" in alone.err
    both = wukong("flops", trees, recipe)
    assert both.code == 0
    assert f"skipped `{trees}`" in both.err
    assert len(wukong("flops", trees, recipe, "--json").json) == 1


def test_bench_rejects_lightgbm(wukong: Wukong, trees: Path) -> None:
    timed = wukong("bench", trees)
    assert timed.code == 2
    assert "no steps to time" in timed.err


def test_lightgbm_is_evaluated_but_not_exported(wukong: Wukong, runs: tuple[str, str]) -> None:
    found = wukong("evaluate", runs[1], "--predictions", "p.parquet", "--group", "c0", "--json").json
    assert 0 < found["gauc"] < 1
    assert found["auc_ci"][0] < found["auc"] < found["auc_ci"][1]
    refused = wukong("export", runs[1])
    assert refused.code == 2
    assert "lightgbm.Booster(model_file=" in refused.err


def test_seeds_are_runs_of_one_row(wukong: Wukong, trees: Path) -> None:
    bags = ("--set", "model.bagging_fraction=0.5", "--set", "model.bagging_freq=1")
    found = wukong("train", trees, *bags, "--seeds", 2, "--json").json
    assert found["gflop_per_example"] is None
    assert found["metrics"]["test"]["auc"]["sd"] > 0
    assert "mean ± sd" in wukong("train", trees, *bags, "--seeds", 2).out


SWEEP = """\
name: both
ladders:
  - recipe: mine.yaml
  - recipe: trees.yaml
"""
SEARCH = "    search: {grid: {model.num_leaves: [3, 6]}}\n"


@pytest.mark.usefixtures("no_plots")
@pytest.mark.usefixtures("in_process")
def test_a_sweep_of_both(wukong: Wukong, recipe: Path, trees: Path, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(SWEEP + SEARCH)
    plan = wukong("sweep", "search.yaml", "--dry-run", "--json").json
    network, forest = plan["entries"]
    assert (forest["gflop_per_example"], forest["trials"]) == (None, 2)
    assert forest["seconds"] > 0
    assert forest["bytes"] == 800 * 8 * 5  # a float and a bin per cell
    assert plan["total_gflop"] == network["gflop_per_example"] * network["examples"]
    assert " – " in wukong("sweep", "search.yaml", "--dry-run").out
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    done = wukong("sweep", "sweep.yaml", "--json").json
    assert done["counts"] == {"complete": 2, "pruned": 0, "diverged": 0, "failed": 0, "total": 2}
    assert done["entries"][1]["gflop_per_example"] is None
    assert wukong("scale-report", "sweeps/both").code == 0


def test_sweep_without_the_extra_trains_nothing(
    wukong: Wukong, recipe: Path, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    for command in ("sweep", "sweep.yaml"), ("train", trees), ("train", trees, "--dry-run"):
        refused = wukong(*command, "--json")
        assert refused.code == 2
        assert refused.error["message"].startswith("model `lightgbm` needs the extra `gbdt`")
        assert "pip install" in refused.error["hint"]
    assert not list(tmp_path.glob("runs/*"))
    assert not list(tmp_path.glob("sweeps/*/*/*"))


def test_problems_have_lines(wukong: Wukong, trees: Path) -> None:
    trees.write_text(trees.read_text() + "epochs: 3\n")
    said = wukong("train", trees, "--json").error["problems"]
    assert [(problem["line"], problem["column"]) for problem in said] == [(4, 1)]
    assert "`model.num_iterations`" in json.dumps(said)
