"""`train --seeds`: one run per seed, and their mean and standard deviation."""

import os
import signal
import statistics
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong
from wukongctl.training.loop import Trainer


def test_seeds_trains_one_run_per_seed_and_summarizes_them(
    wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    found = wukong("train", recipe, "--seed", 5, "--seeds", 3, "--json").json
    assert found["seeds"] == [run["seed"] for run in found["runs"]] == [5, 6, 7]
    alone = wukong("train", recipe, "--seed", 6, "--out", "alone", "--json").json
    assert found["runs"][1]["metrics"] == alone["metrics"]
    assert Path(found["runs"][1]["run"]).name == Path(alone["run"]).name
    values = [run["metrics"]["test"]["auc"] for run in found["runs"]]
    assert len(set(values)) == 3
    cell = found["metrics"]["test"]["auc"]
    assert cell == {"mean": statistics.fmean(values), "sd": statistics.stdev(values), "n": 3}
    assert found["seconds"] == pytest.approx(sum(run["seconds"] for run in found["runs"]))
    assert len(list((tmp_path / "runs").iterdir())) == 3
    assert {warning["code"] for run in found["runs"] for warning in run["warnings"]} >= {"few_updates"}
    said = wukong("train", recipe, "--seed", 5, "--seeds", 3).err
    assert said.count("[few_updates]") == 1
    assert "warning: 3 of 3 runs: the whole run made only 16 updates" in said


def test_complete_seeds_are_skipped_and_interrupted_ones_resume(
    wukong: Wukong, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wukong("train", recipe, "--seeds", 3, "--resume").code == 2
    straight = wukong("train", recipe, "--seeds", 3, "--out", "elsewhere", "--json").json
    step = Trainer._after_step

    def interrupted(self: Trainer) -> None:
        step(self)
        if self.recipe.seed == 1 and self.position.step == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_after_step", interrupted)
        assert wukong("train", recipe, "--seeds", 3).code == 143
    result = wukong("train", recipe, "--seeds", 3, "--resume")
    assert result.code == 0
    assert result.err.count("already complete") == 1
    assert "[3/3] seed 2: valid LogLoss 0." in result.err
    assert "mean ± sd" in result.out
    again = wukong("train", recipe, "--seeds", 3, "--json").json
    assert again["metrics"] == straight["metrics"]


def test_diverged_seed_is_recorded_and_the_others_continue(
    wukong: Wukong, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._step

    def broken(self: Trainer, batch: object) -> None:
        if self.recipe.seed == 1:
            self._fail_diverged("loss is nan")
        step(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", broken)
    result = wukong("train", recipe, "--seeds", 3, "--json")
    assert result.code == 1
    assert "1 of 3 runs diverged, the first with: loss is nan at step 0" in result.error["message"]
    assert [run["status"] for run in result.json["runs"]] == ["complete", "diverged", "complete"]
    assert result.json["metrics"]["test"]["auc"]["n"] == 2
    shown = wukong("train", recipe, "--seeds", 3)
    assert (shown.code, shown.out.count("diverged")) == (1, 1)


def test_a_dry_run_of_seeds_lists_their_folders(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    plans = wukong("train", recipe, "--seeds", 2, "--dry-run", "--json").json
    assert len({plan["run"] for plan in plans}) == 2
    assert wukong("train", recipe, "--seeds", 2, "--dry-run").out.count("would train") == 2
    assert not (tmp_path / "runs").exists()


def test_seeds_beyond_the_maximum_are_rejected_before_training(
    wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    assert wukong("train", recipe, "--seed", 2**63 - 1, "--seeds", 2).code == 2
    assert wukong("train", recipe, "--seeds", 0).code == 2
    assert not (tmp_path / "runs").exists()
