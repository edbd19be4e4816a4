"""Score new rows, in order and in bounded memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch

from wukongctl.data.atomic import write_atomic
from wukongctl.data.rows import ColumnsOf, RowReader
from wukongctl.errors import CheckFailed, Problem, UsageError
from wukongctl.training import selfcheck
from wukongctl.training.finished_run import FinishedRun, open_run
from wukongctl.training.predictions import metadata, require_own
from wukongctl.training.scoring import EVALUATION_BATCH

SCHEMA = pa.schema({"logit": pa.float32(), "prediction": pa.float32()})


def predict(
    run: Path,
    files: Sequence[Path],
    *,
    data: Path,
    out: Path,
    columns: ColumnsOf | None = None,
    source: Path | None = None,
    allow_unknown: bool = False,
    force: bool = False,
    report: Callable[[int], None] = lambda _rows: None,
) -> dict[str, Any]:
    """Score the rows of `files` with the best weights of `run`; one row of `out` per row, in order.

    `out`, Parquet or CSV by its suffix, is written atomically; without `force` it may replace only earlier
    predictions of the same run. `report` is called with the number of rows so far.
    Raises UsageError for files that are missing or lack columns, RunFailed for rows that cannot be read,
    CheckFailed if the self-check fails and, without `allow_unknown`, if most values of a feature are out of
    vocabulary, missing or out of range, unlike in training.
    """
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise UsageError(f"cannot write `{out}`: unknown file type", hint="name it `.parquet` or `.csv`")
    started, rows, total = time.monotonic(), 0, 0.0
    filled: set[Path] = set()
    trained, reader = _opened(run, data, columns, source)
    if not force:
        require_own(out, run, "--out")

    def write(file: BinaryIO) -> None:
        nonlocal rows, total
        with _writer(file, out, run) as writer:
            for path, table in _scored(trained, reader, files):
                writer.write_table(table)
                rows += table.num_rows
                filled.add(path)
                total += float(table["prediction"].to_numpy().sum(dtype="float64"))
                report(rows)
        if not allow_unknown:
            _require_known(reader)

    write_atomic(out, write)
    seconds = time.monotonic() - started
    return {
        "run": str(run),
        "files": [str(path) for path in files],
        "columns": [reader.read[path] for path in files],
        "predictions": str(out),
        "rows": rows,
        "mean_prediction": total / rows if rows else None,
        "unknown": reader.drift.unknown(),
        "notes": [*(f"`{path}` has no rows" for path in files if path not in filled), *reader.notes()],
        "rows_per_second": rows / max(seconds, 1e-9),
        "seconds": seconds,
    }


def score_file(
    run: Path,
    file: Path,
    *,
    data: Path,
    columns: ColumnsOf | None = None,
    source: Path | None = None,
    allow_unknown: bool = False,
) -> tuple[pa.Table, list[str]]:
    """The scores of the rows of `file`, in order, and remarks on them; raises what `predict` raises."""
    trained, reader = _opened(run, data, columns, source)
    parts = [table for _, table in _scored(trained, reader, [file])]
    if not allow_unknown:
        _require_known(reader)
    return pa.concat_tables([SCHEMA.empty_table(), *parts]), reader.notes()


def _opened(
    run: Path, data: Path, columns: ColumnsOf | None, source: Path | None
) -> tuple[FinishedRun, RowReader]:
    """The run, and what reads new rows for it."""
    trained = open_run(run, data=data)
    threads = trained.recipe.threads
    return trained, RowReader(
        trained.dataset, trained.manifest, threads=threads, columns=columns, source=source
    )


@torch.inference_mode()
def _scored(
    trained: FinishedRun, reader: RowReader, files: Sequence[Path]
) -> Iterator[tuple[Path, pa.Table]]:
    how = trained.execution
    model = trained.model.to(how.device)
    checked = False
    for path in files:
        for part in reader.batches(path):
            if reader.read[path] == "raw" and not checked:
                selfcheck.require(trained, reader)
                checked = True
            for start in range(0, len(part.labels), EVALUATION_BATCH):
                rows = part.rows(start, start + EVALUATION_BATCH).to(how.device)
                with how.autocast:
                    logits = model(rows).float().cpu()
                yield path, pa.table([logits.numpy(), torch.sigmoid(logits).numpy()], schema=SCHEMA)


def _require_known(reader: RowReader) -> None:
    """Raise CheckFailed if the values of a feature are too unlike those in training."""
    alarms = reader.alarms()
    if not alarms:
        return
    hint = "write them as in the training file, or add `--allow-unknown` to score the rows anyway"
    if len(alarms) == 1:
        raise CheckFailed(alarms[0], hint=hint)
    raise CheckFailed(
        f"{len(alarms)} features are not written as in training",
        hint=hint,
        problems=tuple(map(Problem, alarms)),
    )


def _writer(file: BinaryIO, out: Path, run: Path) -> pq.ParquetWriter | pyarrow.csv.CSVWriter:
    if out.suffix.lower() == ".csv":
        return pyarrow.csv.CSVWriter(file, SCHEMA)
    return pq.ParquetWriter(file, SCHEMA.with_metadata(metadata(run)))
