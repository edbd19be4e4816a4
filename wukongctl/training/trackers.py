"""TensorBoard and MLflow. Their failures are logged once and never stop a run."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, assert_never

from wukongctl.config.training import TrainingSpec
from wukongctl.training.run_folder import RunFolder

log = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "mlflow"]
Record = dict[str, Any]
Write = Callable[[Record], None]
"""Takes one line of metrics.jsonl: `step`, `split` and values."""


class Trackers:
    """Sends every line of metrics.jsonl to the requested trackers, until they fail."""

    def __init__(self, names: Sequence[TrackerName], recipe: TrainingSpec, folder: RunFolder) -> None:
        self.names, self.recipe, self.folder = (names if folder.writes else ()), recipe, folder
        self._writers: dict[TrackerName, Write] = {}
        self._opened = False

    def write(self, record: Record) -> None:
        """Send one line."""
        if not self._opened:
            self._opened = True
            for name in self.names:
                self._try(name, partial(self._open, name, record["step"]))
        for name, write in list(self._writers.items()):
            self._try(name, partial(write, record))

    def _open(self, name: TrackerName, step: int) -> None:
        match name:
            case "tensorboard":
                self._writers[name] = _tensorboard(self.folder.path / "tensorboard", step)
            case "mlflow":
                self._writers[name] = _mlflow(self.recipe, self.folder)
            case _:
                assert_never(name)

    def _try(self, name: TrackerName, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._writers.pop(name, None)
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            log.warning("%s is disabled for the rest of this run: %s", name, reason[0])


def _tensorboard(path: Path, step: int) -> Write:
    from torch.utils.tensorboard import SummaryWriter

    # Points from `step` on belong to steps that will be repeated.
    writer = SummaryWriter(str(path), purge_step=step)

    def write(record: Record) -> None:
        for name, value in _values(record).items():
            writer.add_scalar(name, value, record["step"])
        writer.flush()

    return write


def _mlflow(recipe: TrainingSpec, folder: RunFolder) -> Write:
    import mlflow

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(recipe.data)
    experiment = client.create_experiment(recipe.data) if found is None else found.experiment_id
    query = f"attributes.run_name = '{folder.path.name}'"
    runs = client.search_runs([experiment], query, max_results=1)
    run = runs[0] if runs else client.create_run(experiment, run_name=folder.path.name)
    if not runs:
        client.log_param(run.info.run_id, "model", recipe.model.name)
        client.log_param(run.info.run_id, "seed", recipe.seed)

    def write(record: Record) -> None:
        for name, value in _values(record).items():
            client.log_metric(run.info.run_id, name, value, step=record["step"])

    return write


def _values(record: Record) -> dict[str, float]:
    return {
        f"{record['split']}/{name}": float(value)
        for name, value in record.items()
        if name not in ("step", "split") and isinstance(value, int | float)
    }
