"""Files of new rows: the SQL that reads them, and the name and type of each column.

`raw` reads a file like the raw file of the recipe: with its dialect, and the types that preparation read,
whatever this file alone would suggest. `plain` reads a file with the columns of the SELECT: text as text,
Parquet and JSON with their own types.

Headers of CSV files are read here rather than by DuckDB, which takes a data row for the header of a file with
a ragged line, and silently renames repeated columns.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from wukongctl.config.suggestions import no_file
from wukongctl.data.manifest import RawRows
from wukongctl.data.query import kinds, lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.rewriting import JSON
from wukongctl.errors import RunFailed, UsageError

DELIMITERS = {".csv": ",;|\t", ".tsv": "\t"}
COMPRESSION = (".gz", ".zst")
MAX_HEADER_BYTES = 1 << 22
SET_HERE = re.compile(
    r"columns|names|column_names|types|dtypes|column_types|all_varchar|header|auto_detect|delim|sep|delimiter|"
    r"quote|escape|new_line|skip|sample_size|hive_\w+|filename|union_by_name|ignore_errors|store_rejects|"
    r"rejects_\w+|files_to_sniff|compression|parallel|auto_type_candidates|normalize_names|encoding"
)
"""Arguments of a recipe's `read_csv` that depend on its file, or that are set here."""
JSON_KEPT = ("format", "records", "maximum_object_size", "dateformat", "timestampformat")
CONTROL = re.compile(r"[\x00-\x1f\x7f{}]")


class RowSource(NamedTuple):
    """A FROM item with the placeholder `'{rows}'`, and its columns: name → DuckDB type."""

    text: str
    columns: Mapping[str, str]


class Dialect(NamedTuple):
    """How a text file separates and quotes its values."""

    delimiter: str
    quote: str


def plain(engine: Engine, path: Path, wanted: Collection[str]) -> RowSource:
    """Read a file with the columns of the SELECT.

    Raises UsageError for a file that is missing, of an unknown type, or with two of a `wanted` column,
    RunFailed for one that cannot be read.
    """
    kind = _kind(path)
    if kind in DELIMITERS:
        start = _start(path)
        delimiter = max(DELIMITERS[kind], key=_first_line(start).count)
        names = _names(path, 0, _cells(start, 0, Dialect(delimiter, '"')), wanted)
        # Text, as `007` and `7` are two values.
        columns = dict.fromkeys(names, "VARCHAR")
        return RowSource(_csv(start, Dialect(delimiter, '"'), 0, {}, columns, header=True), columns)
    text = "read_parquet('{rows}')" if kind == ".parquet" else "read_json('{rows}', sample_size = -1)"
    return RowSource(text, engine.types(f"SELECT * FROM {text}"))


def raw(engine: Engine, path: Path, recipe: RawRows) -> RowSource:
    """Read a file like the raw one of `recipe`; raises what `plain` does."""
    kind = _kind(path, text=recipe.kind == "csv")
    if kind == ".parquet":
        return plain(engine, path, recipe.needed)
    if kind in JSON:
        return _raw_json(engine, recipe)
    return _raw_csv(path, recipe, DELIMITERS.get(kind, ",;|\t"))


def _raw_json(engine: Engine, recipe: RawRows) -> RowSource:
    found = engine.types("SELECT * FROM read_json('{rows}', sample_size = -1)")
    types = {name.lower(): kind for name, kind in found.items()}
    # The reader must not round fractions where training saw whole numbers.
    columns = {
        name: types[name.lower()] if is_whole_type(kind) else kind
        for name, kind in recipe.columns.items()
        if name.lower() in types
    }
    kept = [f"{name} = {recipe.options[name]}" for name in JSON_KEPT if name in recipe.options]
    arguments = ", ".join([*(kept if recipe.kind == "json" else []), f"columns = {_struct(columns)}"])
    return RowSource(f"read_json('{{rows}}', {arguments})", columns)


def is_whole_type(kind: str) -> bool:
    """Whether a DuckDB type holds only whole numbers."""
    return kind.endswith(("INT", "INTEGER"))


def _raw_csv(path: Path, recipe: RawRows, delimiters: str) -> RowSource:
    options = recipe.options if recipe.kind == "csv" else {}
    start = _start(path)
    known = {name.lower() for name in recipe.needed}
    usual = Dialect(max(delimiters, key=_first_line(start).count), '"')
    as_recipe = Dialect(
        _unquoted(next((options[name] for name in ("delim", "sep", "delimiter") if name in options), "','")),
        _unquoted(options.get("quote", "'\"'")),
    )
    skip = int(options.get("skip", 0))
    for dialect in (as_recipe, usual) if options else (usual,):
        for line in {skip: 0, 0: 0}:
            cells = _cells(start, line, dialect)
            names = _names(path, line, cells, recipe.needed, recipe.columns)
            if known <= {name.lower() for name in names}:
                return _with_types(start, dialect, line, options, names, recipe)
    cells = _cells(start, skip, as_recipe)
    if len(cells) == len(recipe.columns) and options.get("header", "false").lower() != "true":
        names = list(recipe.columns)
        return _with_types(start, as_recipe, skip, options, names, recipe, header=False)
    names = _names(path, 0, _cells(start, 0, usual), recipe.needed, recipe.columns)
    return _with_types(start, usual, 0, options, names, recipe)


def _with_types(
    start: bytes,
    dialect: Dialect,
    line: int,
    options: Mapping[str, str],
    names: list[str],
    recipe: RawRows,
    *,
    header: bool = True,
) -> RowSource:
    """The columns with the types of training; whole numbers as text unless the recipe sets their type."""
    kinds = {name.lower(): kind for name, kind in recipe.columns.items()}
    columns = {}
    for name in names:
        kind = kinds.get(name.lower(), "VARCHAR")
        loose = sql.NESTED.search(kind) or ((recipe.sniffed or recipe.kind != "csv") and is_whole_type(kind))
        columns[name] = "VARCHAR" if loose else kind
    return RowSource(_csv(start, dialect, line, options, columns, header=header), columns)


def _csv(
    start: bytes,
    dialect: Dialect,
    skip: int,
    options: Mapping[str, str],
    columns: Mapping[str, str],
    *,
    header: bool,
) -> str:
    ending = "\\r\\n" if _first_line(start).endswith("\r\n") else "\\n"
    escape = options.get("escape", sql.literal(dialect.quote)) if dialect.quote else "''"
    arguments = {
        "auto_detect": "false",
        "header": "true" if header else "false",
        "delim": sql.literal(dialect.delimiter),
        "new_line": f"'{ending}'",
        "quote": sql.literal(dialect.quote),
        "escape": escape,
        **({"skip": str(skip)} if skip else {}),
        **({"encoding": options["encoding"]} if "encoding" in options and not _is_utf8(start) else {}),
        **{name: value for name, value in options.items() if not SET_HERE.fullmatch(name)},
        "columns": _struct(columns),
    }
    listed = ", ".join(f"{name} = {value}" for name, value in arguments.items())
    return f"read_csv('{{rows}}', {listed})"


def _struct(columns: Mapping[str, str]) -> str:
    listed = ", ".join(f"{sql.literal(name)}: {sql.literal(kind)}" for name, kind in columns.items())
    return f"{{ {listed} }}"


def _unquoted(literal: str) -> str:
    """The text of an SQL literal for `read_csv`."""
    return literal.strip()[1:-1].replace("''", "'").replace("\\t", "\t")


def _kind(path: Path, *, text: bool = False) -> str:
    """The suffix of a file without compression; may be another or none if the recipe's files are `text`."""
    if not path.is_file():
        raise no_file(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSION else (suffixes or [""])[-1]
    if kind == ".parquet" or kind in DELIMITERS or kind in JSON:
        return kind
    if text and kind not in (".yaml", ".yml"):
        return ""
    raise UsageError(f"unknown file type: `{path}`", hint="use `.parquet`, `.csv`, `.tsv` or `.jsonl`")


def _start(path: Path) -> bytes:
    """The first bytes of a text file, decompressed."""
    try:
        start = lines.start_of(path, MAX_HEADER_BYTES)
    except (*lines.UNREADABLE, pa.ArrowException) as error:
        raise RunFailed(f"cannot read `{path}`: {str(error).splitlines()[0]}") from None
    if other := kinds.of_start(start):
        raise UsageError(f"`{path}` is {other.name}, not a table", hint=other.advice)
    if not start.strip():
        raise UsageError(f"`{path}` is empty", hint="give a file with a header and rows")
    if not _first_line(start).strip():
        raise UsageError(f"`{path}:1`: the first line is blank", hint="the first line must be a header")
    return start


def _first_line(start: bytes) -> str:
    line, end, _ = start.partition(b"\n")
    return (line + end).decode("utf-8-sig", "replace")


def _is_utf8(start: bytes) -> bool:
    """Whether text is UTF-8 and not ASCII; the last bytes may cut off a character."""
    try:
        return not start[:-4].decode("utf-8").isascii()
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 8 and error.start > 0


def _cells(start: bytes, line: int, dialect: Dialect) -> list[str]:
    """The values of record number `line`, from 0; quoted ones may contain line breaks."""
    text = io.StringIO(start.decode("utf-8-sig", "replace"), newline="")
    for _ in range(line):
        text.readline()
    if len(dialect.delimiter) != 1:
        return text.readline().rstrip("\r\n").split(dialect.delimiter)
    quoting = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    try:
        return next(
            csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quote or None, quoting=quoting),
            [],
        )
    except csv.Error:
        return []


def _names(
    path: Path, line: int, cells: Iterable[str], wanted: Collection[str], known: Collection[str] = ()
) -> list[str]:
    """The column names for the `cells` of a header.

    A repeated or empty name is the one that the `known` columns of a recipe have for it, or gets a number.
    """
    header = [cell.strip() for cell in cells]
    columns = {name.lower(): name for name in known}
    times: Counter[str] = Counter()
    names: list[str | None] = []
    for position, cell in enumerate(header):
        key = cell.lower()
        times[key] += 1
        names.append(_known(cell, position, times[key], columns))
    for name in wanted:
        doubled = times[name.lower()]
        if doubled > 1 and None in [
            n for n, cell in zip(names, header, strict=True) if cell.lower() == name.lower()
        ]:
            raise UsageError(f"`{path}:{line + 1}`: {doubled} columns are named `{name}`")
    taken: set[str] = set()
    result = []
    for number, (cell, name) in enumerate(zip(header, names, strict=True)):
        free = name is not None and name.lower() not in taken
        chosen = name if name is not None and free else f"column {number} {cell}".strip()
        taken.add(chosen.lower())
        result.append(chosen)
    return result


def _known(cell: str, position: int, time: int, columns: Mapping[str, str]) -> str | None:
    """The name of a header's cell, the `time`-th of its text; None if not known."""
    if not cell:
        candidates = [f"column_{position + 1}", f"column{position}", f"column{position:02}"]
    elif time > 1:
        candidates = [f"{cell}_{time - 1}", f"{cell}_{time}"]
    else:
        tidy = CONTROL.sub("_", cell)[:100]
        return cell if cell.lower() in columns or tidy.lower() not in columns else columns[tidy.lower()]
    return next((columns[name.lower()] for name in candidates if name.lower() in columns), None)
