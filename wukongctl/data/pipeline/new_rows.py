"""SQL for the feature columns of new rows: a recipe's SELECT over their file, or the file itself.

Raw columns get the types that preparation read, so that the SELECT sees in a new file what it saw in the old
one. Where the SELECT joins, rows are numbered and sorted, so that missing and repeated ones show.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wukongctl.data.manifest import RawRows
from wukongctl.data.pipeline.parts import ROW_BY_ROW
from wukongctl.data.query import rewriting, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.rewriting import Rewritten
from wukongctl.data.query.row_files import RowSource, is_whole_type

NUMBER = "wukongctl_number"
"""The column of row numbers, from 1, where rows may be reordered."""
FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
MAX_WHOLE = 1e18
"""Whole floats below it fit in a BIGINT."""


class NewRows(NamedTuple):
    """SQL for the columns of the features, one row for each row of a file in its order."""

    query: str
    numbered: bool = False
    """Whether it has the column `NUMBER` and is sorted by it."""


def selected(source: RowSource) -> NewRows:
    """A file with the columns of the SELECT."""
    return NewRows(f"SELECT * FROM {source.text}")


def transformed(
    engine: Engine,
    select: Rewritten,
    recipe: RawRows,
    source: RowSource,
    features: Iterable[str],
    *,
    decimal: Iterable[str] = (),
) -> NewRows:
    """The SELECT over a file with the raw columns.

    `decimal` are columns that read `7.0`, not `7`, in training. Raises rewriting.NotRowByRow for a SELECT
    that reads other rows.
    """
    rows = as_trained(engine, recipe, source, {name.lower() for name in decimal})
    names = rewriting.identifiers(list(features))
    query = f"SELECT {names} FROM (\n{select.over(rows)}\n)"
    operators = engine.operators(query)
    if operators <= ROW_BY_ROW - {"FILTER"}:
        return NewRows(query)
    if operators & rewriting.WINDOWS:
        raise rewriting.NotRowByRow("a window function reads other rows")
    numbered = select.over(rewriting.numbered(rows), text=select.numbered)
    number = f"{select.number} AS {NUMBER}"
    return NewRows(f"SELECT {names}, {number} FROM (\n{numbered}\n) ORDER BY {NUMBER}", numbered=True)


def as_trained(engine: Engine, recipe: RawRows, source: RowSource, decimal: set[str]) -> str:
    """A SELECT of the raw columns with the names and types of training, NULL where the file lacks them."""
    found = {name.lower(): (name, kind) for name, kind in source.columns.items()}
    known = {name: found[name.lower()] for name in recipe.columns if name.lower() in found}
    ambiguous = {
        name: column for name, column in known.items() if _is_ambiguous(column[1], recipe.columns[name])
    }
    whole = {name for name in _whole(engine, source, ambiguous) if name.lower() not in decimal}
    columns = []
    for name, kind in recipe.columns.items():
        value = f"CAST(NULL AS {kind})"
        if name in known:
            column, found_kind = known[name]
            value = _converted(sql.identifier(column), found_kind, kind, whole=name in whole)
        columns.append(f"{value} AS {sql.identifier(name)}")
    return f"SELECT {', '.join(columns)} FROM {source.text}"


def is_fraction(kind: str) -> bool:
    """Whether a DuckDB type holds fractions."""
    return kind.startswith(FRACTIONS) and "[" not in kind


def _is_ambiguous(kind: str, trained: str) -> bool:
    """Whether the conversion depends on all numbers of the column being whole."""
    if is_whole_type(trained):
        return is_fraction(kind) or kind == "VARCHAR"
    return is_fraction(kind) and trained == "VARCHAR"


def _whole(engine: Engine, source: RowSource, columns: Mapping[str, tuple[str, str]]) -> set[str]:
    """Which of the columns hold only whole numbers, by one scan of the file."""
    if not columns:
        return set()
    checks = [_holds_whole(sql.identifier(name), kind) for name, kind in columns.values()]
    (results,) = engine.rows(f"SELECT {', '.join(checks)} FROM {source.text}")
    return {name for name, is_whole in zip(columns, results, strict=True) if is_whole}


def _holds_whole(column: str, kind: str) -> str:
    """SQL over all rows: whether all values are blank or whole numbers that fit in a BIGINT."""
    blank, fits = f"trim({column}) = ''", f"regexp_full_match(trim({column}), '[-+]?[0-9]{{1,18}}(\\.0*)?')"
    if kind != "VARCHAR":
        number = f"CAST({column} AS DOUBLE)"
        blank, fits = f"isnan({number})", f"{number} = trunc({number}) AND abs({number}) < {MAX_WHOLE}"
    return f"coalesce(bool_and({blank} OR {fits}), true)"


def _converted(column: str, kind: str, trained: str, *, whole: bool) -> str:
    """SQL of a column of type `kind` with the values that training had, of type `trained`."""
    if kind == trained:
        return column
    if is_fraction(kind) and trained == "VARCHAR":
        text = f"CAST({column} AS VARCHAR)"
        if whole:
            text = f"CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR)"
        return f"NULLIF({text}, 'nan')"
    numeric = is_fraction(kind) or is_whole_type(kind)
    if numeric and is_whole_type(trained):
        return f"TRY_CAST({column} AS BIGINT)" if whole else column
    if kind == "VARCHAR" and is_whole_type(trained):
        return f"CAST(NULLIF(trim({column}), '') AS {'BIGINT' if whole else 'DOUBLE'})"
    if numeric and is_fraction(trained):
        return column
    return f"CAST({column} AS {trained})"
