"""A table with the positions of its cells, for error messages: separated values, JSON lines or Parquet."""

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from wukongctl.config.suggestions import no_file
from wukongctl.errors import Problem, RecipeError, UsageError

IntOrFloat = TypeVar("IntOrFloat", int, float)

SEPARATORS = (",", ";", "\t", "|")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
PARQUET = b"PAR1"
THOUSANDS = re.compile(r"[+-]?\d{1,3}([, _']\d{3})+(\.\d*)?")
MISSING = ("", "nan", "<na>", "null", "none")
"""What pandas and others write where an optional number is missing."""


@dataclass(frozen=True, slots=True)
class PointRow:
    """One record: its number from 1, its first line as written, and its cells by column name.

    `line` is 0 in files without lines.
    """

    number: int
    line: int
    text: str
    cells: dict[str, str]


@dataclass
class PointTable:
    """The rows of a file with named columns, and the problems found so far."""

    path: Path
    header: list[str]
    header_row: PointRow
    rows: list[PointRow]
    separator: str | None = None
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "PointTable":
        """Read CSV, TSV and the like, JSON lines or Parquet; raises `UsageError` for other content."""
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            if not path.exists():
                raise no_file(path) from None
            raise UsageError(f"cannot read `{path}`: {reason}", hint="pass a table of points") from error
        if content.startswith(PARQUET):
            return _of_records(path, _parquet(path))
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"cannot read `{path}`: {error}", hint="save the file as UTF-8") from error
        if path.suffix.lower() in JSON_ENDINGS:
            return _of_records(path, _json(path, text))
        return _separated(path, text)

    def add_problem(self, row: PointRow, name: str, message: str, hint: str | None = None) -> None:
        """Record a problem with the cell of column `name`."""
        if not row.line:
            message = f"row {row.number}, column `{name}`: {message}"
        self.problems.append(Problem(message, str(self.path), row.line, self._column(row, name), hint))

    def raise_problems(self) -> None:
        """Raise `RecipeError` when there are problems."""
        if self.problems:
            raise RecipeError(self.problems, hint="fix the file, then run the same command again")

    def number(
        self, row: PointRow, name: str, kind: type[IntOrFloat], *, optional: bool = False
    ) -> IntOrFloat | None:
        """The finite number in a cell, or None; records a problem unless the cell is optional and empty.

        Whole numbers may be written as `4000.0` or `4e9`.
        """
        cell = row.cells.get(name, "")
        if optional and cell.lower() in MISSING:
            return None
        try:
            value = kind(cell) if kind is float else _whole(cell)
        except (ValueError, OverflowError):
            word = "number" if kind is float else "whole number"
            message = f"`{cell}` is not a {word}" if cell else f"`{name}` is empty"
            self.add_problem(row, name, message, self._hint(cell))
            return None
        if not math.isfinite(value):
            self.add_problem(row, name, f"`{cell}` is not finite")
            return None
        return kind(value)

    def _hint(self, cell: str) -> str | None:
        """How to write a cell that is not a number."""
        if not cell:
            return "fill it in, or delete the row"
        if THOUSANDS.fullmatch(cell) and self.separator != ";":
            return "write it without thousands separators"
        if cell.endswith("%"):
            return "write the number without `%`"
        return "write a decimal point" if self.separator == ";" and "," in cell else None

    def _column(self, row: PointRow, name: str) -> int:
        if self.separator is not None:
            return _start(row.text, self.header.index(name), self.separator)
        return max(row.text.find(json.dumps(name)) + 1, 1)


def _whole(cell: str) -> int:
    """A whole number; raises ValueError for others."""
    try:
        return int(cell)
    except ValueError:
        value = float(cell)
        if value != int(value):
            raise ValueError(cell) from None
        return int(value)


# --- separated values -----------------------------------------------------------------------------------


def _separated(path: Path, text: str) -> PointTable:
    separator = _separator(text)
    records = list(_records(text, separator))
    if not records:
        raise UsageError(f"`{path}` is empty", hint="write the column names in its first line")
    line, written, header = records[0]
    rows = [
        PointRow(number, at, line_text, _named(header, cells))
        for number, (at, line_text, cells) in enumerate(records[1:], start=1)
    ]
    table = PointTable(path, header, PointRow(0, line, written, _named(header, header)), rows, separator)
    for at, line_text, cells in records[1:]:
        if any(cells[len(header) :]):
            message = f"{len(cells)} fields, but the header has {len(header)}"
            place = _start(line_text, len(header), separator)
            hint = f"quote fields that contain {'a comma' if separator == ',' else repr(separator)}"
            table.problems.append(Problem(message, str(path), at, place, hint))
    return table


def _separator(text: str) -> str:
    """The separator that makes most columns of the first line; a comma if there is a single column."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    fields = {mark: len(next(csv.reader([first], delimiter=mark))) for mark in SEPARATORS}
    return max(SEPARATORS, key=fields.__getitem__)


def _records(text: str, separator: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (first line, that line as written, stripped cells) of every record that is not blank."""
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, skipinitialspace=True, delimiter=separator)
    first = 1
    for cells in reader:
        line, first = first, reader.line_num + 1
        if any(cell.strip() for cell in cells):
            yield line, lines[line - 1], [cell.strip() for cell in cells]


def _named(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    return dict(zip(header, cells, strict=False))


def _start(text: str, index: int, separator: str) -> int:
    """The 1-based character at which field `index` of a line starts."""
    start, quoted = 0, False
    for position, character in enumerate(text):
        if index == 0:
            break
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            start, index = position + 1, index - 1
    rest = text[start:].rstrip("\r\n") if index == 0 else ""
    blank = len(rest) - len(rest.lstrip(" "))
    return start + blank + 1 if index == 0 else len(text.rstrip("\r\n")) + 1


# --- JSON lines and Parquet -----------------------------------------------------------------------------

Record = tuple[int, str, dict[str, Any]]
"""Line (0 where there are none), that line as written, and values by column."""


def _of_records(path: Path, records: list[Record]) -> PointTable:
    header = list(dict.fromkeys(name for _, _, values in records for name in values))
    if not header:
        raise UsageError(f"`{path}` is empty", hint="write a record per run")
    rows = [
        PointRow(number, line, text, {name: _cell(value) for name, value in values.items()})
        for number, (line, text, values) in enumerate(records, start=1)
    ]
    return PointTable(
        path, header, PointRow(0, rows[0].line, rows[0].text, {name: name for name in header}), rows
    )


def _cell(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value).strip()


ONE_OBJECT = 'write one object per run, such as {"model": "a", "params": 1e6, "loss": 0.5}'


def _json(path: Path, text: str) -> list[Record]:
    if text.lstrip().startswith("["):
        values = _parsed(path, text, 1)
        records = [(0, "", value) for value in values]
    else:
        lines = [(line, each) for line, each in enumerate(text.splitlines(), start=1) if each.strip()]
        records = [(line, each, _parsed(path, each, line)) for line, each in lines]
    for number, (_, _, value) in enumerate(records, start=1):
        if not isinstance(value, dict):
            raise UsageError(
                f"record {number} of `{path}` is not a JSON object",
                hint=ONE_OBJECT,
            )
        if nested := [name for name, cell in value.items() if isinstance(cell, dict | list)]:
            raise UsageError(
                f"record {number} of `{path}` has more than one value in `{nested[0]}`", hint=ONE_OBJECT
            )
    return records


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "lineno", 1) + line - 1
        raise UsageError(
            f"`{path}:{at}` is not JSON: {error}", hint="write one JSON object per line"
        ) from error


def _parquet(path: Path) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"cannot read `{path}`: {error}", hint="write it again as Parquet or CSV") from error
    return [(0, "", values) for values in table.to_pylist()]
