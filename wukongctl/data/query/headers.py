"""Headers of CSV files against the column names in the recipe and the headers of other files.

Where the SQL sets `columns` or `names`, or skips headers with `skip`, DuckDB matches columns by position and
ignores the header: a file with its columns in another order would be mixed up. Remote files are not checked.
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
NUMBERED = re.compile(r"column\d+")
"""DuckDB's name for a column without one."""
COLUMNS = re.compile(rf"\bcolumns{IS}\{{([^}}]*)\}}", re.IGNORECASE)
LISTED = 8
"""Up to so many columns an error lists all; of more, it names the first that differs."""
KEY = re.compile(r"'((?:[^']|'')*)'\s*:")
HINT = (
    "give all files the same columns in the same order; or match columns by name: in `read_csv`, use "
    "`header=true, all_varchar=true` instead of `auto_detect=false`, `columns`, `names` or `skip`"
)


def require_same(engine: Engine, query: str) -> None:
    """UsageError for a header that differs from that of the first file of the same `read_csv`, or from its
    `columns`.
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
                difference = _difference(found or (), wanted or (), first.name)
                raise UsageError(f"`{path.name}:{position + 1}`: {difference}", hint=HINT)


def require_unique(engine: Engine, query: str, mentioned: str) -> None:
    """UsageError for a header with one of the `mentioned` names twice, unless DuckDB's name for the second,
    `name_1`, is mentioned too.
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
            if second in known and mentions(mentioned, name) and not mentions(mentioned, second):
                which = f"`{name}` is the first, `{second}` the second"
                raise UsageError(
                    f"`{path.name}:{position + 1}`: {cells.count(name)} columns are named `{name}`",
                    hint=f"rename one in the file, or use both names in the recipe: {which}",
                )


def mentions(text: str, name: str) -> bool:
    """Whether `name` is a word of `text`."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _require_named(arguments: str, location: str, header: tuple[str, ...]) -> None:
    """UsageError where the recipe's `columns` give a name of the header to another column.

    A recipe may use names that are not in the header.
    """
    listed = COLUMNS.search(arguments)
    columns = [key.replace("''", "'").strip().lower() for key in KEY.findall(listed[1])] if listed else []
    for number, (name, column) in enumerate(zip(header, columns, strict=False), start=1):
        repeats = column.startswith(f"{name}_")  # the name of a repeated column in DuckDB and `datasets init`
        if name != column and name in columns and not repeats:
            raise UsageError(
                f"`{location}`: column {number} is `{name}`, but `{column}` in the `columns` of the recipe",
                hint="list the names of the header in `columns`, in its order, and rename them in the SELECT",
            )


def local_files(engine: Engine, arguments: str) -> Iterator[Path]:
    """The local files of a `read_csv`: raw files of the recipe, and paths or patterns that DuckDB finds."""
    files = sql.FILES.match(arguments)
    for file in sql.FILE.finditer(files[1]) if files else ():
        if name := sql.PLACEHOLDER.fullmatch(file[0]):
            yield from lines.paths_of(engine.paths[name[1]])
        elif "://" not in file[0]:
            yield from (Path(path) for (path,) in engine.rows(f"SELECT file FROM glob({file[0]})"))


def _position(engine: Engine, arguments: str, files: list[Path]) -> int | None:
    """The line, from 0, of each file's header; None where there is nothing to compare."""
    if not files:
        return None
    skip = SKIPPED.search(arguments)
    skipped = int(skip[1]) if skip else 0
    has_names = NAMED.search(arguments) is not None
    if HEADER.search(arguments):
        return skipped if has_names else None
    if skipped:
        cells = _cells(files[0], arguments, skipped - 1) or ()
        return skipped - 1 if _is_header(engine, arguments, cells, has_names=has_names) else None
    if not has_names or NO_HEADER.search(arguments):
        return None
    # The first line is a header if it has the recipe's column names.
    headers = (_cells(path, arguments, 0) for path in files)
    return 0 if any(cells and set(cells) <= _quoted(arguments) for cells in headers) else None


def _is_header(engine: Engine, arguments: str, cells: tuple[str, ...], *, has_names: bool) -> bool:
    """Whether the last line skipped is the header."""
    columns = engine.types(f"FROM read_csv({arguments})")
    if len(cells) != len(columns) or not (has_names or all(NUMBERED.fullmatch(name) for name in columns)):
        return False
    return set(cells) <= _quoted(arguments) or not any(cell == "" or cell[0].isdigit() for cell in cells)


def _quoted(arguments: str) -> set[str]:
    return {text.lower() for text in re.findall(r"'([^']+)'", arguments)}


def _cells(path: Path, arguments: str, position: int) -> tuple[str, ...] | None:
    """The names in a file's header, in lower case; None where it cannot be read, which DuckDB reports."""
    try:
        with lines.opened(path) as file:
            line = next(islice(file, position, None), b"").decode("utf-8-sig", "replace")
    except lines.UNREADABLE:
        return None
    option = DELIMITER.search(arguments)
    delimiter = option[1].replace("\\t", "\t") if option else max(lines.DELIMITERS, key=line.count)
    cells = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    return tuple(cell.strip().lower() for cell in cells)


def _difference(found: tuple[str, ...], wanted: tuple[str, ...], first: str) -> str:
    """How the columns `found` differ from those `wanted`, of the file `first`."""
    if max(len(found), len(wanted)) <= LISTED:
        return f"the columns are {_listed(found)}, but {_listed(wanted)} in `{first}`"
    pairs = enumerate(zip_longest(found, wanted), start=1)
    number, (name, other) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return f"column {number} is {_named(name)}, but {_named(other)} in `{first}`"


def _named(name: str | None) -> str:
    return f"`{name}`" if name is not None else "missing"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(_named, names)) or "missing"
