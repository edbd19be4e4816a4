"""The self-check of `predict`: it must reproduce the scores of a sample of raw training rows.

The dataset has the rows, raw and encoded (`data/pipeline/raw_rows.py`); the run has the scores by its best
weights, `selfcheck.parquet`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import Columns
from wukongctl.data.manifest import SAMPLE_ENCODED, SAMPLE_RAW, Manifest, damaged
from wukongctl.data.schema import Batch
from wukongctl.errors import CheckFailed, WukongError
from wukongctl.training.run_folder import RunFolder

if TYPE_CHECKING:  # training reads no raw rows, and needs no DuckDB
    from wukongctl.data.rows import RowReader
    from wukongctl.training.finished_run import FinishedRun
    from wukongctl.training.hardware import Execution

log = logging.getLogger(__name__)

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Of logits, absolute and relative: the order of summation depends on threads and kernels."""


class FeatureDifference(NamedTuple):
    """A feature with other values than in training."""

    feature: str
    rows: int
    first: int
    """Index of the first of them in the sample."""
    actual: Any
    expected: Any


def keep(
    folder: RunFolder, dataset: Path, manifest: Manifest, model: nn.Module, execution: "Execution"
) -> None:
    """Write the scores of the sampled rows, if there are any, into the run folder."""
    if manifest.raw is None or not manifest.raw.sampled or not folder.writes:
        return
    logits = _logits(model, _batch(_encoded(dataset), manifest), execution)
    table = pa.table({"logit": logits})
    try:
        write_atomic(folder.selfcheck, lambda file: pq.write_table(table, file))
    except WukongError as error:  # the run is complete without it
        log.info("`predict` will not check scores: %s", error.message)


def require(trained: "FinishedRun", reader: "RowReader") -> None:
    """Raise CheckFailed unless `reader` and the weights reproduce features and scores of the sampled rows."""
    raw = trained.manifest.raw
    if raw is None or not raw.sampled:
        log.info("`%s` has no sampled rows: no self-check", trained.dataset)
        return
    expected = _encoded(trained.dataset)
    path = trained.dataset / SAMPLE_RAW
    actual = pa.concat_tables(list(reader.tables(path, columns="raw"))).select(expected.column_names)
    differences = list(_differences(actual, expected))
    if differences:
        raise _changed_features(trained, differences, path)
    scores = RunFolder(trained.run).selfcheck
    if not scores.is_file():
        log.info("`%s` has no scores of the sampled rows: only features were checked", trained.run)
        return
    _require_scores(trained, _batch(actual, trained.manifest), scores)


def _require_scores(trained: "FinishedRun", rows: Batch, scores: Path) -> None:
    expected = _read(scores)["logit"].to_numpy()
    actual = _logits(trained.model, rows, trained.execution)
    allowed = TOLERANCE.get(trained.execution.precision, max(TOLERANCE.values()))
    excess = np.abs(actual - expected) - allowed * np.abs(expected)
    if len(actual) != len(expected) or not excess.max() <= allowed:
        versions = trained.info.versions
        raise CheckFailed(
            f"`{trained.run}` does not reproduce its scores from training: on {len(actual)} rows, logits "
            f"differ by up to {np.abs(actual - expected).max():.3g}",
            hint=f"use wukongctl {versions.get('wukongctl')} and torch {versions.get('torch')}, as in "
            "training, or train again",
        )


def _encoded(dataset: Path) -> pa.Table:
    return _read(dataset / SAMPLE_ENCODED)


def _read(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None


def _batch(features: pa.Table, manifest: Manifest) -> Batch:
    labels = pa.array(np.zeros(features.num_rows, np.uint8))
    columns = Columns(manifest, with_probability=False)
    table = features.append_column("label", labels)
    packed = np.empty((table.num_rows, columns.width), np.int32)
    columns.pack(table, packed)
    return columns.batch(torch.from_numpy(packed))


@torch.inference_mode()
def _logits(model: nn.Module, rows: Batch, how: "Execution") -> np.ndarray:
    model.to(how.device).eval()
    with how.autocast:
        logits = model(rows.to(how.device))
    return logits.float().cpu().numpy()


def _differences(actual: pa.Table, expected: pa.Table) -> Iterator[FeatureDifference]:
    for name in expected.column_names:
        now, before = actual[name].to_pylist(), expected[name].to_pylist()
        wrong = [row for row, pair in enumerate(zip(now, before, strict=True)) if not _same(*pair)]
        if wrong:
            yield FeatureDifference(name, len(wrong), wrong[0], now[wrong[0]], before[wrong[0]])


def _same(actual: Any, expected: Any) -> bool:
    if isinstance(actual, float) and isinstance(expected, float):
        return bool(np.isclose(actual, expected, rtol=1e-6, atol=1e-6))
    return actual == expected


def _changed_features(
    trained: "FinishedRun", differences: list[FeatureDifference], path: Path
) -> CheckFailed:
    listed = "; ".join(
        f"`{found.feature}` in {found.rows} of them, {_cell(path, found)}{found.actual}, not {found.expected}"
        for found in differences
    )
    rows = pq.read_metadata(path).num_rows
    return CheckFailed(
        f"the SELECT of dataset `{trained.manifest.dataset}` does not reproduce the features of {rows} "
        f"training rows: {listed}",
        hint="check for a joined file that changed, or SQL that is not deterministic; "
        "or give files with the columns of the SELECT (`--columns selected`)",
    )


def _cell(path: Path, found: FeatureDifference) -> str:
    """The raw value, if there is a column of that name."""
    table = _read(path)
    if found.feature not in table.column_names:
        return ""
    return f"where `{table[found.feature][found.first].as_py()}` is "
