"""New rows under the columns of a recipe's SELECT: the SELECT run over their file, or the file as it is.

The types of the raw columns are those that preparation read, so that the SELECT sees in a new file what it
saw in the old one. Where the SELECT joins, rows are numbered and put back in order, and each must come out
exactly once.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wukongctl.data.manifest import RawRows
from wukongctl.data.pipeline.parts import ROW_BY_ROW
from wukongctl.data.query import rewriting, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.rewriting import Rewritten
from wukongctl.data.query.row_files import RowSource

NUMBER = "wukongctl_number"
"""The column of row numbers, from 1, where rows could change places."""
WINDOWS = frozenset({"WINDOW", "STREAMING_WINDOW"})
FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
MOST_WHOLE = 1e18
"""Floats up to it are whole numbers that BIGINT holds."""


class NewRows(NamedTuple):
    """SQL that gives the columns of the features, for each row of a file in its order."""

    query: str
    numbered: bool = False
    """With `NUMBER`, sorted by it: rows that are gone or doubled show there."""


def selected(source: RowSource) -> NewRows:
    """A file that holds the columns of the SELECT."""
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
    """A file with the raw columns, through the SELECT.

    `decimal` are columns in whose text training saw `7.0`, not `7`. Raises rewriting.Unwritable for a
    SELECT that looks at other rows than the one it gives.
    """
    rows = as_trained(engine, recipe, source, {name.lower() for name in decimal})
    names = rewriting.identifiers(list(features))
    query = f"SELECT {names} FROM (\n{select.over(rows)}\n)"
    operators = engine.operators(query)
    if operators <= ROW_BY_ROW - {"FILTER"}:
        return NewRows(query)
    if operators & WINDOWS:
        raise rewriting.Unwritable("a window function reads other rows")
    numbered = select.over(rewriting.numbered(rows), text=select.numbered)
    number = f"{select.number} AS {NUMBER}"
    return NewRows(f"SELECT {names}, {number} FROM (\n{numbered}\n) ORDER BY {NUMBER}", numbered=True)


def as_trained(engine: Engine, recipe: RawRows, source: RowSource, decimal: set[str]) -> str:
    """A SELECT of the raw columns under their names and types; those that are not needed may be NULL."""
    there = {name.lower(): (name, kind) for name, kind in source.columns.items()}
    doubtful = {
        name: there[name.lower()]
        for name, kind in recipe.columns.items()
        if name.lower() in there and _is_doubtful(there[name.lower()][1], kind)
    }
    whole = _whole(engine, source, doubtful)
    columns = []
    for name, kind in recipe.columns.items():
        given = there.get(name.lower())
        value = (
            f"CAST(NULL AS {kind})"
            if given is None
            else _converted(
                sql.identifier(given[0]), given[1], kind, whole=name in whole and name.lower() not in decimal
            )
        )
        columns.append(f"{value} AS {sql.identifier(name)}")
    return f"SELECT {', '.join(columns)} FROM {source.text}"


def is_whole_type(kind: str) -> bool:
    """Whether a DuckDB type holds whole numbers alone."""
    return kind.endswith(("INT", "INTEGER"))


def is_fraction(kind: str) -> bool:
    """Whether a DuckDB type holds numbers that need not be whole."""
    return kind.startswith(FRACTIONS) and "[" not in kind


def _is_doubtful(given: str, trained: str) -> bool:
    """Whether a conversion depends on all numbers of the column being whole."""
    text = given == "VARCHAR"
    return (is_fraction(given) and (is_whole_type(trained) or trained == "VARCHAR")) or (
        text and is_whole_type(trained)
    )


def _whole(engine: Engine, source: RowSource, columns: Mapping[str, tuple[str, str]]) -> set[str]:
    """Which of the columns hold nothing but whole numbers; asked of the file once, for all of them."""
    if not columns:
        return set()
    checks = [_holds_whole(sql.identifier(name), kind) for name, kind in columns.values()]
    (found,) = engine.rows(f"SELECT {', '.join(checks)} FROM {source.text}")
    return {name for name, holds in zip(columns, found, strict=True) if holds}


def _holds_whole(column: str, kind: str) -> str:
    """SQL over all rows: whether what is there is whole; in text, of digits that BIGINT holds."""
    blank, fits = f"trim({column}) = ''", f"regexp_full_match(trim({column}), '[-+]?[0-9]{{1,18}}(\\.0*)?')"
    if kind != "VARCHAR":
        number = f"CAST({column} AS DOUBLE)"
        blank, fits = f"isnan({number})", f"{number} = trunc({number}) AND abs({number}) < {MOST_WHOLE}"
    return f"coalesce(bool_and({blank} OR {fits}), true)"


def _converted(column: str, given: str, trained: str, *, whole: bool) -> str:
    """SQL of a column of type `given` as training had it, of type `trained`."""
    if given == trained:
        return column
    if is_fraction(given) and trained == "VARCHAR":
        text = f"CAST({column} AS VARCHAR)"
        if whole:
            text = f"CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR)"
        return f"NULLIF({text}, 'nan')"
    numeric = is_fraction(given) or is_whole_type(given)
    if numeric and is_whole_type(trained):
        return f"TRY_CAST({column} AS BIGINT)" if whole else column
    if given == "VARCHAR" and is_whole_type(trained):
        return f"CAST(NULLIF(trim({column}), '') AS {'BIGINT' if whole else 'DOUBLE'})"
    if numeric and is_fraction(trained):
        return column
    return f"CAST({column} AS {trained})"
