"""From a row of a query back to the line of the text file it came from, to explain a failure."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wukongctl.data import sql

if TYPE_CHECKING:
    from wukongctl.data.engine import Engine

CHUNK = 1 << 20
ONE_TO_ONE = frozenset({"PROJECTION", "READ_CSV", "READ_CSV_AUTO"})
"""Operators that give one row for each record of the file, in its order."""
SNIFFED = 100_000
"""Lines looked at for the one that breaks a file's pattern."""


def place(engine: "Engine", query: str, row: int) -> str | None:
    """`file:line` of row number `row` (from 1) of `query`, where each line of its one file is a row."""
    names = sql.PLACEHOLDER.findall(query)
    if len(names) != 1 or not engine.operators(query) <= ONE_TO_ONE:
        return None
    ((rows,),) = engine.aside(f"SELECT count(*) FROM (\n{query}\n)")
    path = engine.paths[names[0]]
    if not isinstance(path, Path):
        return None
    header = _lines(path) - rows
    # More lines than rows and a header: fields with line breaks, empty lines or comments.
    return f"{path.name}:{row + header}" if header in {0, 1} else None


def odd_line(path: Path, delimiters: str) -> tuple[int, str] | None:
    """The first line whose number of fields is not that of the first, or whose quote never ends."""
    try:
        with opened(path) as file:
            first = file.readline().decode("utf-8", "replace")
            delimiter = max(delimiters, key=first.count)
            wanted = len(next(csv.reader([first], delimiter=delimiter)))
            for number, line in enumerate(file, start=2):
                text = line.decode("utf-8", "replace")
                if text.count('"') % 2:
                    return number, "a quoted value never ends"
                found = len(next(csv.reader([text], delimiter=delimiter), []))
                if found != wanted:
                    return number, f"expected {wanted} columns, found {found}"
                if number > SNIFFED:
                    break
    except (OSError, EOFError, csv.Error, StopIteration):
        return None
    return None


def _lines(path: Path) -> int:
    with opened(path) as file:
        count, last = 0, b"\n"
        for block in _blocks(file):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(CHUNK):
        yield block


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a text file, decompressed."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield file  # type: ignore[misc]
