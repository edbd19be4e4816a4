"""Trackers get every line of metrics.jsonl, and a run does not notice when they fail."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.training.test_distributed import data as data  # noqa: PLC0414 a fixture
from tests.training.test_train import assert_same_run, recipe, silent
from wukongctl.training.train import train


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_missing_tracker_is_named_and_changes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    plain = train(recipe(), data=data, out=tmp_path / "plain", report=silent)
    tracked = train(recipe(), data=data, out=tmp_path / "tracked", report=silent, track=(name,))
    assert_same_run(plain, tracked)
    said = (tracked.folder / "log.txt").read_text()
    assert said.count(f"{name} is disabled for the rest of this run") == 1


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the extra `tensorboard`")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_every_line(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(recipe(), data=data, out=tmp_path, report=silent, track=("tensorboard",)).folder
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    expected = {line["step"]: line["auc"] for line in lines(run) if line["split"] == "valid"}
    assert {point.step: point.value for point in events.Scalars("valid/auc")} == pytest.approx(expected)


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs the extra `mlflow`")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_gets_every_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # servers are the default since MLflow 3
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    run = train(recipe(), data=data, out=tmp_path / "runs", report=silent, track=("mlflow",)).folder
    client = mlflow.MlflowClient()
    (kept,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    expected = {line["step"]: line["loss"] for line in lines(run) if line["split"] == "train"}
    points = client.get_metric_history(kept.info.run_id, "train/loss")
    assert {point.step: point.value for point in points} == pytest.approx(expected)
