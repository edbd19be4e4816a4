"""Metrics of a finished run, with intervals."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wukongctl.training.finished_run import FinishedRun, open_run
from wukongctl.training.groups import read_groups, require_column
from wukongctl.training.metrics import METRICS
from wukongctl.training.predictions import require_own, write
from wukongctl.training.scores import Measurable
from wukongctl.training.scoring import reader, require_split, score, summarize


def evaluate(
    run: Path,
    split: str,
    *,
    data: Path,
    predictions: Path | None = None,
    group: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Score `split` with the best weights of `run`; optionally write predictions as Parquet.

    Without `force`, `predictions` may replace only earlier ones of the same run.

    `group`, a categorical column, overrides the recipe's: gAUC over its values is computed too. For very many
    rows, the AUC comes with a bound on its error, unless predictions or groups need all scores anyway.
    Raises UsageError if the run is not finished, the prepared data is not what it was trained on, or there is
    no such column.
    """
    if predictions is not None and not force:
        require_own(predictions, run, "--predictions")
    trained = open_run(run, data=data)
    groups = _groups(trained, split, group)
    if predictions is None:
        scored = summarize(trained.model, reader(trained, split), trained.execution, groups=groups)
    else:
        scored = score(trained.model, reader(trained, split), trained.execution, groups=groups)
        write(predictions, scored, run)
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
    require_split(trained.manifest, split)
    return read_groups(trained.dataset, trained.manifest, split, column)
