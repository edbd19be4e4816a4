"""A finished run → metrics with intervals, and predictions."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RunFailed, UsageError, WukongError
from wukongctl.training import hints
from wukongctl.training.finished_run import FinishedRun, open_run
from wukongctl.training.metrics import gauc
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.scoring import EVALUATION_BATCH, Scores, score, summarize
from wukongctl.training.streaming import StreamingScores

log = logging.getLogger(__name__)


def evaluate(
    run: Path, split: str, *, data: Path, predictions: Path | None = None, group: str | None = None
) -> dict[str, Any]:
    """Score `split` with the best weights of `run`; optionally write predictions as Parquet.

    With `group`, a categorical column, also the gAUC over its values. Of very many rows the AUC comes with a
    bound on its error, unless predictions or groups need all scores anyway. Raises UsageError when the run is
    not finished, the prepared data is not what it was trained on, or there is no such column.
    """
    needs_all = predictions is not None or group is not None
    scores = _scores(run, split, data, group) if needs_all else _summary(run, split, data)
    metrics = scores.measure()
    if predictions is not None and isinstance(scores, Scores):
        _write(predictions, scores)
    return {
        "run": str(run),
        "split": split,
        "rows": metrics.rows,
        "auc": metrics.auc,
        "auc_ci": None if metrics.auc is None else list(scores.auc_interval()),
        "logloss": metrics.logloss,
        "logloss_ci": list(scores.logloss_interval()),
        "normalized_entropy": metrics.normalized_entropy,
        "calibration": metrics.calibration,
        **({} if metrics.excess_logloss is None else {"excess_logloss": metrics.excess_logloss}),
        **({} if metrics.auc_error_bound is None else {"auc_error_bound": metrics.auc_error_bound}),
        **(_gauc(scores) if isinstance(scores, Scores) else {}),
    }


def predictions(run: Path, split: str, *, data: Path) -> Scores:
    """Scores of every row of `split`, read from `run` where an earlier call left them.

    They are kept in `predictions/<split>.parquet` of the run folder, beside the weights they come from, so
    that comparing runs again needs neither data nor model.
    """
    kept = RunFolder(run).predictions / f"{split}.parquet"
    if kept.is_file():
        return _read(kept)
    scores = _scores(run, split, data)
    if not _finite(scores.logits):
        lower = hints.slower(open_run(run, data=data).recipe)
        raise RunFailed(
            f"`{run}` predicts values that are not finite",
            hint=f"train its recipe with lower learning rates: {lower}",
        )
    if RunFolder(run).result() is not None:  # else better weights may come
        try:
            _write(kept, scores)
        except WukongError as error:  # a folder of someone else's, or a full disk: the scores are there
            log.info("predictions are not kept: %s", error.message)
    return scores


def _read(path: Path) -> Scores:
    """Raises RunFailed for a file that is damaged or whose scores are not finite."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        table = pa.table({})
    whole = {"logit", "label"} <= set(table.column_names)
    if not whole or not _finite(table["logit"].to_numpy()):
        raise RunFailed(
            f"`{path}` is damaged", hint=f"delete it, and it is made anew from `{path.parents[1]}`"
        )
    known = "probability" in table.column_names
    return Scores(
        table["logit"].to_numpy(),
        table["label"].to_numpy().astype("float32"),
        table["probability"].to_numpy() if known else None,
    )


def _finite(logits: np.ndarray) -> bool:
    return np.issubdtype(logits.dtype, np.floating) and bool(np.isfinite(logits).all())


def _summary(run: Path, split: str, data: Path) -> Scores | StreamingScores:
    trained = open_run(run, data=data)
    return summarize(trained.model, _reader(trained, split), trained.execution)


def _scores(run: Path, split: str, data: Path, group: str | None = None) -> Scores:
    trained = open_run(run, data=data)
    column = None if group is None else _column(trained.manifest, group)
    return score(trained.model, _reader(trained, split), trained.execution, group=column)


def _reader(trained: FinishedRun, split: str) -> BatchReader:
    manifest = trained.manifest
    if split not in manifest.splits:
        raise UsageError(f"`{manifest.dataset}` has no `{split}` split, only {', '.join(manifest.splits)}")
    return BatchReader(trained.dataset, manifest, split, batch_size=EVALUATION_BATCH, shuffle=False, seed=0)


def _gauc(scores: Scores) -> dict[str, float | None]:
    return {} if scores.groups is None else {"gauc": gauc(scores.logits, scores.labels, scores.groups)}


def _column(manifest: Manifest, name: str) -> int:
    """Where a categorical column stands among the ids of a batch."""
    columns = manifest.schema().categorical
    if name not in columns:
        hint = did_you_mean(name, columns) or f"it has {', '.join(columns)}"
        raise UsageError(f"`{manifest.dataset}` has no categorical column `{name}` to group by", hint=hint)
    return columns.index(name)


def _write(path: Path, scores: Scores) -> None:
    predicted = torch.sigmoid(torch.from_numpy(scores.logits)).numpy()
    columns = {"label": scores.labels.astype("int8"), "logit": scores.logits, "prediction": predicted}
    if scores.probability is not None:
        columns["probability"] = scores.probability
    write_atomic(path, lambda file: pq.write_table(pa.table(columns), file))
