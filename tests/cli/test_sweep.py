"""`wukongctl sweep` from the command line; tests/sweep tests the runs."""

import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

SWEEP = """\
name: study
seeds: [0, 1]
search: {grid: {optimizer.dense.lr: [1e-2, 1e30]}}
ladders: [{recipe: mine.yaml}]
"""


@pytest.fixture
def sweep(recipe: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.mark.usefixtures("in_process")
def test_sweep_chooses_runs_and_is_complete_the_second_time(wukong: Wukong, sweep: Path) -> None:
    first = wukong("sweep", sweep, "--jobs", 2, "--json")
    assert (first.code, first.err) == (0, "")
    assert set(first.json) >= {"sweep", "status", "seeds", "counts", "seconds", "entries", "path"}
    assert first.json["counts"] == {"complete": 3, "diverged": 1, "failed": 0, "pruned": 0, "total": 4}
    (entry,) = first.json["entries"]
    assert entry["chosen"]["setting"] == {"optimizer.dense.lr": 0.01}
    again = wukong("sweep", sweep, "--resume")
    assert again.code == 0
    assert "3 complete, 1 diverged, 0 failed of 4 runs" in again.out
    assert "/4]" not in again.err  # nothing ran
    assert "warning: 2 of 2 runs (wukong): the whole run made only 16 updates" in again.err
    assert all(run["warnings"][0]["code"] == "few_updates" for run in entry["runs"])
    assert "4 runs, 4 done, 0 to train; 0 GFLOP" in wukong("sweep", sweep, "--dry-run").out
    more = SWEEP.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")
    sweep.write_text(more)
    plan = wukong("sweep", sweep, "--dry-run", "--json").json
    assert (plan["complete"], plan["entries"][0]["trained"]) == (4, 1)
    sweep.write_text(more.replace("[1e-2, 1e30]", "[1e-2, 1e30, 2e-2]"))
    plan = wukong("sweep", sweep, "--dry-run", "--json").json
    assert (plan["complete"], plan["entries"][0]["trained"]) == (2, 3)  # the best trial has runs left
    listed = wukong("runs", "ls", "sweeps/study/runs", "--json").json
    assert {row["status"] for row in listed} == {"complete"}
    assert sorted(row["seed"] for row in listed) == [0, 1]


@pytest.mark.usefixtures("in_process")
def test_lines_off_a_terminal_tell_what_is_running(
    wukong: Wukong, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wukongctl.cli.progress.PLAIN_INTERVAL_SECONDS", 0.0)
    lines = wukong("sweep", sweep, "--jobs", 2).err.splitlines()
    assert re.fullmatch(r"sweep: 0% after \d+ s, 2 running, first wukong", lines[0])
    later = r"sweep: \d+% after \d+ s(, \d+ s left)?, \d running, first wukong"
    assert any(re.fullmatch(later, line) for line in lines)


@pytest.mark.usefixtures("no_plots")
@pytest.mark.usefixtures("in_process")
def test_runs_of_an_earlier_version_are_named_and_left_out(wukong: Wukong, sweep: Path) -> None:
    sweep.write_text("name: study\nladders: [{recipe: mine.yaml}]\n")
    assert wukong("sweep", sweep).code == 0
    sweep.write_text("name: study\nladders: [{recipe: mine.yaml, sizes: [{batch_size: 400}]}]\n")
    edited = wukong("sweep", sweep)
    assert edited.code == 0
    assert "`sweeps/study/runs` also contains 1 run of an earlier version of this sweep" in edited.err
    assert "next: wukongctl scale-report sweeps/study\n" in edited.out
    listed = wukong("runs", "ls", "sweeps/study/runs", "--json").json
    assert len(listed) == 2
    report = wukong("scale-report", "sweeps/study", "--json").json
    (entry,) = wukong("sweep", sweep, "--json").json["entries"]
    points = [f"runs/{point['run']}" for curve in report["curves"] for point in curve["points"]]
    assert points == [run["run"] for run in entry["runs"]]


def test_dry_run_prints_the_cost_and_writes_nothing(wukong: Wukong, sweep: Path, tmp_path: Path) -> None:
    plan = wukong("sweep", sweep, "--dry-run", "--json")
    assert plan.code == 0
    (entry,) = plan.json["entries"]
    counted = wukong("flops", "mine.yaml", "--json").json[0]
    assert entry["gflop_per_example"] == counted["gflop_per_example"]
    assert entry["params"] == counted["params"]
    assert (entry["trials"], entry["runs"], entry["trained"], entry["examples"]) == (2, 2, 3, 1600)
    assert plan.json["total_gflop"] == pytest.approx(entry["gflop_per_example"] * 1600 * 3)
    assert plan.json["seconds"] > 0
    assert plan.json["total"] == 4  # as many as the real sweep counts
    assert "4 runs, 3 to train, 1 copied from the search" in wukong("sweep", sweep, "--dry-run").out
    sweep.write_text(SWEEP + "set: {threads: 1}\n")
    assert "1 at a time on 1 thread each" in wukong("sweep", sweep, "--dry-run").out
    assert not (tmp_path / "sweeps").exists()


def test_resume_requires_an_earlier_sweep(wukong: Wukong, sweep: Path) -> None:
    result = wukong("sweep", sweep, "--resume")
    assert result.code == 2
    assert "there is no sweep to resume in `sweeps/study`" in result.err


def test_problems_have_positions(wukong: Wukong, sweep: Path) -> None:
    sweep.write_text(SWEEP.replace("dense.lr", "dense.rate"))
    for command in (("recipes", "check"), ("sweep",)):
        result = wukong(*command, "sweep.yaml")
        assert result.code == 2
        assert "sweep.yaml:3:17: unknown key `rate`" in result.err


def test_mismatch_of_model_and_data_is_reported_before_training(
    wukong: Wukong, sweep: Path, tmp_path: Path
) -> None:
    sweep.write_text("""\
name: study
ladders:
  - recipe: mine.yaml
    sizes:
      - model.embeddings_per_feature: {c1: 2}
      - model.embeddings_per_feature: {c99: 2}
  - {recipe: mine.yaml, name: other, set: {"model": {name: finalmlp, selection: {context1: ["d*"]}}}}
""")
    for option in ((), ("--dry-run",)):
        found = wukong("sweep", sweep, *option)
        assert (found.code, found.out) == (2, "")
        assert f"{sweep}:6:9: the model names `c99`, which is not a feature of the data" in found.err
        assert f"{sweep}:7:44: the model names `d*`, which matches no feature of the data" in found.err
        assert found.err.endswith(f"error: 2 problems in `{sweep}`\n")
    sweep.write_text("""\
name: study
set: {"model": {name: mlp, hidden: [4], batch_norm: true}}
ladders:
  - {recipe: mine.yaml, sizes: [{}, {batch_size: 799}]}
""")
    found = wukong("sweep", sweep)
    assert f"{sweep}:4:38: `batch_norm` needs two rows in every piece of a batch, and 800 rows" in found.err
    assert not (tmp_path / "sweeps").exists()


def test_problem_of_a_size_has_the_position_of_the_size(wukong: Wukong, sweep: Path, tmp_path: Path) -> None:
    """Not of the base recipe, which is valid by itself."""
    base = tmp_path / "mine.yaml"
    base.write_text(base.read_text().replace("layers: 1, n_F: 2", "layers: 2, n_F: [2, 3]"))
    sweep.write_text(
        "name: study\nset: {schedule.decay: plateau}\nladders:\n"
        "  - {recipe: mine.yaml, sizes: [{model.layers: 3}, {epochs: 1}]}\n"
    )
    found = wukong("sweep", sweep)
    assert f"{sweep}:4:34: `n_F` has 2 entries but `layers` is 3" in found.err
    assert f"{sweep}:2:7: `schedule.decay: plateau` needs several epochs" in found.err


def test_runs_save_checkpoints_on_a_signal(wukong: Wukong, sweep: Path, tmp_path: Path) -> None:
    """With a separate process for the run."""

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("sweeps/study/trials/*/metrics.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(interrupt)
        stopped = wukong("sweep", sweep, "--set", "set.epochs=20000", "--jobs", 1)
        waiting.result()
    assert stopped.code == 143
    assert "error: stopped with 0 of 4 runs done" in stopped.err
    (saved,) = tmp_path.glob("sweeps/study/trials/*/checkpoints/step-*.pt")
    assert json.loads((saved.parents[1] / "run.json").read_text())["seed"] == 0
    assert not (saved.parents[1] / "result.json").exists()


@pytest.mark.slow
def test_a_process_per_run(wukong: Wukong, sweep: Path, tmp_path: Path) -> None:
    found = wukong("sweep", sweep, "--jobs", 2, "--json")
    assert (found.code, found.err) == (0, "")
    assert found.json["counts"] == {"complete": 3, "diverged": 1, "failed": 0, "pruned": 0, "total": 4}
    assert len(list(tmp_path.glob("sweeps/study/runs/*/result.json"))) == 2
