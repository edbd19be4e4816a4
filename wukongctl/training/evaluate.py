"""Metrics of a finished run with intervals, and its predictions."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RunFailed, UsageError, WukongError
from wukongctl.training import hints
from wukongctl.training.finished_run import FinishedRun, open_run
from wukongctl.training.groups import read_groups, require_column
from wukongctl.training.metrics import METRICS
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.scores import Measurable, Scores
from wukongctl.training.scoring import evaluation_batch, score, summarize

log = logging.getLogger(__name__)


def evaluate(
    run: Path, split: str, *, data: Path, predictions: Path | None = None, group: str | None = None
) -> dict[str, Any]:
    """Score `split` with the best weights of `run`; optionally write predictions as Parquet.

    `group`, a categorical column, overrides the recipe's: gAUC over its values is computed too. For very many
    rows, the AUC comes with a bound on its error, unless predictions or groups need all scores anyway.
    Raises UsageError if the run is not finished, the prepared data is not what it was trained on, or there is
    no such column.
    """
    trained = open_run(run, data=data)
    groups = _groups(trained, split, group)
    if predictions is None:
        scored = summarize(trained.model, _reader(trained, split), trained.execution, groups=groups)
    else:
        scored = score(trained.model, _reader(trained, split), trained.execution, groups=groups)
        _write(predictions, scored)
    return {"run": str(run), "split": split, "rows": scored.rows, **_with_intervals(scored)}


def _with_intervals(scored: Measurable) -> dict[str, Any]:
    """Metric → value, None if undefined; `<metric>_ci` is the 95 % interval of some."""
    found: dict[str, Any] = {}
    for metric in METRICS.values():
        if not metric.applies_to(scored):
            continue
        value = found[metric.name] = metric.value(scored)
        if metric.interval is not None:
            found[f"{metric.name}_ci"] = None if value is None else list(metric.interval(scored))
    if scored.auc_error_bound is not None:
        found["auc_error_bound"] = scored.auc_error_bound
    return found


def _groups(trained: FinishedRun, split: str, column: str | None) -> NDArray[np.int32] | None:
    column = column or trained.recipe.group
    if column is None:
        return None
    require_column(trained.manifest, column)
    _require_split(trained.manifest, split)
    return read_groups(trained.dataset, trained.manifest, split, column)


def predictions(run: Path, split: str, *, data: Path) -> Scores:
    """Scores of every row of `split`.

    Cached in `predictions/<split>.parquet` of the run folder, so that comparing runs again needs neither data
    nor model.
    """
    cache = RunFolder(run).predictions / f"{split}.parquet"
    if cache.is_file():
        return _read(cache)
    trained = open_run(run, data=data)
    scores = score(trained.model, _reader(trained, split), trained.execution)
    if not _finite(scores.logits):
        lower = hints.slower(open_run(run, data=data).recipe)
        raise RunFailed(
            f"`{run}` predicts values that are not finite",
            hint=f"train its recipe with lower learning rates: {lower}",
        )
    if RunFolder(run).result() is not None:  # an unfinished run may still improve
        try:
            _write(cache, scores)
        except WukongError as error:  # a read-only folder or a full disk
            log.info("predictions are not cached: %s", error.message)
    return scores


def _read(path: Path) -> Scores:
    """Raises RunFailed for a file that is damaged or whose scores are not finite."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        table = pa.table({})
    whole = {"logit", "label"} <= set(table.column_names)
    if not whole or not _finite(table["logit"].to_numpy()):
        raise RunFailed(f"`{path}` is damaged", hint=f"delete it; it is regenerated from `{path.parents[1]}`")
    known = "probability" in table.column_names
    return Scores(
        table["logit"].to_numpy(),
        table["label"].to_numpy().astype("float32"),
        table["probability"].to_numpy() if known else None,
    )


def _finite(logits: np.ndarray) -> bool:
    return np.issubdtype(logits.dtype, np.floating) and bool(np.isfinite(logits).all())


def _reader(trained: FinishedRun, split: str) -> BatchReader:
    _require_split(trained.manifest, split)
    return BatchReader(
        trained.dataset,
        trained.manifest,
        split,
        batch_size=evaluation_batch(trained.execution.device),
        shuffle=False,
        seed=0,
    )


def _require_split(manifest: Manifest, split: str) -> None:
    if split not in manifest.splits:
        raise UsageError(f"`{manifest.dataset}` has no `{split}` split, only {', '.join(manifest.splits)}")


def _write(path: Path, scores: Scores) -> None:
    predicted = torch.sigmoid(torch.from_numpy(scores.logits)).numpy()
    columns = {"label": scores.labels.astype("int8"), "logit": scores.logits, "prediction": predicted}
    if scores.probability is not None:
        columns["probability"] = scores.probability
    write_atomic(path, lambda file: pq.write_table(pa.table(columns), file))
