"""A CSV table that remembers where its cells are, so that every problem is reported with its position."""

import csv
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wukongctl.errors import Problem, RecipeError, UsageError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One record: the line it starts on, that line as written, and its cells by column name."""

    line: int
    text: str
    cells: dict[str, str]


@dataclass
class CsvTable:
    """The rows of a CSV file with a header, and the problems found in them so far."""

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
            raise UsageError(f"cannot read `{path}`: {reason}", hint="give a CSV file") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"cannot read `{path}`: {error}", hint="give a CSV file in UTF-8") from error
        records = list(_records(text))
        if not records:
            raise UsageError(f"`{path}` is empty", hint="its first line names the columns")
        line, written, header = records[0]
        rows = [CsvRow(at, line_text, _named(header, cells)) for at, line_text, cells in records[1:]]
        table = cls(path, header, CsvRow(line, written, _named(header, header)), rows)
        for at, line_text, cells in records[1:]:
            if any(cells[len(header) :]):
                told = f"{len(cells)} fields, but the header names {len(header)} columns"
                place = _column(line_text, len(header))
                table.problems.append(Problem(told, str(path), at, place, "quote a field with a comma in it"))
        return table

    def check_header(self, *, required: Sequence[str], one_of: Sequence[str], optional: Sequence[str]) -> str:
        """Return the one column of `one_of` that is present; raise `RecipeError` with every header problem.

        A column nobody asked for is ignored, unless it looks like a misspelled one.
        """
        for name in dict.fromkeys(self.header):
            if name and self.header.count(name) > 1:
                self.complain(self.header_row, name, f"column `{name}` is given twice")
        given = [name for name in one_of if name in self.header]
        if len(given) > 1:
            self.complain(self.header_row, given[1], f"`{given[0]}` and `{given[1]}` exclude each other")
        wanted = [*required, *optional, *(() if given else one_of)]
        guesses = self._misspelled([name for name in wanted if name not in self.header])
        for name, guess in guesses.items():
            self.complain(self.header_row, name, f"unknown column `{name}`, did you mean `{guess}`?")
        for name in required:
            if name not in self.header and name not in guesses.values():
                self._absent(f"`{name}`")
        if not given and not set(guesses.values()) & set(one_of):
            self._absent(" or ".join(f"`{name}`" for name in one_of))
        self.raise_problems()
        return given[0]

    def complain(self, row: CsvRow, name: str, message: str, hint: str | None = None) -> None:
        """Remember a problem with the cell of column `name`."""
        column = _column(row.text, self.header.index(name))
        self.problems.append(Problem(message, str(self.path), row.line, column, hint))

    def raise_problems(self) -> None:
        """Raise `RecipeError` when anything was complained about."""
        if self.problems:
            raise RecipeError(self.problems, hint="correct the file and run the same command again")

    def number(self, row: CsvRow, name: str, kind: type[Number], *, optional: bool = False) -> Number | None:
        """The finite number in a cell, or None with a complaint (none for an empty optional cell)."""
        cell = row.cells.get(name, "")
        if not cell and optional:
            return None
        try:
            value = kind(cell)
        except ValueError:
            word = "number" if kind is float else "whole number"
            self.complain(row, name, f"`{cell}` is not a {word}" if cell else f"`{name}` is empty")
            return None
        if not math.isfinite(value):
            self.complain(row, name, f"`{cell}` is not finite")
            return None
        return value

    def _misspelled(self, missing: Sequence[str]) -> dict[str, str]:
        guesses: dict[str, str] = {}
        for name in self.header:
            free = [known for known in missing if known not in guesses.values()]
            if guess := difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.75):
                guesses[name] = guess[0]
        return guesses

    def _absent(self, what: str) -> None:
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
