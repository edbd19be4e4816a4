"""A finished run → metrics with intervals, and predictions."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data import vectors as frozen
from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.errors import UsageError
from wukongctl.models import build
from wukongctl.training import checkpoint
from wukongctl.training.evaluation import EVALUATION_BATCH, Scores, score
from wukongctl.training.metrics import auc_interval, logloss_interval
from wukongctl.training.run import RunFolder


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
    folder = RunFolder(run)
    described = folder.read("run.json")
    if described is None:
        raise UsageError(f"`{run}` is not a run folder", hint="run `wukongctl runs ls` to see those you have")
    if not folder.best.is_file():
        raise UsageError(
            f"`{run}` has no trained weights yet",
            hint=f"run `wukongctl train {run / 'recipe.yaml'}` to finish it",
        )
    recipe = TrainingSpec.from_dict(described["recipe"])
    dataset = data / recipe.data
    manifest = manifests.read(dataset)
    if manifest.fingerprint != described["data"]["fingerprint"]:
        raise UsageError(
            f"`{dataset}` is not the data that `{run}` was trained on: fingerprint "
            f"{manifest.fingerprint[:12]}, expected {described['data']['fingerprint'][:12]}",
            hint="prepare the original again, or name its folder with `--data`",
        )
    if split not in manifest.splits:
        raise UsageError(f"`{recipe.data}` has no `{split}` split, only {', '.join(manifest.splits)}")
    model = build(recipe.model, manifest.schema(), sparse=False, vectors=frozen.load(dataset, manifest))
    model.load_state_dict(checkpoint.load(folder.best)["model"])
    reader = BatchReader(dataset, manifest, split, batch_size=EVALUATION_BATCH, shuffle=False, seed=0)
    return score(model, reader)


def _write(path: Path, scores: Scores) -> None:
    predicted = torch.sigmoid(torch.from_numpy(scores.logits)).numpy()
    columns = {"label": scores.labels.astype("int8"), "logit": scores.logits, "prediction": predicted}
    if scores.probability is not None:
        columns["probability"] = scores.probability
    write_atomic(path, lambda file: pq.write_table(pa.table(columns), file))
