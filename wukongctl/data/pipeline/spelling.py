"""Texts of a CSV file stay as they are spelled where features take them for values.

Where a recipe says no types, DuckDB guesses them from the first rows: `00123` becomes 123 and `1.50` 1.5.
That is right for a number; categories would merge, or be spelled as in no file. So columns that the SELECT
hands on to categories and sequences are declared text. Where it does more with such a column, which may need
the type, nothing is changed, and the file is looked through for a text that the type does not keep.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wukongctl.config.dataset import ByColumn, ByHash, ByTime, DatasetSpec, Numeric
from wukongctl.data.query import lines, sql, syntax
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.syntax import ALL
from wukongctl.errors import RunFailed, WukongError

SAID = re.compile(
    r"\b(columns\s*[=:]|all_varchar\s*[=:>]+\s*'?(true|1)|auto_detect\s*[=:>]+\s*'?(false|0))", re.IGNORECASE
)
"""Arguments after which no type is guessed."""
TYPES = re.compile(r"\b(?:types|dtypes|column_types)\s*(?:=>|:=|=)\s*([{\[])", re.IGNORECASE)
KEY = re.compile(r"""['"]?([^'",:{}]+?)['"]?\s*:""")
FILE = re.compile(r"\b(FROM|JOIN)\s+('(?:[^']|'')+\.[ct]sv(?:\.gz|\.zst)?(?:\}?)')", re.IGNORECASE)
"""A file in place of a table."""
NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\)")


class _Wanted(NamedTuple):
    """Lower-case columns of the files: to declare as text, and to look through."""

    text: frozenset[str]
    checked: frozenset[str]


def kept(engine: Engine, spec: DatasetSpec, query: str) -> str:
    """`query` with columns declared as text that features take as they are spelled.

    Raises RunFailed for a value of another such column that the guessed type would spell otherwise.
    """
    text = FILE.sub(r"\1 read_csv(\2)", query)
    if all(SAID.search(arguments) for arguments in sql.csv_calls(text)):
        return query
    tree = syntax.parse(text)
    if tree is None:
        return query
    result, start = "", 0
    for call in sql.READ_CSV.finditer(text):
        end = sql.closing(text, call.end())
        arguments = text[call.end() : end]
        guessed = _guessed(engine, arguments)
        wanted = _wanted(spec, tree, guessed) if guessed else _Wanted(frozenset(), frozenset())
        for column in guessed:
            if wanted.checked & {column.lower(), ALL}:
                _require_kept(engine, arguments, column, guessed[column])
        if names := [column for column in guessed if column.lower() in wanted.text]:
            result += text[start : call.end()] + _declared(arguments, names)
            start = end
    return result + text[start:] if result else query


def _guessed(engine: Engine, arguments: str) -> dict[str, str]:
    """Columns for which DuckDB guesses another type than text, with that type."""
    said = TYPES.search(arguments)
    if SAID.search(arguments) or (said is not None and said[1] == "["):
        return {}
    given = KEY.findall(arguments[said.end() : arguments.find("}", said.end())]) if said is not None else []
    known = {name.strip().lower() for name in given}
    try:
        types = engine.types(f"FROM read_csv({arguments})")
    except WukongError:  # said of the whole SELECT, with its line
        return {}
    return {name: kind for name, kind in types.items() if kind != "VARCHAR" and name.lower() not in known}


def _wanted(spec: DatasetSpec, tree: syntax.Node, guessed: Mapping[str, str]) -> _Wanted:
    kinds = {name.lower(): kind for name, kind in guessed.items()}
    plain: set[str] = set()
    checked: set[str] = set()
    elsewhere = set(syntax.used(tree)) | _outside(spec, tree)
    for name, group in spec.columns:
        made = syntax.origins(tree, name.lower())
        if isinstance(group, Numeric):
            elsewhere |= {c for c in made.columns if not NUMBER.fullmatch(kinds.get(c, "DOUBLE"))}
            continue
        plain |= made.plain
        if derived := made.columns - made.plain:
            spelled = syntax.read_as_text(tree)
            checked |= {c for c in spelled | derived if {c, ALL} & spelled and {c, ALL} & derived}
    return _Wanted(frozenset(plain - elsewhere), frozenset(checked | (plain & elsewhere)))


def _outside(spec: DatasetSpec, tree: syntax.Node) -> set[str]:
    """Columns whose type may matter to the recipe's expressions over the SELECT."""
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
    said = TYPES.search(arguments)
    if said is not None:
        return f"{arguments[: said.end()]}{listed}, {arguments[said.end() :]}"
    return f"{arguments.rstrip().rstrip(',')}, types = {{{listed}}}"


def _require_kept(engine: Engine, arguments: str, column: str, kind: str) -> None:
    """RunFailed for the first value that `kind` spells otherwise."""
    texts = f"SELECT * FROM read_csv({_declared(arguments, [column])})"
    spelled = f"trim({sql.identifier(column)})"
    made = f"CAST(TRY_CAST({spelled} AS {kind}) AS VARCHAR)"
    other = f"{made} <> {spelled}" if NUMBER.fullmatch(kind) else f"{made} IS DISTINCT FROM {spelled}"
    rows = f"SELECT {spelled} AS spelled, {made} AS made, {other} AS changed FROM ({texts})"
    numbered = f"SELECT row_number() OVER () AS wukongctl_row, * FROM ({rows})"
    found = engine.rows(
        f"SELECT wukongctl_row, spelled, made FROM ({numbered}) WHERE spelled <> '' AND changed LIMIT 1"
    )
    for row, text, value in found:
        place = lines.location(engine, texts, row) or f"row {row:,}"
        becomes = f"`{value}`" if value is not None else "a different text"
        raise RunFailed(
            f"`{place}`: `{column}` is `{text}`, which DuckDB reads as {kind} and turns into "
            f"{becomes} (dataset `{engine.dataset}`)",
            hint=_hint(column, kind),
        )


def _hint(column: str, kind: str) -> str:
    """SQL that says what the column is."""
    typed = [f"types = {{{sql.literal(column)}: '{said}'}}" for said in ("VARCHAR", kind)]
    cast = f"CAST({sql.identifier(column)} AS {kind})"
    return (
        f"to keep the text, add `{typed[0]}` to `read_csv`, and `{cast}` where the SELECT needs the value; "
        f"to keep the {kind}, add `{typed[1]}`"
    )
