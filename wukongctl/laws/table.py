"""A CSV table with the positions of its cells, for error messages."""

import csv
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wukongctl.errors import Problem, RecipeError, UsageError

IntOrFloat = TypeVar("IntOrFloat", int, float)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One record: the line it starts on, that line as written, and its cells by column name."""

    line: int
    text: str
    cells: dict[str, str]


@dataclass
class CsvTable:
    """The rows of a CSV file with a header, and the problems found so far."""

    path: Path
    header: list[str]
    header_row: CsvRow
    rows: list[CsvRow]
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "CsvTable":
        """Read a UTF-8 file; raises `UsageError` when it cannot be read or is empty."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise UsageError(f"cannot read `{path}`: {reason}", hint="pass a CSV file") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"cannot read `{path}`: {error}", hint="save the file as UTF-8") from error
        records = list(_records(text))
        if not records:
            raise UsageError(f"`{path}` is empty", hint="write the column names in its first line")
        line, written, header = records[0]
        rows = [CsvRow(at, line_text, _named(header, cells)) for at, line_text, cells in records[1:]]
        table = cls(path, header, CsvRow(line, written, _named(header, header)), rows)
        if len(header) == 1 and (found := next((mark for mark in ";\t|" if mark in header[0]), None)):
            raise UsageError(
                f"the columns of `{path}` are separated by {found!r}, not by commas",
                hint="save it as comma-separated values",
            )
        for at, line_text, cells in records[1:]:
            if any(cells[len(header) :]):
                message = f"{len(cells)} fields, but the header has {len(header)}"
                place = _column(line_text, len(header))
                table.problems.append(
                    Problem(message, str(path), at, place, "quote fields that contain a comma")
                )
        return table

    def check_header(self, *, required: Sequence[str], one_of: Sequence[str], optional: Sequence[str]) -> str:
        """Return the one column of `one_of` that is present; raise `RecipeError` with every header problem.

        Unknown columns are ignored, unless their name looks like a typo.
        """
        for name in dict.fromkeys(self.header):
            if name and self.header.count(name) > 1:
                self.add_problem(self.header_row, name, f"column `{name}` occurs twice")
        present = [name for name in one_of if name in self.header]
        if len(present) > 1:
            self.add_problem(
                self.header_row, present[1], f"`{present[0]}` and `{present[1]}` are mutually exclusive"
            )
        wanted = [*required, *optional, *(() if present else one_of)]
        guesses = self._misspelled([name for name in wanted if name not in self.header])
        for name, guess in guesses.items():
            self.add_problem(self.header_row, name, f"unknown column `{name}`, did you mean `{guess}`?")
        for name in required:
            if name not in self.header and name not in guesses.values():
                self._add_missing(f"`{name}`")
        if not present and not set(guesses.values()) & set(one_of):
            self._add_missing(" or ".join(f"`{name}`" for name in one_of))
        self.raise_problems()
        return present[0]

    def add_problem(self, row: CsvRow, name: str, message: str, hint: str | None = None) -> None:
        """Record a problem with the cell of column `name`."""
        column = _column(row.text, self.header.index(name))
        self.problems.append(Problem(message, str(self.path), row.line, column, hint))

    def raise_problems(self) -> None:
        """Raise `RecipeError` when there are problems."""
        if self.problems:
            raise RecipeError(self.problems, hint="fix the file, then run the same command again")

    def number(
        self, row: CsvRow, name: str, kind: type[IntOrFloat], *, optional: bool = False
    ) -> IntOrFloat | None:
        """The finite number in a cell, or None; records a problem unless the cell is optional and empty."""
        cell = row.cells.get(name, "")
        if not cell and optional:
            return None
        try:
            value = kind(cell)
        except ValueError:
            word = "number" if kind is float else "integer"
            self.add_problem(row, name, f"`{cell}` is not a {word}" if cell else f"`{name}` is empty")
            return None
        if not math.isfinite(value):
            self.add_problem(row, name, f"`{cell}` is not finite")
            return None
        return value

    def _misspelled(self, missing: Sequence[str]) -> dict[str, str]:
        guesses: dict[str, str] = {}
        for name in self.header:
            free = [known for known in missing if known not in guesses.values()]
            if guess := difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.75):
                guesses[name] = guess[0]
        return guesses

    def _add_missing(self, what: str) -> None:
        self.problems.append(Problem(f"no column {what}", str(self.path), self.header_row.line, 1))


def _records(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (first line, that line as written, stripped cells) of every record that is not blank."""
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, skipinitialspace=True)
    first = 1
    for cells in reader:
        line, first = first, reader.line_num + 1
        if any(cell.strip() for cell in cells):
            yield line, lines[line - 1], [cell.strip() for cell in cells]


def _named(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    return dict(zip(header, cells, strict=False))


def _column(text: str, index: int) -> int:
    """The 1-based character at which field `index` of a CSV line starts."""
    start, quoted = 0, False
    for position, character in enumerate(text):
        if index == 0:
            break
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            start, index = position + 1, index - 1
    rest = text[start:].rstrip("\r\n") if index == 0 else ""
    blank = len(rest) - len(rest.lstrip(" "))
    return start + blank + 1 if index == 0 else len(text.rstrip("\r\n")) + 1
