"""gAUC by the group of a recipe or an option, in train, evaluate, compare and runs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from tests.cli.conftest import Wukong
from wukongctl.training.metrics import COMPARED


def by_hand(data: Path, predictions: Path, column: str) -> float:
    """By definition: the mean AUC of groups with both classes, weighted by rows."""
    groups = pq.read_table(data / "tiny" / "test", columns=[column])[column].to_numpy()
    kept = pq.read_table(predictions)
    labels, scores = kept["label"].to_numpy(), kept["logit"].to_numpy()
    total = weight = 0.0
    for group in np.unique(groups):
        inside = groups == group
        if 0 < labels[inside].mean() < 1:
            total += inside.sum() * roc_auc_score(labels[inside], scores[inside])
            weight += inside.sum()
    return total / weight


def test_a_group_in_the_recipe_shows_gauc_everywhere(
    wukong: Wukong, recipe: Path, dataset: Path, tmp_path: Path
) -> None:
    trained = wukong("train", recipe, "--set", "group=c0", "--json").json
    gauc = trained["metrics"]["test"]["gauc"]
    run = tmp_path / trained["run"]
    found = wukong("evaluate", run, "--predictions", "p.parquet", "--json").json
    assert found["gauc"] == gauc == pytest.approx(by_hand(dataset, tmp_path / "p.parquet", "c0"), abs=1e-9)
    other = wukong("evaluate", run, "--group", "c1", "--json").json["gauc"]
    assert other == pytest.approx(by_hand(dataset, tmp_path / "p.parquet", "c1"), abs=1e-9) != gauc
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all("gauc" in line for line in lines if line["split"] == "valid")
    (row,) = wukong("compare", "runs", "--by", "gauc", "--json").json["models"]
    assert row["metrics"]["gauc"]["mean"] == pytest.approx(gauc, abs=1e-12)
    assert f"{gauc:.5f}" in wukong("runs", "ls").out
    assert all("gAUC" in wukong(*command).out for command in (("runs", "ls"), ("compare", "runs")))
    assert "gAUC" in wukong("train", recipe, "--set", "group=c0").out
    seeds = wukong("train", recipe, "--set", "group=c0", "--seeds", 2, "--json").json
    assert seeds["metrics"]["test"]["gauc"]["n"] == 2


def test_without_a_group_nothing_changes_and_compare_can_name_one(wukong: Wukong, recipe: Path) -> None:
    plain = wukong("train", recipe, "--json").json
    assert "gauc" not in plain["metrics"]["test"]
    assert "group" not in json.loads((Path(plain["run"]) / "run.json").read_text())["recipe"]
    assert "gAUC" not in wukong("runs", "ls").out + wukong("compare", "runs").out
    wukong("train", recipe, "--set", "model={name: mlp, hidden: [8]}", "--json")
    board = wukong("compare", "runs", "--group", "c0", "--by", "gauc", "--json").json
    best, other = (model["metrics"]["gauc"]["mean"] for model in board["models"])
    assert best >= other
    expected = wukong("evaluate", plain["run"], "--group", "c0", "--json").json["gauc"]
    assert expected == pytest.approx(best if board["models"][0]["name"] == "tiny-wukong" else other)
    unnamed = wukong("compare", "runs", "--by", "gauc")
    assert unnamed.code == 2
    assert unnamed.err == (
        "error: there is no gAUC of `test`: there is no column to group by\n"
        "hint: name one with `--group`, such as the user\n"
    )
    assert "no categorical column `c9`" in wukong("compare", "runs", "--group", "c9").err


def test_unknown_group_is_reported_with_its_line_before_training(wukong: Wukong, recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "group: c99\n")
    for options in ((), ("--dry-run",)):
        failed = wukong("train", recipe, *options)
        assert failed.code == 2
        assert "mine.yaml:7:1: `tiny` has no categorical column `c99` to group by" in failed.err
    assert not list(Path("runs").glob("*/run.json"))


def test_compare_takes_every_metric_that_runs_are_compared_by(wukong: Wukong) -> None:
    for metric in COMPARED:
        assert "there is no `nowhere`" in wukong("compare", "nowhere", "--by", metric.name).err
    failed = wukong("compare", "nowhere", "--by", "f1")
    assert failed.code == 2
    assert "'f1' is not one of 'auc', 'gauc', 'logloss', 'excess_logloss'" in failed.err
