"""A run in MLflow: its own run there, which a resumed run continues.

Uses MLflow's own settings: `MLFLOW_TRACKING_URI` (default: `mlflow.db` in the current folder), credentials,
and `MLFLOW_EXPERIMENT_NAME` (default: the name of the dataset).
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wukongctl.data.atomic import write_atomic
from wukongctl.training.run_folder import MLFLOW
from wukongctl.training.run_record import RunInfo, RunResult
from wukongctl.training.tracked import Record, costs, parameters, points, results, tags

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Seconds per request, and so on, unless the user sets them; MLflow's own add up to four minutes."""
ENTITIES_PER_REQUEST = 100
NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
ENDINGS = {"complete": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""How a run ended, and MLflow's word for it."""


class MLflowTracker:
    """Writes one run; every method raises what MLflow raises."""

    def __init__(self, info: RunInfo, folder: Path) -> None:
        import mlflow

        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        for library in ("mlflow", "alembic"):  # which announce every table of a new database
            logging.getLogger(library).setLevel(logging.WARNING)
        self.mlflow: Any = mlflow
        self.client = mlflow.MlflowClient()
        self.run_id = self._begun(folder / MLFLOW) or self._new(info, folder)
        self._log(0, costs(info), tags(info) | _source(info))

    def _begun(self, path: Path) -> str | None:
        """The run that this folder continues; None if there is none where MLflow logs to now."""
        try:
            run_id = json.loads(path.read_text(encoding="utf-8"))["run_id"]
        except (OSError, ValueError, KeyError):
            return None
        try:
            run = self.client.get_run(run_id)
        except self.mlflow.MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if run.info.lifecycle_stage == "deleted":
            return None
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    def _new(self, info: RunInfo, folder: Path) -> str:
        run = self.client.create_run(self._experiment(info), run_name=info.run)
        run_id = run.info.run_id
        content = {"run_id": run_id, "tracking_uri": self.mlflow.get_tracking_uri()}
        write_atomic(folder / MLFLOW, lambda file: file.write(json.dumps(content).encode()))
        known = [
            self.mlflow.entities.Param(NOT_IN_NAMES.sub("_", key), str(value))
            for key, value in parameters(info).items()
        ]
        for some in _parts(known):
            self.client.log_batch(run_id, params=some)
        return run_id

    def _experiment(self, info: RunInfo) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", info.data.dataset)
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self.client.create_experiment(name)
        except self.mlflow.MlflowException:  # another run was faster
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def write(self, records: Sequence[Record]) -> None:
        """Log lines of metrics.jsonl, in few requests."""
        metrics = [metric for record in records for metric in self._metrics(record["step"], points(record))]
        for some in _parts(metrics):
            self.client.log_batch(self.run_id, metrics=some)

    def end(self, ending: str, result: RunResult | None, reason: str | None) -> None:
        """Log the results at the best step, the warnings, and how the run ended."""
        values = {} if result is None else results(result)
        warnings = [] if result is None else [warning.message for warning in result.warnings]
        said = {"reason": reason, "warnings": "; ".join(warnings) or None}
        step = 0 if result is None else result.best_step or result.step
        self._log(step, values, {key: value for key, value in said.items() if value})
        self.client.set_terminated(self.run_id, ENDINGS[ending])

    def _log(self, step: int, values: dict[str, float], tagged: dict[str, str]) -> None:
        tags = [self.mlflow.entities.RunTag(NOT_IN_NAMES.sub("_", key), tagged[key]) for key in tagged]
        self.client.log_batch(self.run_id, metrics=self._metrics(step, values), tags=tags)

    def _metrics(self, step: int, values: dict[str, float]) -> list[Any]:
        now = int(time.time() * 1000)
        return [
            self.mlflow.entities.Metric(NOT_IN_NAMES.sub("_", key), value, now, step)
            for key, value in values.items()
        ]


def _source(info: RunInfo) -> dict[str, str]:
    """The tags behind the columns "Source" and "Version" of MLflow's table of runs."""
    commit = (info.git or {}).get("commit")
    source = {"mlflow.source.name": "wukongctl train", "mlflow.source.type": "LOCAL"}
    return source | ({"mlflow.source.git.commit": commit} if commit else {})


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), ENTITIES_PER_REQUEST):
        yield items[start : start + ENTITIES_PER_REQUEST]
