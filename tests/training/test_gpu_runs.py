"""A whole run on a pretended GPU: as on the CPU, with one copy a step and a wait only to log or evaluate."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import pretended_gpu
from tests.training.test_train import DATASET, OPTIMIZERS, RECIPE, assert_same_run, recipe, silent
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import RunFailed
from wukongctl.training import hardware, loop
from wukongctl.training.bench import bench
from wukongctl.training.evaluate import evaluate
from wukongctl.training.export import export
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.predict import predict
from wukongctl.training.train import CompleteRun, train

pytestmark = pretended_gpu.needs_pretended_gpu


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(DatasetSpec.from_dict(DATASET), Options(folder, out=folder))
    return folder


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    with pretended_gpu.pretended() as device:
        monkeypatch.setattr(
            hardware, "chosen_device", lambda recipe, _: hardware.CPU if recipe.device == "cpu" else device
        )
        # Its large products would take minutes on a CPU.
        monkeypatch.setattr(hardware, "matmul_peak", lambda *_, **__: 1e9)
        yield device


def on_cpu(data: Path, out: Path, **changes: Any) -> CompleteRun:
    return train(spec(device="cpu", **changes), data=data, out=out, report=silent)


def spec(**changes: Any) -> TrainingSpec:
    """Without dropout, whose random numbers are drawn in another way on a GPU."""
    return recipe(model=RECIPE["model"] | {"dropout": 0.0}, **changes)


HOW: dict[str, dict[str, Any]] = {
    "rowwise_adagrad": {"optimizer": OPTIMIZERS["rowwise_adagrad"]},
    "adam on the device": {"optimizer": OPTIMIZERS["adam"], "data_on": "device"},
    "lazy_adam, accumulate": {"optimizer": {"embedding": {"name": "lazy_adam"}}, "accumulate": 2},
}


@pytest.mark.parametrize("name", HOW)
def test_a_run_is_that_of_the_cpu(data: Path, tmp_path: Path, gpu: torch.device, name: str) -> None:
    expected = on_cpu(data, tmp_path / "cpu", **HOW[name])
    pretended_gpu.copies.clear()
    found = train(spec(**HOW[name]), data=data, out=tmp_path / "gpu", report=silent)
    assert found.info.execution.device == gpu.type
    assert_same_run(expected, found)


def test_a_step_costs_one_copy_and_a_wait_only_where_it_is_logged_or_evaluated(
    data: Path, tmp_path: Path, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_LINES", 3)
    steps, logs, evaluations = 45, 3, 5
    train(spec(evaluate_every=9, checkpoint={}, early_stopping={}), data=data, out=tmp_path, report=silent)
    assert counted(pretended_gpu.copies, "to device", "feeds.py") == steps
    assert counted(pretended_gpu.copies, "to host", "loop.py") <= logs + evaluations
    assert counted(pretended_gpu.copies, "to host", "scoring.py") == evaluations + 2  # the best weights
    assert {key.rpartition(":")[0] for key in pretended_gpu.waits} <= {"synchronize training/hardware.py"}


def test_a_run_that_ends_suddenly_resumes_to_the_same_bits(
    data: Path, tmp_path: Path, gpu: torch.device
) -> None:
    straight = train(spec(), data=data, out=tmp_path / "straight", report=silent)

    def cut(progress: TrainingProgress) -> None:
        if progress.step >= 14:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(spec(), data=data, out=tmp_path / "cut", report=cut)
    assert_same_run(straight, train(spec(), data=data, out=tmp_path / "cut", report=silent))


def test_divergence_is_noticed_when_the_losses_are_read(
    data: Path, tmp_path: Path, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_LINES", 3)
    wild = spec(optimizer={"dense": {"lr": 1e30}}, evaluate_every=45, checkpoint={})
    with pytest.raises(RunFailed, match=r"at step 15 of 45: the run diverged"):
        train(wild, data=data, out=tmp_path, report=silent)


def test_a_finished_run_is_evaluated_exported_and_predicts(
    data: Path, tmp_path: Path, gpu: torch.device
) -> None:
    run = train(spec(), data=data, out=tmp_path / "runs", report=silent)
    found = evaluate(run.folder, "test", data=data)
    assert found["auc"] == run.result.metrics["test"]["auc"]
    rows = data / "tiny" / "test" / "part-00000.parquet"
    out = tmp_path / "scores.parquet"
    summary = predict(run.folder, [rows], out=out, data=data, report=lambda _: None)
    assert summary["rows"] == 300
    export(run.folder, data=data, out=tmp_path / "exported")


def test_bench_times_whole_steps_and_their_phases(data: Path, gpu: torch.device) -> None:
    found = bench(spec(), data=data, steps=3)
    assert (found["device"], found["examples"], found["memory_bytes"]) == ("gpu", 3 * 64, 1 << 20)
    assert found["mfu"] == pytest.approx(
        found["gflop_per_example"] * found["examples_per_second"] / found["peak_gflops_per_second"]
    )
    phases = {phase["phase"]: phase["share"] for phase in found["phases"]}
    assert phases.keys() == {"loader", "forward", "backward", "dense optimizer", "embedding optimizer"}
    assert sum(phases.values()) == pytest.approx(1)


def counted(counts: Counter[str], kind: str, file: str) -> int:
    return sum(number for key, number in counts.items() if key.startswith(kind) and f"/{file}:" in key)
