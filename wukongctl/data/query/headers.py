"""Headers that DuckDB does not read, under column names of the recipe: they must say the same.

DuckDB matches columns by name where it names them itself. Where the SQL gives `columns` or `names`, or `skip`
passes over the headers, it goes by position and a file's header is unread: one with its columns in another
order, than the recipe's or than another file's, would be mixed up. Remote files are not compared.
"""

import csv
import re
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path

from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError

IS = r"\s*(?:=>|:=|=)\s*"
NAMED = re.compile(rf"\b(columns|names|column_names){IS}", re.IGNORECASE)
HEADER = re.compile(rf"\bheader{IS}(true|1|'true')", re.IGNORECASE)
NO_HEADER = re.compile(rf"\bheader{IS}(false|0|'false')", re.IGNORECASE)
SKIPPED = re.compile(rf"\bskip{IS}(\d+)", re.IGNORECASE)
DELIMITER = re.compile(rf"\b(?:delim|sep|delimiter){IS}'(\\t|[^'])'", re.IGNORECASE)
FILES = re.compile(r"\s*(\[[^\]]*\]|'(?:[^']|'')*')")
"""The first argument of `read_csv`: a file, a pattern, or a list of them."""
FILE = re.compile(r"'(?:[^']|'')*'")
NUMBERED = re.compile(r"column\d+")
"""What DuckDB calls columns of which it found no names."""
COLUMNS = re.compile(rf"\bcolumns{IS}\{{([^}}]*)\}}", re.IGNORECASE)
LISTED = 8
"""Columns that an error shows; of more, it names the first that differs."""
KEY = re.compile(r"'((?:[^']|'')*)'\s*:")
HINT = (
    "give all files the same columns in the same order; or let names decide: in `read_csv`, "
    "`header=true, all_varchar=true` instead of `auto_detect=false`, `columns`, `names` or `skip`"
)


def require_same(engine: Engine, query: str) -> None:
    """UsageError for a file whose header differs from that of the first that the same `read_csv` reads, or
    from the `columns` of the recipe.
    """
    for arguments in sql.csv_calls(query):
        files = list(local_files(engine, arguments))
        position = _position(engine, arguments, files)
        if position is None:
            continue
        first, wanted = files[0], _cells(files[0], arguments, position)
        _require_named(arguments, f"{first.name}:{position + 1}", wanted or ())
        for path in files[1:]:
            found = _cells(path, arguments, position)
            if found != wanted and None not in (found, wanted):
                said = _difference(found or (), wanted or (), first.name)
                raise UsageError(f"`{path.name}:{position + 1}`: {said}", hint=HINT)


def require_unique(engine: Engine, query: str, mentioned: str) -> None:
    """UsageError for a header with one of the `mentioned` names twice, of which DuckDB reads the second as
    `name_1`, unless that is mentioned too.
    """
    for arguments in sql.csv_calls(query):
        path = next(local_files(engine, arguments), None)
        if path is None:
            continue
        skip = SKIPPED.search(arguments)
        position = int(skip[1]) if skip else 0
        cells = _cells(path, arguments, position) or ()
        for name in sorted({cell for cell in cells if cell and cells.count(cell) > 1}):
            second = f"{name}_1"
            known = {column.lower() for column in engine.types(f"FROM read_csv({arguments})")}
            if second in known and says(mentioned, name) and not says(mentioned, second):
                which = f"`{name}` is the first, `{second}` the second"
                raise UsageError(
                    f"`{path.name}:{position + 1}`: {cells.count(name)} columns are called `{name}`",
                    hint=f"rename one in the file, or name both in the recipe: {which}",
                )


def says(text: str, name: str) -> bool:
    """Whether `name` stands in `text` as a word."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _require_named(arguments: str, place: str, header: tuple[str, ...]) -> None:
    """UsageError where a name of the header is one of the recipe's `columns`, but of another one.

    A recipe may call columns by names of its own.
    """
    given = COLUMNS.search(arguments)
    columns = [key.replace("''", "'").strip().lower() for key in KEY.findall(given[1])] if given else []
    for number, (name, column) in enumerate(zip(header, columns, strict=False), start=1):
        repeats = column.startswith(f"{name}_")  # what DuckDB, and so `datasets init`, calls a second one
        if name != column and name in columns and not repeats:
            raise UsageError(
                f"`{place}`: column {number} is `{name}`, and `columns` in the recipe calls it `{column}`",
                hint="give `columns` the names of the header in its order, and rename in the SELECT",
            )


def local_files(engine: Engine, arguments: str) -> Iterator[Path]:
    """The local files of a `read_csv`: raw files of the recipe, and paths or patterns that DuckDB finds."""
    given = FILES.match(arguments)
    for text in FILE.findall(given[1]) if given else ():
        name = sql.PLACEHOLDER.fullmatch(text)
        if name is not None:
            place = engine.paths[name[1]]
            yield from (place,) if isinstance(place, Path) else place
        elif "://" not in text:
            yield from (Path(file) for (file,) in engine.rows(f"SELECT file FROM glob({text})"))


def _position(engine: Engine, arguments: str, files: list[Path]) -> int | None:
    """The line, from 0, that holds each file's header; None where there is nothing to compare."""
    if not files:
        return None
    skip = SKIPPED.search(arguments)
    skipped = int(skip[1]) if skip else 0
    named = NAMED.search(arguments) is not None
    if HEADER.search(arguments):
        return skipped if named else None
    if skipped:
        cells = _cells(files[0], arguments, skipped - 1) or ()
        return skipped - 1 if _is_header(engine, arguments, cells, named=named) else None
    if not named or NO_HEADER.search(arguments):
        return None
    # What DuckDB may take for a header is one if it names the recipe's columns.
    headers = (_cells(path, arguments, 0) for path in files)
    return 0 if any(cells and set(cells) <= _quoted(arguments) for cells in headers) else None


def _is_header(engine: Engine, arguments: str, cells: tuple[str, ...], *, named: bool) -> bool:
    """Whether the last line skipped names the columns, and nothing after it does."""
    columns = engine.types(f"FROM read_csv({arguments})")
    if len(cells) != len(columns) or not (named or all(NUMBERED.fullmatch(name) for name in columns)):
        return False
    return set(cells) <= _quoted(arguments) or not any(cell == "" or cell[0].isdigit() for cell in cells)


def _quoted(arguments: str) -> set[str]:
    return {text.lower() for text in re.findall(r"'([^']+)'", arguments)}


def _cells(path: Path, arguments: str, position: int) -> tuple[str, ...] | None:
    """The names in a file's header, for comparison; None where it cannot be read, which DuckDB will say."""
    try:
        with lines.opened(path) as file:
            line = next(islice(file, position, None), b"").decode("utf-8-sig", "replace")
    except (OSError, EOFError):
        return None
    given = DELIMITER.search(arguments)
    delimiter = given[1].replace("\\t", "\t") if given else max(",\t|;", key=line.count)
    cells = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    return tuple(cell.strip().lower() for cell in cells)


def _difference(found: tuple[str, ...], wanted: tuple[str, ...], first: str) -> str:
    """How the columns `found` differ from those `wanted`, of the file `first`; of many, where first."""
    if max(len(found), len(wanted)) <= LISTED:
        return f"the columns are {_listed(found)}, those of `{first}` {_listed(wanted)}"
    pairs = enumerate(zip_longest(found, wanted), start=1)
    number, (name, other) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return f"column {number} is {_named(name)}, that of `{first}` {_named(other)}"


def _named(name: str | None) -> str:
    return f"`{name}`" if name is not None else "missing"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(_named, names)) or "missing"
