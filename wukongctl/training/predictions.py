"""Predictions of a finished run: a score for every row of a split, cached in its folder."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.data.atomic import write_atomic
from wukongctl.errors import RunFailed, UsageError, WukongError
from wukongctl.training import hints
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.scores import Scores

log = logging.getLogger(__name__)
WRITTEN_BY = b"wukongctl.run"
"""Key in the Parquet metadata: the run whose predictions they are."""
CSV_HEADER = b'"logit","prediction"'
"""First line of a CSV file of predictions, which has no place for the run."""


def predictions(run: Path, split: str, *, data: Path) -> Scores:
    """Scores of every row of `split`.

    Cached in `predictions/<split>.parquet` of the run folder, so that comparing runs again needs neither data
    nor model.
    """
    cache = RunFolder(run).predictions / f"{split}.parquet"
    if cache.is_file():
        return _read(cache)
    from wukongctl.training.finished_run import open_run  # with torch, which cached scores do not need
    from wukongctl.training.scoring import reader, score

    trained = open_run(run, data=data)
    scores = score(trained.model, reader(trained, split), trained.execution)
    if not _finite(scores.logits):
        lower = hints.slower(trained.recipe)
        raise RunFailed(
            f"`{run}` predicts values that are not finite",
            hint=f"train its recipe with lower learning rates: {lower}",
        )
    if RunFolder(run).result() is not None:  # an unfinished run may still improve
        try:
            write(cache, scores, run)
        except WukongError as error:  # a read-only folder or a full disk
            log.info("predictions are not cached: %s", error.message)
    return scores


def _read(path: Path) -> Scores:
    """Raises RunFailed for a file that is damaged or whose scores are not finite."""
    try:
        table = pq.ParquetFile(path).read()
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


def metadata(run: Path) -> dict[bytes | str, bytes | str]:
    """Metadata of a Parquet file with the predictions of `run`."""
    return {WRITTEN_BY: _id(run)}


def require_own(out: Path, run: Path, option: str) -> None:
    """Raise UsageError if `out` exists and has other content than predictions of `run`."""
    if not out.exists():
        return
    hint = f"name another file with `{option}`, or add `--force` to replace it"
    try:
        found = pq.read_schema(out).metadata
    except (OSError, pa.ArrowException):
        found = None
    written_by = (found or {}).get(WRITTEN_BY, b"").decode()
    if out.suffix.lower() == ".csv" and _first_line(out) == CSV_HEADER:
        return
    if not written_by:
        raise UsageError(f"`{out}` exists and is not a file of predictions", hint=hint)
    if written_by != _id(run):
        raise UsageError(f"`{out}` has predictions of another run, `{written_by}`", hint=hint)


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(100).rstrip()
    except OSError:
        return b""


def _id(run: Path) -> str:
    return run.resolve().name


def write(path: Path, scores: Scores, run: Path) -> None:
    """Write labels, logits and predictions of `run` as Parquet."""
    table = to_table(scores).replace_schema_metadata(metadata(run))
    write_atomic(path, lambda file: pq.write_table(table, file))


def to_table(scores: Scores) -> pa.Table:
    """Columns `label`, `logit`, `prediction` and, where it is known, `probability`."""
    import torch

    predicted = torch.sigmoid(torch.from_numpy(np.require(scores.logits, requirements="W"))).numpy()
    columns = {"label": scores.labels.astype("int8"), "logit": scores.logits, "prediction": predicted}
    if scores.probability is not None:
        columns["probability"] = scores.probability
    return pa.table(columns)
