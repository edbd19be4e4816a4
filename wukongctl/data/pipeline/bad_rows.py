"""Rows with values that are not allowed: the error for the first one, or under `on_error: skip` their count
and a sample of them.
"""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from wukongctl.config.dataset import ByColumn, DatasetSpec
from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine, without_views
from wukongctl.data.query.failures import ConversionFailed
from wukongctl.errors import RunFailed

FILE = "rejected.csv"
SAMPLE = 1000
"""Rows kept per part."""
STORED_BYTES = 10_000
"""DuckDB stores about this much text of a line that it cannot read."""
MAX_REJECTS = 1000
"""Unreadable lines that DuckDB stores while the first bad row is looked for."""


def require_values(
    engine: Engine, spec: DatasetSpec, query: str, batch: pa.RecordBatch, first_row: int
) -> None:
    """RunFailed if a label or split in `batch`, which starts at `first_row` of `query`, is not allowed."""
    if batch.column("label_").null_count:
        value, column, allowed = f"({spec.label})", "label_", "the label must be 0 or 1"
    elif "split_" in batch.schema.names and batch.column("split_").null_count:
        value = sql.identifier(spec.split.column) if isinstance(spec.split, ByColumn) else "NULL"
        column, allowed = "split_", "the split must be `train`, `valid` or `test`"
    else:
        return
    row = first_row + batch.column(column).is_null().index(True).as_py()
    ((text,),) = engine.cursor_rows(
        f"SELECT CAST({value} AS VARCHAR) FROM (\n{query}\n) LIMIT 1 OFFSET {row}"
    )
    found = "a missing value" if text is None else f"`{text}`"
    raise lines.bad_row(engine, query, row + 1, f"{allowed}, found {found}")


def first(engine: Engine, spec: DatasetSpec, query: str, types: Mapping[str, str]) -> RunFailed | None:
    """The error for the first row of `query` with a bad label or number."""
    for row, why, _ in engine.cursor_rows(sql.first_bad_row(spec, query, types, None)):
        return lines.bad_row(engine, query, row, why)
    return None


def earliest(
    engine: Engine, spec: DatasetSpec, query: str, failure: RunFailed, split: str | None = None
) -> RunFailed:
    """`failure`, or that of an earlier bad row of `query`: each pass over a file finds other errors first.

    `split` is that of `sql.select`. A failure of no row in particular is returned as it is.
    """
    is_row = lines.LOCATED.match(failure.message) or isinstance(failure, ConversionFailed)
    if spec.on_error == "skip" or not is_row:
        return failure
    tolerant = sql.storing_rejects(query, MAX_REJECTS)
    described = engine.try_rows(f"DESCRIBE {tolerant}")
    types = {name.lower(): kind for name, kind, *_ in described[0]} if described is not None else {}
    if not types.keys() >= {name.lower() for name, _ in spec.columns}:
        return failure
    found = engine.try_rows(sql.first_bad_row(spec, tolerant, types, split))
    if found is None:
        return failure
    others = [lines.bad_row(engine, tolerant, row, why) for row, why, _ in found[0]]
    for path, line, what, _ in found[1]:
        message = f"`{Path(path).name}:{line}`: {what[:1].lower()}{what[1:].rstrip('.')}"
        others.append(RunFailed(f"{message} (dataset `{spec.name}`)", hint=lines.SKIP))
    # For the same line, a rule says more than the failed cast that checks it.
    candidates = [*others, failure] if isinstance(failure, ConversionFailed) else [failure, *others]
    names = sql.PLACEHOLDER.findall(query)
    files = [path.name for name in names for path in lines.paths_of(engine.paths[name])]
    return min(candidates, key=lambda candidate: _position(candidate, files))


def _position(failure: RunFailed, files: list[str]) -> tuple[float, int]:
    """Position of a bad row among `files`; after all others if it is not known."""
    located = lines.LOCATED.match(failure.message)
    if located is None or located[1] not in files:
        return math.inf, 0
    return files.index(located[1]), int(located[2])


class Rejected(NamedTuple):
    """A row that is left out. `row` is its number in its part, if it could be read."""

    file: str
    line: int | None
    row: int | None
    reason: str
    text: str


class Rejects:
    """The rows that are left out of one part; RunFailed once they are more than the recipe allows."""

    def __init__(self, engine: Engine, spec: DatasetSpec, query: str) -> None:
        self.engine, self.spec, self.query = engine, spec, query
        self.count = 0
        self.sample: list[Rejected] = []
        self._rows = 0

    def strip(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of the next batch without a `reject_`, and without that column."""
        reasons = batch.column("reject_")
        batch = batch.drop_columns(["reject_"])
        if reasons.null_count < len(reasons):
            for position in reasons.is_valid().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
                reason = reasons[position].as_py()
                self._add(Rejected("", None, self._rows + position + 1, reason, ""))
            batch = batch.cast(without_views(batch.schema)).filter(reasons.is_null())
        self._rows += len(reasons)
        return batch

    def collect(self) -> None:
        """Once all rows are read: add the lines that DuckDB could not read, and locate the rows."""
        self.sample = self._located(self.sample)
        for path, line, message, text in self.engine.unreadable():
            reason = message[:1].lower() + message[1:]
            rejected = Rejected(Path(path).name, line, None, reason, text)
            lost = self._lines(rejected)
            if lost > 1:
                rejected = rejected._replace(reason=f"{reason.rstrip('.')}; {lost} lines are lost with it")
            self._add(rejected, lost)

    def write(self, path: Path) -> None:
        """Write the sample."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self.sample)

    def _lines(self, rejected: Rejected) -> int:
        """How many lines of the file are rejected: an open quote includes those that follow.

        Raises RunFailed if their number is not known.
        """
        count = rejected.text.rstrip("\r\n").count("\n") + 1
        if count > 1 and len(rejected.text.encode()) >= STORED_BYTES - 4:  # the last character may be cut off
            raise RunFailed(
                f"`{rejected.file}:{rejected.line}`: the quoted value that starts here is not closed, "
                f"or only many lines later (dataset `{self.spec.name}`)",
                hint="fix the line, or read the file with `quote=''` if its values are not quoted",
            )
        return count

    def _add(self, rejected: Rejected, count: int = 1) -> None:
        self.count += count
        if len(self.sample) < SAMPLE:
            self.sample.append(rejected)
        if self.count > self.spec.max_rejected:
            (rejected,) = self._located([rejected])
        require_few(self.spec, self.count, rejected)

    def _located(self, sample: list[Rejected]) -> list[Rejected]:
        """`sample` with file, line and text of rows that have only a number."""
        rows = [rejected.row for rejected in sample if rejected.row is not None]
        found = lines.locations(self.engine, self.query, rows) if rows else {}
        return [
            rejected._replace(**found[rejected.row]._asdict()) if rejected.row in found else rejected
            for rejected in sample
        ]


def require_few(spec: DatasetSpec, count: int, last: Rejected | None = None) -> None:
    """RunFailed if `count` rows are more than may be left out."""
    if count <= spec.max_rejected:
        return
    example = ""
    if last is not None:
        where = f"`{last.file}:{last.line}`" if last.file else f"row {last.row:,}"
        example = f"; {where}: {last.reason}"
    raise RunFailed(
        f"more than {spec.max_rejected:,} rows of dataset `{spec.name}` are bad{example}",
        hint="fix the SELECT, or raise `max_rejected`",
    )


def join(samples: list[Path], target: Path) -> None:
    """Write the samples of all parts to one file with a header."""
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(Rejected._fields)
        for sample in samples:
            file.write(sample.read_text(encoding="utf-8"))
