"""A run that is interrupted anywhere ends with the same bits as one that is not."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import RunFailed, UsageError
from wukongctl.training import checkpoint, hardware
from wukongctl.training.finished_run import open_run
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.plan import total_steps
from wukongctl.training.train import CompleteRun, train
from wukongctl.training.update import Update

DATASET = {
    "name": "tiny",
    "description": "planted clicks",
    "generator": {"rows": 1500, "fields": 8},
    "rows": "SELECT *, p * 2 AS x FROM synthetic",
    "split": {"by": "order", "ratio": {"train": 3, "valid": 1, "test": 1}},
    "label": "label",
    "probability": "p",
    "features": [
        {"type": "categorical", "columns": [f"c{i}" for i in range(8)]},
        {"type": "numeric", "columns": ["x"], "standardize": False},
    ],
}
RECIPE: dict[str, Any] = {
    "data": "tiny",
    "model": {"name": "wukong", "width": 4, "layers": 2, "n_F": 2, "n_L": 2, "k": 3, "hidden": [8],
              "bottom": [4], "head": [8], "dropout": 0.2},
    "batch_size": 64,
    "epochs": 3,
    "schedule": {"warmup": 0.1, "decay": "plateau"},
    "early_stopping": {"metric": "auc", "patience": 3},
    "evaluate_every": 7,
    "checkpoint": {"every_steps": 4},
    "threads": 1,
}  # fmt: skip
OPTIMIZERS = {
    "rowwise_adagrad": {"dense": {"lr": 1e-2}, "embedding": {"lr": 5e-2}},
    "adam": {"dense": {"lr": 1e-2}, "embedding": {"name": "adam", "lr": 1e-2, "l2": 0.01}, "clip_norm": 1.0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(DatasetSpec.from_dict(DATASET), Options(folder, out=folder))
    return folder


def recipe(**changes: object) -> TrainingSpec:
    return TrainingSpec.from_dict(RECIPE | changes)


def silent(progress: TrainingProgress) -> None:
    assert progress.step <= progress.steps


def weights(outcome: CompleteRun) -> dict[str, torch.Tensor]:
    return checkpoint.load(outcome.folder / "checkpoints" / "best.pt")["model"]


def assert_same_run(one: CompleteRun, other: CompleteRun) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert one.result.metrics == other.result.metrics
    assert (one.folder / "metrics.jsonl").read_bytes() == (other.folder / "metrics.jsonl").read_bytes()


Straight = Callable[[TrainingSpec], CompleteRun]


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """Runs that nothing interrupted, each trained once; to read, not to write."""
    out, runs = tmp_path_factory.mktemp("straight"), dict[str, CompleteRun]()

    def run(spec: TrainingSpec) -> CompleteRun:
        if spec.digest() not in runs:
            runs[spec.digest()] = train(spec, data=data, out=out, report=silent)
        return runs[spec.digest()]

    return run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_recipe_and_seed_same_bits(
    data: Path, tmp_path: Path, straight: Straight, optimizer: str
) -> None:
    spec = recipe(optimizer=OPTIMIZERS[optimizer])
    first, again = straight(spec), train(spec, data=data, out=tmp_path, report=silent)
    assert_same_run(first, again)
    other = train(spec.model_copy(update={"seed": 1}), data=data, out=tmp_path, report=silent)
    assert other.folder != again.folder
    assert other.result.metrics != again.result.metrics


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stops", [(1,), (9,), (3, 14, 15, 23), (30,)])
def test_interrupted_run_ends_with_the_same_bits(
    data: Path, tmp_path: Path, straight: Straight, optimizer: str, stops: tuple[int, ...]
) -> None:
    spec = recipe(optimizer=OPTIMIZERS[optimizer])
    for stop in stops:

        def cut(progress: TrainingProgress, stop: int = stop) -> None:
            if progress.step >= stop:
                raise ConnectionAbortedError  # not handled in the loop: as abrupt as a kill

        with pytest.raises(ConnectionAbortedError):
            train(spec, data=data, out=tmp_path / "cut", report=cut)
    resumed = train(spec, data=data, out=tmp_path / "cut", report=silent)
    assert_same_run(straight(spec), resumed)


def test_learning_rates_and_speed_are_logged(data: Path, tmp_path: Path) -> None:
    spec = recipe(
        epochs=2,
        schedule={"warmup": 0.5, "decay": "linear"},
        optimizer={"dense": {"lr": 0.03}},
        early_stopping={},
    )

    def cut(progress: TrainingProgress) -> None:
        if progress.step == 20:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(spec, data=data, out=tmp_path, report=cut)
    outcome = train(spec, data=data, out=tmp_path, report=silent)
    lines = [json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["dense_lr"] for line in lines if line["split"] == "train"}
    rising = {step: 0.03 * step / 15 for step in range(1, 16)}  # 30 steps of 64 of 900 rows
    falling = {step: 0.03 * (1 - (step - 16) / 15) for step in range(16, 31)}
    assert rates == pytest.approx(rising | falling)
    speed = [json.loads(line) for line in (outcome.folder / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in speed[:20]] == list(range(1, 21))
    assert [line["step"] for line in speed[-10:]] == list(range(21, 31))
    assert (speed[-1]["examples"], speed[14]["examples"]) == (1800, 900)
    assert 0 < speed[0]["train_seconds"] < speed[19]["train_seconds"]
    again = train(spec, data=data, out=tmp_path, report=silent, force=True)
    assert len((again.folder / "speed.jsonl").read_text().splitlines()) == 30


def test_early_stopping_keeps_the_best_weights(data: Path, tmp_path: Path) -> None:
    outcome = train(recipe(epochs=200), data=data, out=tmp_path, report=silent)
    lines = [json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    history = {line["step"]: line["auc"] for line in lines if line["split"] == "valid"}
    highest = max(history.values())
    best = next(step for step in history if history[step] > highest - 1e-6)  # `min_delta`
    assert outcome.result.best_step == best < max(history)
    assert outcome.result.metrics["valid"]["auc"] == history[best]
    assert len([step for step in history if step > best]) == 3


@pytest.mark.parametrize(("asked", "steps"), [(300, 5), (320, 5), (900, 15), (901, 16), (2100, 35)])
def test_max_examples_is_exact(data: Path, tmp_path: Path, asked: int, steps: int) -> None:
    spec = recipe(max_examples=asked, epochs=9, early_stopping={})
    outcome = train(spec, data=data, out=tmp_path, report=silent)
    assert outcome.result.examples == asked
    assert outcome.result.step == steps == total_steps(spec, 900)


@pytest.mark.parametrize(
    "how",
    [
        {"precision": "bfloat16"},
        {"accumulate": 3},
        {"embedding_dtype": "bfloat16"},
        {"optimizer": {"embedding": {"name": "lazy_adam", "l2": 1e-4}}, "embedding_dtype": "bfloat16"},
        pytest.param(
            {"compile": True, "precision": "bfloat16"},
            marks=[
                pytest.mark.slow,
                # torch.compile warns about its own code
                pytest.mark.filterwarnings("default"),
            ],
        ),
    ],
    ids=str,
)
def test_every_execution_setting_resumes_to_the_same_bits(
    data: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    spec = recipe(**how)
    straight = train(spec, data=data, out=tmp_path / "straight", report=silent)

    def cut(progress: TrainingProgress) -> None:
        if progress.step >= 14:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(spec, data=data, out=tmp_path / "cut", report=cut)
    torch.compiler.reset()
    assert_same_run(straight, train(spec, data=data, out=tmp_path / "cut", report=silent))


def test_what_the_machine_lacks_is_noted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(recipe(), data=data, out=tmp_path, report=silent)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    spec = recipe(precision="bfloat16", compile=True)
    outcome = train(spec, data=data, out=tmp_path, report=silent)
    notes = outcome.info.execution.notes
    assert [note.rpartition(": ")[2] for note in notes] == [
        "`precision` falls back to float32",
        "`compile` falls back to false",
    ]
    assert all(note in (outcome.folder / "log.txt").read_text() for note in notes)
    assert outcome.result.metrics == plain.result.metrics


def test_result_has_the_mfu(data: Path, tmp_path: Path) -> None:
    outcome = train(recipe(), data=data, out=tmp_path, report=silent)
    result = outcome.result
    flops = outcome.info.gflop * result.examples / result.train_seconds
    assert result.gflops_per_second == pytest.approx(flops)
    assert result.mfu == pytest.approx(flops / result.peak_gflops_per_second)
    assert 0 < result.mfu < 1
    assert 0 < result.train_seconds <= result.seconds
    assert result.cpu_seconds > 0


def test_run_learns_the_planted_signal(data: Path, tmp_path: Path) -> None:
    spec = recipe(model={"name": "mlp", "width": 4, "hidden": [16]}, optimizer=OPTIMIZERS["adam"], epochs=20)
    outcome = train(spec, data=data, out=tmp_path, report=silent)
    assert outcome.result.metrics["test"]["auc"] > 0.8  # x is proportional to the probability


def test_a_full_disk_leaves_the_last_good_state(
    data: Path, tmp_path: Path, straight: Straight, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = recipe()
    whole = straight(spec)
    real, calls = torch.save, []

    def failing(state: object, file: Any) -> None:
        calls.append(1)
        real(state, file)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(RunFailed, match="no space left"):
        train(spec, data=data, out=tmp_path / "full", report=silent)
    monkeypatch.undo()
    assert_same_run(whole, train(spec, data=data, out=tmp_path / "full", report=silent))


def touched(folder: Path) -> float:
    """The time of the run's last log line."""
    return max((path.stat().st_mtime for path in folder.glob("runs/*/metrics.jsonl")), default=0.0)


def kill_while_training(folder: Path, kills: int, delays: random.Random) -> None:
    """Start the command `kills` times, killing it each time at a random moment of its training."""
    command = [sys.executable, "-m", "wukongctl", "train", "recipe.yaml", "--data", "data", "--out", "runs"]
    for _ in range(kills):
        before = touched(folder)
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while touched(folder) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delays.uniform(0, 0.4))
        assert process.poll() is None, "the run ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_fifty_kills_change_nothing(data: Path, tmp_path: Path) -> None:
    spec = recipe(optimizer=OPTIMIZERS["rowwise_adagrad"], epochs=1000, early_stopping={"metric": "auc"})
    straight = train(spec, data=data, out=tmp_path / "straight", report=silent)
    (tmp_path / "recipe.yaml").write_text((straight.folder / "recipe.yaml").read_text())
    (tmp_path / "data").symlink_to(data)
    kill_while_training(tmp_path, 50, random.Random(0))
    assert not list(tmp_path.glob("runs/*/result.json"))
    resumed = train(spec, data=data, out=tmp_path / "runs", report=silent)
    assert_same_run(straight, resumed)


def test_changed_code_reports_a_finished_run_but_does_not_resume_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = recipe()
    first = train(spec, data=data, out=tmp_path, report=silent)
    monkeypatch.setattr("wukongctl.training.provenance.code_digest", lambda: "other")
    assert train(spec, data=data, out=tmp_path, report=silent).result == first.result
    (first.folder / "result.json").unlink()
    with pytest.raises(UsageError, match="code_digest"):
        train(spec, data=data, out=tmp_path, report=silent)


def test_missing_best_weights_are_regenerated(data: Path, tmp_path: Path, straight: Straight) -> None:
    spec = recipe()

    def cut(progress: TrainingProgress) -> None:
        if progress.step >= 20:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(spec, data=data, out=tmp_path / "cut", report=cut)
    (best,) = tmp_path.glob("cut/*/checkpoints/best.pt")
    best.unlink()
    assert_same_run(straight(spec), train(spec, data=data, out=tmp_path / "cut", report=silent))


def test_weights_of_another_version_are_a_usage_error(data: Path, tmp_path: Path) -> None:
    outcome = train(recipe(), data=data, out=tmp_path, report=silent)
    best = outcome.folder / "checkpoints" / "best.pt"
    state = checkpoint.load(best)
    state["model"]["renamed"] = state["model"].popitem()[1]
    checkpoint.save(best, state)
    with pytest.raises(UsageError, match="does not have the weights of this run"):
        open_run(outcome.folder, data=data)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "width": 4, "hidden": [8], "batch_norm": True},
        {"name": "finalmlp", "width": 4, "mlp1": {"hidden": [8]}, "mlp2": {"hidden": [4]}, "heads": 2},
        {"name": "afn", "width": 1, "neurons": 3, "afn_hidden": [4], "hidden": None},
    ],
)
def test_batch_norm_rejects_a_batch_of_one_row(model: dict[str, Any], data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs two rows"):
        train(recipe(model=model, batch_size=899), data=data, out=tmp_path, report=silent)
    train(recipe(model=model, batch_size=450), data=data, out=tmp_path, report=silent)


def test_run_folder_that_cannot_be_created_is_a_usage_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        train(recipe(), data=data, out=tmp_path / "file", report=silent)


def test_diverging_loss_ends_the_run_and_is_recorded(data: Path, tmp_path: Path) -> None:
    spec = recipe(divergence={"max_loss": 0.01})
    with pytest.raises(RunFailed, match=r"mean loss is .* at step 10 of 45: the run diverged"):
        train(spec, data=data, out=tmp_path, report=silent)
    (path,) = tmp_path.glob("*/result.json")
    result = json.loads(path.read_text())
    assert (result["status"], result["step"]) == ("diverged", 10)
    assert result["reason"].startswith("mean loss is")


def test_loss_spike_of_a_few_steps_is_not_divergence(data: Path, tmp_path: Path) -> None:
    free = train(recipe(), data=data, out=tmp_path / "free", report=silent)
    lines = [json.loads(line) for line in (free.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    height = losses[0] * (1 - 1e-6)  # the first step is above, and not all of the next nine
    assert min(losses[1:10]) < height
    spec = recipe(divergence={"max_loss": height})
    bounded = train(spec, data=data, out=tmp_path / "bounded", report=silent)
    assert bounded.result.metrics == free.result.metrics


def test_high_loss_to_the_end_of_a_short_run_is_divergence(data: Path, tmp_path: Path) -> None:
    spec = recipe(divergence={"max_loss": 0.01}, batch_size=900, epochs=1)
    with pytest.raises(RunFailed, match=r"of \d: the run diverged"):
        train(spec, data=data, out=tmp_path, report=silent)


def test_nonfinite_updates_are_skipped_up_to_a_limit(data: Path, tmp_path: Path) -> None:
    optimizer = {"dense": {"lr": 1e30}, "embedding": {"lr": 1e30}}
    with pytest.raises(RunFailed, match="diverged"):
        train(recipe(optimizer=optimizer), data=data, out=tmp_path / "none", report=silent)
    spec = recipe(optimizer=optimizer, divergence={"skip_steps": 3, "max_loss": 1e300})
    with pytest.raises(RunFailed, match="diverged"):
        train(spec, data=data, out=tmp_path / "three", report=silent)
    steps = [
        json.loads(next(tmp_path.glob(f"{name}/*/result.json")).read_text())["step"]
        for name in ("none", "three")
    ]
    assert steps[1] == steps[0] + 3


def test_skipped_update_keeps_the_weights_and_is_counted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_finite, calls = Update._has_finite_gradients, []

    def every_fifth_is_not(update: Update) -> torch.Tensor:
        calls.append(has_finite(update))
        return torch.tensor(len(calls) % 5 != 0)

    monkeypatch.setattr(Update, "_has_finite_gradients", every_fifth_is_not)
    outcome = train(recipe(divergence={"skip_steps": 1}), data=data, out=tmp_path, report=silent)
    assert all(calls)
    assert outcome.result.skipped_steps == len(calls) // 5
