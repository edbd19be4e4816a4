"""Rows left out under `on_error: skip`: counted, bounded, and a sample kept for a person to look at."""

import csv
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.lines import locations
from wukongctl.errors import RunFailed

FILE = "rejected.csv"
SAMPLE = 1000
"""Rows kept per part."""
STORED_BYTES = 10_000
"""DuckDB keeps about this much of the text of a line that it cannot read."""


class Rejected(NamedTuple):
    """One row that was left out: its file, line and text where they can be told; its place among the rows of
    its part if it could be read."""

    file: str
    line: int | None
    row: int | None
    reason: str
    text: str


class Rejects:
    """What one part leaves out; RunFailed once it is more than the recipe allows."""

    def __init__(self, engine: Engine, spec: DatasetSpec, query: str) -> None:
        self.engine, self.spec, self.query = engine, spec, query
        self.count = 0
        self.sample: list[Rejected] = []
        self._rows = 0

    def strip(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of the next batch that have no `reject_`, without that column."""
        reasons = batch.column("reject_")
        batch = batch.drop_columns(["reject_"])
        if reasons.null_count < len(reasons):
            for position in reasons.is_valid().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
                reason = reasons[position].as_py()
                self._add(Rejected("", None, self._rows + position + 1, reason, ""))
            batch = batch.filter(reasons.is_null())
        self._rows += len(reasons)
        return batch

    def collect(self) -> None:
        """Once all rows are read: add the lines that DuckDB could not, and find those of the others."""
        self.sample = self._placed(self.sample)
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
        """How many lines of the file went with this one: a quote that is not closed takes all that follow.

        Raises RunFailed if their number cannot be told.
        """
        lines = rejected.text.rstrip("\r\n").count("\n") + 1
        if lines > 1 and len(rejected.text.encode()) >= STORED_BYTES - 4:  # a last character may be cut off
            raise RunFailed(
                f"`{rejected.file}:{rejected.line}`: the quoted value that starts here is not closed, "
                f"or only many lines later (dataset `{self.spec.name}`)",
                hint="fix the line, or read the file with `quote=''` if its values are not quoted",
            )
        return lines

    def _add(self, rejected: Rejected, lines: int = 1) -> None:
        self.count += lines
        if len(self.sample) < SAMPLE:
            self.sample.append(rejected)
        if self.count > self.spec.max_rejected:
            (rejected,) = self._placed([rejected])
        require(self.spec, self.count, rejected)

    def _placed(self, sample: list[Rejected]) -> list[Rejected]:
        """`sample` with file, line and text of rows that have only a number."""
        rows = [rejected.row for rejected in sample if rejected.row is not None]
        found = locations(self.engine, self.query, rows) if rows else {}
        return [
            rejected._replace(**found[rejected.row]._asdict()) if rejected.row in found else rejected
            for rejected in sample
        ]


def require(spec: DatasetSpec, count: int, last: Rejected | None = None) -> None:
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


def join(parts: list[Path], target: Path) -> None:
    """Put the samples of all parts into one file with a header."""
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(Rejected._fields)
        for part in parts:
            file.write(part.read_text(encoding="utf-8"))
