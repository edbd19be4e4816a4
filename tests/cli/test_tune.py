"""`wukongctl tune` from the command line; tests/sweep tests the trials."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong


def test_dry_run_prints_space_and_budget_and_writes_nothing(
    wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    shown = wukong("tune", recipe, "--dry-run", "--set", "model.layers=1")
    assert shown.code == 0
    assert re.search(r"optimizer\.dense\.lr +0\.001 +0\.0001\.\.0\.03 \(log\)", shown.out)
    assert "model.layers" not in shown.out
    assert "30 trials for each recipe, chosen by valid auc; then 3 seeds of the best" in shown.out
    assert "wukong: 2 evaluations per run, too few to prune" in shown.out
    plan = wukong("tune", recipe, "--dry-run", "--json", "--seconds", 60, "--seeds", 2).json
    assert (plan["sweep"], plan["trials"], plan["seconds"]) == ("tune-tiny-wukong", None, 60)
    assert plan["seeds"] == [0, 1]
    (one,) = plan["recipes"]
    assert (one["name"], one["metric"], one["evaluations"]) == ("wukong", "valid auc", 2)
    assert one["space"]["model.layers"] == {"own": 1, "range": "1, 2, 3, 4"}
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.usefixtures("in_process")
def test_tune_reports_and_writes_the_best_recipe(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    words = ("tune", recipe, "--trials", 2, "--seeds", 1, "--set", "epochs=1", "--jobs", 2)
    first = wukong(*words, "--json")
    assert (first.code, first.err) == (0, "")
    assert set(first.json) >= {"sweep", "status", "seeds", "counts", "seconds", "entries", "path", "best"}
    assert first.json["counts"] == {"complete": 3, "pruned": 0, "diverged": 0, "failed": 0, "total": 3}
    (entry,) = first.json["entries"]
    assert set(entry["budget"]) >= {"trials", "pruned", "seed", "seconds", "chosen_on"}
    assert set(entry["metrics"]) == {"valid", "test"}
    best = tmp_path / first.json["best"]["wukong"]
    typed = f"wukongctl tune {recipe} --trials 2 --seeds 1 --set epochs=1 --jobs 2 --json"
    assert f"# {typed}\n" in best.read_text()
    assert wukong("recipes", "check", best).code == 0
    again = wukong(*words)
    assert again.code == 0
    assert "[" not in again.err.replace("[few_", "")  # nothing ran
    assert re.search(r"^ wukong +2 \(0\) ", again.out, re.MULTILINE)
    assert f"best recipe: {best.relative_to(tmp_path)}" in again.out
    listed = wukong("runs", "ls", "sweeps/tune-tiny-wukong/trials", "--json").json
    assert [row["status"] for row in listed] == ["complete", "complete"]
    assert all(row["metrics"] == {} for row in listed)  # the test split was not evaluated
    assert wukong("compare", "sweeps/tune-tiny-wukong", "--json").code == 0


@pytest.mark.usefixtures("in_process")
def test_divergence_of_all_trials_is_a_failure_with_a_hint(wukong: Wukong, recipe: Path) -> None:
    failed = wukong("tune", recipe, "--trials", 1, "--set", "optimizer.dense.lr=1e30", "--quiet")
    assert failed.code == 1
    assert "no trial of `wukong` finished: all of them diverged" in failed.err


def test_tune_needs_optuna(wukong: Wukong, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused = wukong("tune", recipe)
    assert refused.code == 2
    assert (
        "error: `tune` needs the extra `tune`: `optuna` is not installed\nhint: run `pip inst" in refused.err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--space", "model.width"), "`--space model.width` is neither a range nor a list of values"),
        (("--space", "model.widht=[8, 16]"), "--space model.widht=[8, 16]: unknown key `widht`"),
        (("--set", "model.widht=8"), "--set model.widht=8: unknown key `widht`"),
        (("--trials", "0"), "invalid value for '--trials'"),
    ],
)
def test_problems_have_positions(wukong: Wukong, recipe: Path, words: tuple[str, ...], message: str) -> None:
    refused = wukong("tune", recipe, *words)
    assert refused.code == 2
    assert message in refused.err


@pytest.mark.slow
def test_finished_trials_survive_a_kill(recipe: Path, tmp_path: Path) -> None:
    """SIGKILL to the group in the third trial, then the same command; compared with an undisturbed one."""
    words = ["tune", str(recipe), "--trials", "4", "--seeds", "1", "--json"]
    command = [sys.executable, "-m", "wukongctl", *words]
    folder = tmp_path / "sweeps/tune-tiny-wukong"
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(folder.glob("trials/*/result.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
    assert len(finished) >= 2
    time.sleep(10)  # the running trial is not our child process; it ends by itself
    resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    apart = [*command, "--out", "peace"]
    peace = subprocess.run(apart, cwd=tmp_path, capture_output=True, text=True, check=True)
    ours, theirs = (json.loads(run.stdout)["entries"][0]["trials"] for run in (resumed, peace))
    assert [(t["setting"], t["value"]) for t in ours] == [(t["setting"], t["value"]) for t in theirs]
