"""`predict` checks itself first: on raw rows of the training file, whose scores are kept with the run.

The dataset holds the rows, raw and as training had them (`data/pipeline/sample.py`); the run holds the
scores that its best weights gave them, `selfcheck.parquet`.
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
"""Of logits, absolute and relative: other threads and kernels sum in another order."""


class FeatureDifference(NamedTuple):
    """A feature whose values differ from those in training."""

    feature: str
    rows: int
    first: int
    """Position of the first of them in the sample."""
    actual: Any
    expected: Any


def keep(
    folder: RunFolder, dataset: Path, manifest: Manifest, model: nn.Module, execution: "Execution"
) -> None:
    """Write the scores of the sampled rows by the best weights into the run; without a sample, nothing."""
    if manifest.raw is None or not manifest.raw.sampled or not folder.writes:
        return
    logits = _logits(model, _batch(_encoded(dataset), manifest), execution)
    table = pa.table({"logit": logits})
    try:
        write_atomic(folder.selfcheck, lambda file: pq.write_table(table, file))
    except WukongError as error:  # the run is complete without it
        log.info("`predict` will not check scores: %s", error.message)


def require(trained: "FinishedRun", reader: "RowReader") -> None:
    """CheckFailed unless `reader` and the weights do to the sampled rows what they did in training."""
    raw = trained.manifest.raw
    if raw is None or not raw.sampled:
        log.info("no rows are kept with `%s`: predict cannot check itself", trained.dataset)
        return
    expected = _encoded(trained.dataset)
    path = trained.dataset / SAMPLE_RAW
    actual = pa.concat_tables(list(reader.tables(path, columns="raw"))).select(expected.column_names)
    differences = list(_differences(actual, expected))
    if differences:
        raise _other_values(trained, differences, path)
    kept = RunFolder(trained.run).selfcheck
    if not kept.is_file():
        log.info("`%s` keeps no scores: predict has checked the values of features alone", trained.run)
        return
    _require_scores(trained, _batch(actual, trained.manifest), kept)


def _require_scores(trained: "FinishedRun", rows: Batch, kept: Path) -> None:
    before = _read(kept)["logit"].to_numpy()
    now = _logits(trained.model, rows, trained.execution)
    allowed = TOLERANCE.get(trained.execution.precision, max(TOLERANCE.values()))
    apart = np.abs(now - before) - allowed * np.abs(before)
    if len(now) != len(before) or not apart.max() <= allowed:
        versions = trained.info.versions
        raise CheckFailed(
            f"`{trained.run}` gives other scores than at the end of its training: on "
            f"{len(now)} rows, logits differ by up to {np.abs(now - before).max():.3g}",
            hint=f"use what it was trained with, wukongctl {versions.get('wukongctl')} and torch "
            f"{versions.get('torch')}, or train again",
        )


def _encoded(dataset: Path) -> pa.Table:
    return _read(dataset / SAMPLE_ENCODED)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
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


def _other_values(trained: "FinishedRun", differences: list[FeatureDifference], path: Path) -> CheckFailed:
    listed = "; ".join(
        f"`{found.feature}` in {found.rows} of them, {_cell(path, found)}{found.actual} for {found.expected}"
        for found in differences
    )
    rows = pq.read_metadata(path).num_rows
    return CheckFailed(
        f"the SELECT of dataset `{trained.manifest.dataset}` does not give {rows} rows of its own raw file "
        f"the values that they had in training: {listed}",
        hint="look for a joined file that changed, or for SQL that depends on the day or on chance; "
        "or give files with the columns of the SELECT (`--columns selected`)",
    )


def _cell(path: Path, found: FeatureDifference) -> str:
    """The raw value, where a column of that name is there."""
    table = _read(path)
    if found.feature not in table.column_names:
        return ""
    return f"where `{table[found.feature][found.first].as_py()}` is "
