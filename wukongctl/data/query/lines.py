"""From a row of a query back to the line of its text file, for error messages."""

import codecs
import csv
import gzip
import io
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from wukongctl.data.query import sql
from wukongctl.errors import RunFailed

ONE_TO_ONE = frozenset({"PROJECTION", "READ_CSV", "READ_CSV_AUTO"})
"""Operators that return one row for each record of the file, in its order."""
DELIMITERS = ",\t|;"
SEARCHED = 100_000
"""Lines searched for the one that differs from the others."""
OTHER_ENDING = "its line ending differs from that of the first line"
TWO_RETURNS = r"the line ends in `\r\r\n`"
MAX_RECORD_LINES = 10_000
"""A longer record is due to a stray quote."""
UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file that may be compressed raises."""
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PEEK_BYTES = 1 << 16
NO_QUOTES = re.compile(r"\bquote\s*=\s*''", re.IGNORECASE)
LOCATED = re.compile(r"`([^`]+):(\d+)`: ")
"""How a message with file and line begins."""
SKIP_ROWS = "set `on_error: skip` in the recipe to skip such rows"
NOT_A_LABEL, NOT_A_NUMBER = "the label must be 0 or 1", "which is not a number"
SKIP = f"fix it, or {SKIP_ROWS}"


class RawFiles(Protocol):
    """The raw files of a dataset, and a DuckDB to query them: an `Engine`."""

    dataset: str
    paths: Mapping[str, Path | tuple[Path, ...]]
    search: Path
    """Folder that relative paths start from."""

    def try_rows(self, text: str) -> tuple[list[tuple[Any, ...]], list[tuple[str, int, str, str]]] | None:
        """Rows and unreadable lines of a query; None if it fails."""
        ...

    def operators(self, text: str) -> set[str]:
        """Names of the operators of a query's plan."""
        ...


class RowLocation(NamedTuple):
    """File, line and text of a row."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def locations(engine: RawFiles, query: str, rows: Sequence[int]) -> dict[int, RowLocation]:
    """Row number (from 1) of `query` → its location; empty unless every record of its files is a row.

    Whether files have headers, and whether every row is accounted for, follows from the number of rows.
    """
    names = sql.PLACEHOLDER.findall(query)
    calls = list(sql.csv_calls(query))
    if len(calls) != 1 or not names or not engine.operators(query) <= ONE_TO_ONE:
        return {}
    # The SELECT itself may fail; the number of rows does not depend on it.
    counted = engine.try_rows(_count(query)) or engine.try_rows(_count(f"SELECT * FROM read_csv({calls[0]})"))
    if counted is None:
        return {}
    (((total, *_),), rejected) = counted
    unreadable = {(path, line) for path, line, _, _ in rejected}
    files = [path for name in names for path in paths_of(engine.paths[name])]
    quoted = NO_QUOTES.search(calls[0]) is None
    with_header, without, seen = {}, {}, 0
    wanted = set(rows)
    for number, path in enumerate(files, start=1):
        for line, text in _records(path, quoted=quoted):
            if (str(path), line) in unreadable:
                continue
            seen += 1
            if seen in wanted:
                without[seen] = RowLocation(path.name, line, text)
            if seen - number in wanted:
                with_header[seen - number] = RowLocation(path.name, line, text)
    return {total: without, total + len(files): with_header}.get(seen, {})


def _count(query: str) -> str:
    """A query that counts rows and reads all their columns."""
    return f"SELECT count(*), count(COLUMNS(*)) FROM (\n{query}\n)"


def location(engine: RawFiles, query: str, row: int) -> str | None:
    """`file:line` of row number `row` (from 1) of `query`, if it can be traced."""
    found = locations(engine, query, [row]).get(row)
    return str(found) if found is not None else None


def bad_row(engine: RawFiles, query: str, row: int, what: str) -> RunFailed:
    """The error `file:line: what` for row number `row` (from 1) of `query`."""
    found = location(engine, query, row)
    if found is not None:
        return RunFailed(f"`{found}`: {what} (dataset `{engine.dataset}`)", hint=_remedy(what))
    return RunFailed(f"{what} in row {row:,} of dataset `{engine.dataset}`", hint=_remedy(what))


def _remedy(what: str) -> str:
    """What to do about a value that is not allowed: it may be the recipe that is wrong."""
    if what.startswith(NOT_A_LABEL):
        return f"make `label` SQL that is 0 or 1, such as `label: rating >= 4`; or {SKIP_ROWS}"
    if what.endswith(NOT_A_NUMBER):
        return f"fix it, or make the feature `categorical`; or {SKIP_ROWS}"
    return SKIP


def to_delete(path: Path, line: int) -> str:
    """What to do about a bad line before there is a recipe."""
    if path.suffix in (".gz", ".zst"):
        return f"fix line {line} of the file"
    return f"fix line {line}, or leave it out: `sed {line}d {shlex.quote(str(path))} > fixed{path.suffix}`"


def to_end_alike(path: Path) -> str:
    """What to do about different line endings."""
    return rf"make the line endings alike: `tr -d '\r' < {shlex.quote(str(path))} > fixed{path.suffix}`"


def paths_of(paths: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    """The files behind one name of a recipe: one, or the matches of a pattern."""
    return (paths,) if isinstance(paths, Path) else paths


def _records(path: Path, *, quoted: bool) -> Iterator[tuple[int, str]]:
    """Line number and text of each record that is not blank; quoted values may contain line breaks."""
    with opened(path) as file:
        start, parts, quotes = 1, [], 0
        for number, line in enumerate(file, start=1):
            start = number if not parts else start
            parts.append(line)
            quotes += line.count(b'"')
            if quoted and quotes % 2 and len(parts) < MAX_RECORD_LINES:
                continue
            text = b"".join(parts).decode("utf-8", "replace").rstrip("\r\n")
            parts, quotes = [], 0
            if text:
                yield start, text
        if parts:
            yield start, b"".join(parts).decode("utf-8", "replace").rstrip("\r\n")


def odd_line(path: Path, delimiters: str) -> tuple[int, str] | None:
    """The first line that differs from line 1 in columns or line ending, or leaves a quote open; and what."""
    try:
        with opened(path) as file:
            head = next(file, b"")
            first = head.decode("utf-8", "replace")
            if head.endswith(b"\r\r\n"):  # Python's csv module on Windows, without newline=""
                return 1, TWO_RETURNS
            delimiter = max(delimiters, key=first.count)
            wanted = len(next(csv.reader([first], delimiter=delimiter)))
            for number, line in enumerate(file, start=2):
                text = line.decode("utf-8", "replace")
                if text.count('"') % 2:
                    return number, "unterminated quoted value"
                found = len(next(csv.reader([text], delimiter=delimiter), []))
                if found != wanted:
                    return number, f"expected {wanted} columns, found {found}"
                if line.endswith(b"\n") and line.endswith(b"\r\n") != head.endswith(b"\r\n"):
                    return number, OTHER_ENDING
                if number > SEARCHED:
                    break
    except (*UNREADABLE, csv.Error, StopIteration):
        return None
    return None


def first_line(path: Path) -> str:
    """The first line as text; empty if the file cannot be read."""
    with suppress(*UNREADABLE), opened(path) as file:
        return next(file, b"").decode("utf-8", "replace")
    return ""


def long_line(path: Path, limit: int) -> int | None:
    """The first line of more than `limit` bytes."""
    with suppress(*UNREADABLE), opened(path) as file:
        for number, line in enumerate(file, start=1):
            if len(line) > limit:
                return number
    return None


@contextmanager
def opened(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a text file as UTF-8, decompressed; CR alone ends a line where there is no LF."""
    with decompressed(path) as file:
        start = file.peek(PEEK_BYTES)  # type: ignore[attr-defined]
        if start.startswith(codecs.BOM_UTF16_LE):
            yield codecs.EncodedFile(file, "utf-8", "utf-16")
        elif ends_with_return(start):
            text = io.TextIOWrapper(file, encoding="latin-1", newline="\r")
            yield (line.encode("latin-1") for line in text)
        else:
            yield file


@contextmanager
def decompressed(path: Path) -> "Iterator[io.BufferedReader[Any]]":
    """The bytes of a file, decompressed if its first bytes say so."""
    with path.open("rb") as file:
        if file.peek(4).startswith(ZSTD):
            with io.BufferedReader(pa.input_stream(path, compression="zstd")) as unpacked:
                yield unpacked
        elif file.peek(4).startswith(GZIP):
            with io.BufferedReader(gzip.GzipFile(fileobj=file)) as unpacked:  # type: ignore[arg-type]
                yield unpacked
        else:
            yield file


def start_of(path: Path, size: int) -> bytes:
    """The first bytes of a file, decompressed."""
    with decompressed(path) as file:
        return file.read(size)


def ends_with_return(start: bytes) -> bool:
    """Whether lines end in CR alone, judged by the first bytes of a file."""
    return b"\r" in start and b"\n" not in start
