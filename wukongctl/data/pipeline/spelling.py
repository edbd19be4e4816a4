"""Values of categorical features keep their spelling in CSV files.

Where a recipe sets no types, DuckDB infers them from the first rows: `00123` becomes 123 and `1.50` 1.5. That
is right for numbers, but categories would merge or change their spelling. So columns that the SELECT just
returns for categories and sequences are declared as text. Columns that it also uses otherwise keep their
type, and the file is searched for a value whose text that type changes.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wukongctl.config.dataset import ByColumn, ByHash, ByTime, DatasetSpec, Numeric
from wukongctl.data.query import lines, sql, syntax
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.syntax import ALL
from wukongctl.errors import RunFailed, WukongError

NO_INFERENCE = re.compile(
    r"\b(columns\s*[=:]|all_varchar\s*[=:>]+\s*'?(true|1)|auto_detect\s*[=:>]+\s*'?(false|0))", re.IGNORECASE
)
"""Arguments with which DuckDB infers no types."""
TYPES = re.compile(r"\b(?:types|dtypes|column_types)\s*(?:=>|:=|=)\s*([{\[])", re.IGNORECASE)
KEY = re.compile(r"""['"]?([^'",:{}]+?)['"]?\s*:""")
FILE = re.compile(r"\b(FROM|JOIN)\s+('(?:[^']|'')+\.[ct]sv(?:\.gz|\.zst)?(?:\}?)')", re.IGNORECASE)
"""A file used as a table."""
NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\)")


class _Columns(NamedTuple):
    """Lower-case columns to declare as text, and to check."""

    text: frozenset[str]
    checked: frozenset[str]


def preserve(engine: Engine, spec: DatasetSpec, query: str) -> str:
    """`query` with columns declared as text where features need their spelling.

    Raises RunFailed for a value of a column to check whose inferred type changes its text.
    """
    text = FILE.sub(r"\1 read_csv(\2)", query)
    if all(NO_INFERENCE.search(arguments) for arguments in sql.csv_calls(text)):
        return query
    tree = syntax.parse(text)
    if tree is None:
        return query
    result, start = "", 0
    for call in sql.READ_CSV.finditer(text):
        end = sql.closing(text, call.end())
        arguments = text[call.end() : end]
        inferred = _inferred(engine, arguments)
        columns = _columns(spec, tree, inferred) if inferred else _Columns(frozenset(), frozenset())
        for name, kind in inferred.items():
            if columns.checked & {name.lower(), ALL}:
                _require_unchanged(engine, arguments, name, kind)
        if names := [name for name in inferred if name.lower() in columns.text]:
            result += text[start : call.end()] + _declared(arguments, names)
            start = end
    return result + text[start:] if result else query


def _inferred(engine: Engine, arguments: str) -> dict[str, str]:
    """Columns for which DuckDB infers another type than text, with that type."""
    types = TYPES.search(arguments)
    if NO_INFERENCE.search(arguments) or (types is not None and types[1] == "["):
        return {}
    keys = KEY.findall(arguments[types.end() : arguments.find("}", types.end())]) if types is not None else []
    declared = {name.strip().lower() for name in keys}
    try:
        found = engine.types(f"FROM read_csv({arguments})")
    except WukongError:  # reported for the whole SELECT, with its line
        return {}
    return {name: kind for name, kind in found.items() if kind != "VARCHAR" and name.lower() not in declared}


def _columns(spec: DatasetSpec, tree: syntax.Node, inferred: Mapping[str, str]) -> _Columns:
    kinds = {name.lower(): kind for name, kind in inferred.items()}
    plain: set[str] = set()
    checked: set[str] = set()
    otherwise = set(syntax.used(tree)) | _outside_features(spec, tree)
    for name, group in spec.columns:
        origins = syntax.origins(tree, name.lower())
        if isinstance(group, Numeric):
            otherwise |= {c for c in origins.columns if not NUMBER.fullmatch(kinds.get(c, "DOUBLE"))}
            continue
        plain |= origins.plain
        if derived := origins.columns - origins.plain:
            as_text = syntax.read_as_text(tree)
            checked |= {c for c in as_text | derived if {c, ALL} & as_text and {c, ALL} & derived}
    return _Columns(frozenset(plain - otherwise), frozenset(checked | (plain & otherwise)))


def _outside_features(spec: DatasetSpec, tree: syntax.Node) -> set[str]:
    """Columns whose type may matter to the label, the probability or the split."""
    columns = set(syntax.reads(spec.label).columns | syntax.reads(spec.probability or "0").columns)
    match spec.split:
        case ByTime() | ByColumn():
            columns.add(spec.split.column.lower())
        case ByHash():
            key = syntax.expression(spec.split.key)
            columns |= syntax.read_by_type(key) if key is not None else set()
    return {origin for column in columns for origin in syntax.origins(tree, column).columns}


def _declared(arguments: str, names: Iterable[str]) -> str:
    """The arguments of `read_csv` with these columns declared as text."""
    listed = ", ".join(f"{sql.literal(name)}: 'VARCHAR'" for name in names)
    types = TYPES.search(arguments)
    if types is not None:
        return f"{arguments[: types.end()]}{listed}, {arguments[types.end() :]}"
    return f"{arguments.rstrip().rstrip(',')}, types = {{{listed}}}"


def _require_unchanged(engine: Engine, arguments: str, column: str, kind: str) -> None:
    """RunFailed for the first value whose text `kind` changes."""
    texts = f"SELECT * FROM read_csv({_declared(arguments, [column])})"
    original = f"trim({sql.identifier(column)})"
    cast = f"CAST(TRY_CAST({original} AS {kind}) AS VARCHAR)"
    changed = f"{cast} {'<>' if NUMBER.fullmatch(kind) else 'IS DISTINCT FROM'} {original}"
    rows = f"SELECT {original} AS original, {cast} AS result, {changed} AS changed FROM ({texts})"
    numbered = f"SELECT row_number() OVER () AS wukongctl_row, * FROM ({rows})"
    found = engine.rows(
        f"SELECT wukongctl_row, original, result FROM ({numbered}) WHERE original <> '' AND changed LIMIT 1"
    )
    for row, text, value in found:
        location = lines.location(engine, texts, row) or f"row {row:,}"
        becomes = f"`{value}`" if value is not None else "a different text"
        raise RunFailed(
            f"`{location}`: `{column}` is `{text}`, which DuckDB reads as {kind} and turns into "
            f"{becomes} (dataset `{engine.dataset}`)",
            hint=_hint(column, kind),
        )


def _hint(column: str, kind: str) -> str:
    """SQL that sets the type of the column."""
    typed = [f"types = {{{sql.literal(column)}: '{each}'}}" for each in ("VARCHAR", kind)]
    cast = f"CAST({sql.identifier(column)} AS {kind})"
    return (
        f"to keep the text, add `{typed[0]}` to `read_csv`, and `{cast}` where the SELECT needs the value; "
        f"to keep the {kind}, add `{typed[1]}`"
    )
