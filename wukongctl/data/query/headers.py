"""Files read side by side under column names of the recipe: their headers must say the same.

DuckDB matches columns by name where it names them itself. Where the SQL gives `columns` or `names`, it goes
by position and skips each file's header unread: a file with its columns in another order would be mixed up.
"""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError

NAMED = re.compile(r"\b(columns|names|column_names)\s*=", re.IGNORECASE)
HEADER = re.compile(r"\bheader\s*=\s*(true|1|'true')", re.IGNORECASE)
NO_HEADER = re.compile(r"\bheader\s*=\s*(false|0|'false')", re.IGNORECASE)
SKIPPED = re.compile(r"\bskip\s*=\s*(\d+)", re.IGNORECASE)
DELIMITER = re.compile(r"\b(?:delim|sep|delimiter)\s*=\s*'(\\t|[^'])'", re.IGNORECASE)
HINT = (
    "give all files the same columns in the same order; or let names decide: in `read_csv`, "
    "`header=true, all_varchar=true` instead of `auto_detect=false` and `columns`"
)


def require_same(engine: Engine, query: str) -> None:
    """UsageError for a file whose header differs from that of the first that the same `read_csv` reads."""
    for arguments in sql.csv_calls(query):
        files = list(_files(engine, arguments))
        position = _position(arguments, files)
        if position is None:
            continue
        first, wanted = files[0], _cells(files[0], arguments, position)
        for path in files[1:]:
            found = _cells(path, arguments, position)
            if found != wanted:
                raise UsageError(
                    f"`{path.name}:{position + 1}`: the columns are {_listed(found)}, "
                    f"those of `{first.name}` {_listed(wanted)}",
                    hint=HINT,
                )


def _files(engine: Engine, arguments: str) -> Iterator[Path]:
    for name in sql.PLACEHOLDER.findall(arguments):
        place = engine.paths[name]
        yield from (place,) if isinstance(place, Path) else place


def _position(arguments: str, files: list[Path]) -> int | None:
    """The line, from 0, that holds each file's header; None where there is nothing to compare."""
    if len(files) < 2 or NAMED.search(arguments) is None:
        return None
    skipped = SKIPPED.search(arguments)
    lines_skipped = int(skipped[1]) if skipped else 0
    if HEADER.search(arguments):
        return lines_skipped
    # A line that is skipped, or that DuckDB may take for a header, is one if it names the recipe's columns.
    position = lines_skipped - 1 if lines_skipped else 0
    if not lines_skipped and NO_HEADER.search(arguments):
        return None
    named = {text.lower() for text in re.findall(r"'([^']+)'", arguments)}
    return position if set(_cells(files[0], arguments, position)) <= named else None


def _cells(path: Path, arguments: str, position: int) -> tuple[str, ...]:
    """The names in a file's header, for comparison; one that cannot be read is left to DuckDB's own error."""
    try:
        with lines.opened(path) as file:
            line = next(islice(file, position, None), b"").decode("utf-8-sig", "replace")
    except (OSError, EOFError):
        return ()
    given = DELIMITER.search(arguments)
    delimiter = given[1].replace("\\t", "\t") if given else max(",\t|;", key=line.count)
    cells = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    return tuple(cell.strip().lower() for cell in cells)


def _listed(names: tuple[str, ...]) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:8])
    return f"{listed}…" if len(names) > 8 else listed or "missing"
