"""Trackers get all that a run knows, and a run neither waits for them nor notices when they fail."""

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_distributed import data as data  # noqa: PLC0414 a fixture
from tests.training.test_train import RECIPE, assert_same_run, recipe, silent
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import Interrupted, RunFailed, UsageError
from wukongctl.training import trackers
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.mlflow_tracker import PATIENCE
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.train import train

QUIET = pytest.mark.filterwarnings("ignore")


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_missing_extra_stops_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"`--track {name}` needs the extra `{name}`"):
        train(recipe(), data=data, out=tmp_path / "runs", report=silent, track=(name,))
    assert not (tmp_path / "runs").exists()


def test_only_a_local_store_of_mlflow_needs_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "alembic"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("wukongctl.extras.is_installed", lambda module: module != "alembic")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="`alembic` is not installed"):
        trackers.require(["mlflow"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    trackers.require(["mlflow"])


class Scripted:
    """A tracker that does as the test says, after it was opened."""

    def __init__(self, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.seconds, self.fails_at = seconds, fails_at
        self.records: list[dict[str, Any]] = []
        self.ended: list[tuple[str, bool, str | None]] = []

    def write(self, records: list[dict[str, Any]]) -> None:
        time.sleep(self.seconds)
        self.records += records
        if self.fails_at is not None and len(self.records) >= self.fails_at:
            raise OSError("the disk is full\nand more")

    def end(self, ending: str, result: object, reason: str | None) -> None:
        time.sleep(self.seconds)
        self.ended.append((ending, result is not None, reason))


def scripted(monkeypatch: pytest.MonkeyPatch, tracker: Scripted) -> Scripted:
    monkeypatch.setattr(trackers, "_open", lambda *_: tracker)
    monkeypatch.setattr(trackers, "LIBRARIES", {"mlflow": "json"})
    monkeypatch.setattr(trackers, "require", lambda _: None)
    return tracker


def test_every_line_arrives_in_order_and_then_the_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = scripted(monkeypatch, Scripted())
    run = train(recipe(), data=data, out=tmp_path, report=silent, track=("mlflow",)).folder
    assert tracker.records == lines(run)
    assert tracker.ended == [("complete", True, None)]


def test_failure_is_logged_once_and_changes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(recipe(), data=data, out=tmp_path / "plain", report=silent)
    tracker = scripted(monkeypatch, Scripted(fails_at=3))
    tracked = train(recipe(), data=data, out=tmp_path / "tracked", report=silent, track=("mlflow",))
    assert_same_run(plain, tracked)
    assert not tracker.ended
    log = (tracked.folder / "log.txt").read_text()
    assert log.count("mlflow is disabled for the rest of this run: the disk is full\n") == 1


def test_library_that_cannot_be_imported_disables_its_tracker(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Scripted())
    monkeypatch.setattr(trackers, "LIBRARIES", {"mlflow": "no_such_module"})
    run = train(recipe(), data=data, out=tmp_path, report=silent, track=("mlflow",))
    assert "No module named 'no_such_module'" in (run.folder / "log.txt").read_text()


def test_slow_tracker_delays_neither_steps_nor_the_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = scripted(monkeypatch, Scripted(seconds=3.0))
    monkeypatch.setattr(trackers, "LAST_SECONDS", {"complete": 0.1})
    ended = []

    def report(progress: TrainingProgress) -> None:
        ended.append(tracker.records)

    run = train(recipe(epochs=1), data=data, out=tmp_path, report=report, track=("mlflow",))
    assert not any(ended)  # no step waited for the first line
    assert "no answer within 0 s of the end of the run" in (run.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Interrupted("stopped at step 3", signal_number=15), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (RunFailed("loss is nan"), "failed"),
        (ZeroDivisionError("a bug"), "failed"),
    ],
)
def test_runs_that_stop_say_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, ending: str
) -> None:
    tracker = scripted(monkeypatch, Scripted())
    info: Any = None

    def fit() -> Any:
        raise error

    with pytest.raises(type(error)):
        trackers.Trackers(["mlflow"], RunFolder(tmp_path)).follow(info, fit)
    assert tracker.ended == [(ending, False, str(error))]


def test_only_rank_zero_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = scripted(monkeypatch, Scripted())
    info: Any = None
    followed = trackers.Trackers(["mlflow"], RunFolder(tmp_path, writes=False))
    assert followed.follow(info, lambda: "done") == "done"  # type: ignore[arg-type, return-value]
    assert not tracker.ended


# --- TensorBoard -------------------------------------------------------------------------------------------


@QUIET
def test_tensorboard_gets_curves_hyperparameters_and_results(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    done = train(recipe(), data=data, out=tmp_path, report=silent, track=("tensorboard",))
    events = EventAccumulator(str(done.folder / "tensorboard")).Reload()
    expected = {line["step"]: line["auc"] for line in lines(done.folder) if line["split"] == "valid"}
    assert {point.step: point.value for point in events.Scalars("valid/auc")} == pytest.approx(expected)
    (tested,) = events.Scalars("test/auc")
    assert tested.value == pytest.approx(done.result.metrics["test"]["auc"])
    assert tested.step == done.result.best_step
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    started = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info
    assert started.hparams["optimizer.dense.lr"].number_value == pytest.approx(
        done.info.recipe["optimizer"]["dense"]["lr"]
    )
    assert started.hparams["model.name"].string_value == "wukong"
    assert started.hparams["data.fingerprint"].string_value == done.info.data.fingerprint


@QUIET
def test_starting_over_removes_the_events_of_the_earlier_run(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    run = train(recipe(), data=data, out=tmp_path, report=silent, track=("tensorboard",)).folder
    before = set((run / "tensorboard").iterdir())
    assert before
    train(recipe(), data=data, out=tmp_path, report=silent, force=True)
    assert not (run / "tensorboard").exists()


# --- MLflow ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, whose tables take seconds to create."""
    pytest.importorskip("mlflow", reason="needs the extra `mlflow`")
    pytest.importorskip("alembic", reason="needs the extra `mlflow`")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow with its default store, in the current folder."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_") and "TELEMETRY" not in name]:
        monkeypatch.delenv(name)
    for name in PATIENCE:
        monkeypatch.setenv(name, "placeholder")  # restores the environment that the tracker changes
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copy(database, tmp_path)
    import mlflow

    return mlflow


def only_run(mlflow: Any, name: str = "tiny") -> Any:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return run


def curve(mlflow: Any, run: Any, name: str) -> dict[int, float]:
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return {point.step: point.value for point in points}


@QUIET
def test_mlflow_gets_all_that_a_run_knows(data: Path, tmp_path: Path, mlflow: Any) -> None:
    done = train(recipe(), data=data, out=tmp_path / "runs", report=silent, track=("mlflow",))
    run, info = only_run(mlflow), done.info
    assert (run.info.status, run.info.run_name) == ("FINISHED", info.run)
    assert run.data.params["optimizer.dense.lr"] == str(info.recipe["optimizer"]["dense"]["lr"])
    assert run.data.params["data.fingerprint"] == info.data.fingerprint
    leaves = _leaves(info.recipe)
    assert run.data.params.keys() == leaves | {"data.fingerprint"}
    assert run.data.metrics["gflop_per_example"] == info.gflop
    assert run.data.metrics["params/embedding"] == info.params.embedding
    assert run.data.metrics["test/auc"] == done.result.metrics["test"]["auc"]
    assert run.data.metrics["best_valid/auc"] == done.result.metrics["valid"]["auc"]
    assert run.data.tags["version.torch"] == info.versions["torch"]
    if info.git:
        assert run.data.tags["mlflow.source.git.commit"] == info.git["commit"]
    for split, key in (("train", "loss"), ("valid", "auc")):
        expected = {line["step"]: line[key] for line in lines(done.folder) if line["split"] == split}
        assert curve(mlflow, run, f"{split}/{key}") == pytest.approx(expected)


def _leaves(section: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in section.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            found.add(prefix + key)
    return found


@QUIET
def test_resumed_run_continues_its_mlflow_run(data: Path, tmp_path: Path, mlflow: Any) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 10:
            os.kill(os.getpid(), 15)

    out = tmp_path / "runs"
    with pytest.raises(Interrupted):
        train(recipe(), data=data, out=out, report=stop, track=("mlflow",))
    stopped = only_run(mlflow)
    assert stopped.info.status == "KILLED"
    assert "stopped at step" in stopped.data.tags["reason"]
    done = train(recipe(), data=data, out=out, report=silent, track=("mlflow",))
    finished = only_run(mlflow)
    assert (finished.info.run_id, finished.info.status) == (stopped.info.run_id, "FINISHED")
    expected = {line["step"]: line["loss"] for line in lines(done.folder) if line["split"] == "train"}
    assert curve(mlflow, finished, "train/loss") == pytest.approx(expected)


@QUIET
def test_diverged_run_is_failed_and_starting_over_is_another_run(
    data: Path, tmp_path: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    exploding = TrainingSpec.from_dict(RECIPE | {"optimizer": {"dense": {"lr": 1e30}}})
    for _ in range(2):
        with pytest.raises(RunFailed):
            train(exploding, data=data, out=tmp_path / "runs", report=silent, track=("mlflow",), force=True)
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED", "FAILED"]
    assert all("diverged" in run.data.tags["reason"] for run in runs)


@QUIET
def test_server_that_never_answers_is_given_up_in_seconds(
    data: Path, tmp_path: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        started = time.monotonic()
        done = train(recipe(epochs=1), data=data, out=tmp_path, report=silent, track=("mlflow",))
        assert time.monotonic() - started < 20
    assert done.result.status == "complete"
    log = (done.folder / "log.txt").read_text()
    assert log.count("mlflow is disabled for the rest of this run: API request to http://127") == 1
