"""A finished run → metrics with intervals, and predictions."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.errors import UsageError
from wukongctl.training.evaluation import EVALUATION_BATCH, Scores, score
from wukongctl.training.hardware import execution
from wukongctl.training.metrics import auc_interval, logloss_interval
from wukongctl.training.run import RunFolder
from wukongctl.training.trained import open_run


def evaluate(run: Path, split: str, *, data: Path, predictions: Path | None = None) -> dict[str, Any]:
    """Score `split` with the best weights of `run`; optionally write predictions as Parquet.

    Raises UsageError when the run is not finished, or the prepared data is not what it was trained on.
    """
    scores = _scores(run, split, data)
    metrics = scores.measure()
    if predictions is not None:
        _write(predictions, scores)
    return {
        "run": str(run),
        "split": split,
        "rows": metrics.rows,
        "auc": metrics.auc,
        "auc_ci": None if metrics.auc is None else list(auc_interval(scores.logits, scores.labels)),
        "logloss": metrics.logloss,
        "logloss_ci": list(logloss_interval(scores.logits, scores.labels)),
        "normalized_entropy": metrics.normalized_entropy,
        "calibration": metrics.calibration,
        **({} if metrics.excess_logloss is None else {"excess_logloss": metrics.excess_logloss}),
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
    if RunFolder(run).read("result.json") is not None:  # else better weights may come
        kept.parent.mkdir(exist_ok=True)
        _write(kept, scores)
    return scores


def _read(path: Path) -> Scores:
    table = pq.read_table(path)
    known = "probability" in table.column_names
    return Scores(
        table["logit"].to_numpy(),
        table["label"].to_numpy().astype("float32"),
        table["probability"].to_numpy() if known else None,
    )


def _scores(run: Path, split: str, data: Path) -> Scores:
    trained = open_run(run, data=data)
    manifest = trained.manifest
    if split not in manifest.splits:
        raise UsageError(f"`{manifest.dataset}` has no `{split}` split, only {', '.join(manifest.splits)}")
    reader = BatchReader(trained.dataset, manifest, split, batch_size=EVALUATION_BATCH, shuffle=False, seed=0)
    return score(trained.model, reader, execution(trained.recipe))


def _write(path: Path, scores: Scores) -> None:
    predicted = torch.sigmoid(torch.from_numpy(scores.logits)).numpy()
    columns = {"label": scores.labels.astype("int8"), "logit": scores.logits, "prediction": predicted}
    if scores.probability is not None:
        columns["probability"] = scores.probability
    write_atomic(path, lambda file: pq.write_table(pa.table(columns), file))
