"""Several tables as one: the rows of a main table, joined to side tables of users or items.

Left joins keep every row of the main table, and a row number keeps their order. Keys are checked first: they
must be unique in the side table, and some must match.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.drafting.quoting import sql_name
from wukongctl.data.query import headers, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import UsageError

NUMBER = "wukongctl_row"
"""Column with the row number in the main table."""
FEW_MATCHED = 0.95
"""A smaller share of matching rows is a warning."""
NUMERIC = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\))")


class Join(NamedTuple):
    """A side table and its join columns."""

    file: str
    main_key: str
    key: str


class Joined(NamedTuple):
    """The joined table: `table.source` reads the files, `copy` their copies; NUMBER has the order."""

    table: Table
    copy: str


class _Side(NamedTuple):
    """A side table in the SELECT."""

    join: Join
    alias: str
    table: Table
    key: str
    main_key: str
    names: dict[str, str]
    """Its other columns → their names in the joined table."""


def parsed(text: str) -> Join:
    """A join from `FILE:KEY` or `FILE:MAIN_KEY=KEY`; UsageError for anything else."""
    file, _, keys = text.rpartition(":")
    main, equals, key = keys.partition("=")
    if not file or not main.strip() or (equals and not key.strip()):
        raise UsageError(
            f"`--join {text}` is not FILE:KEY",
            hint="for example `--join users.csv:user_id`; if the names differ, `--join users.csv:user=id`",
        )
    return Join(file, main.strip(), (key if equals else main).strip())


def joined(engine: Engine, file: str, main: Table, sides: Sequence[tuple[Join, Table]], most: int) -> Joined:
    """`main`, read from `file`, joined to `sides`; copies at most `most` rows of it.

    UsageError for a key that a table lacks, that has duplicates in a side table, or that never matches.
    """
    aliases = _aliases([file, *(join.file for join, _ in sides)])
    copies = {alias: f"copied_{number}" for number, alias in enumerate(aliases)}
    engine.execute(f"CREATE TEMP TABLE {copies[aliases[0]]} AS SELECT * FROM {main.source} LIMIT {most}")
    known: list[_Side] = []
    taken = {name.lower() for name in main.columns}
    columns, notes, remarks = dict(main.columns), [*main.notes], [*main.remarks]
    for alias, (join, table) in zip(aliases[1:], sides, strict=True):
        headers.require_same(engine, table.source)
        side = _side(join, alias, table, (file, main), taken)
        engine.execute(f"CREATE TEMP TABLE {copies[alias]} AS SELECT * FROM {table.source}")
        _require_unique(engine, side, copies[alias])
        share = _matched(engine, side, aliases[0], main, copies)
        (remarks if share < FEW_MATCHED else notes).append(_remark(side, share))
        columns |= {new: table.columns[old] for old, new in side.names.items()}
        notes += table.notes
        remarks += table.remarks
        known.append(side)
    files = {aliases[0]: main.source, **{side.alias: side.table.source for side in known}}
    table = Table(_text(aliases[0], main, known, files), columns, tuple(notes), tuple(remarks))
    return Joined(table, _text(aliases[0], main, known, copies))


def _remark(side: _Side, share: float) -> str:
    if share == 1:
        return f"every `{side.main_key}` is in {side.join.file}"
    return f"{share:.1%} of rows match a `{side.main_key}` in {side.join.file}; the rest lack its columns"


def _aliases(files: Sequence[str]) -> list[str]:
    """Names of tables in the SELECT, from their file names."""
    found: list[str] = []
    for file in files:
        stem = re.sub(r"\W+", "_", Path(file).name.partition(".")[0]).strip("_") or "table"
        stem = stem if sql_name(stem) == stem else f"t_{stem}"
        name, count = stem, 2
        while name.lower() in (other.lower() for other in found):
            name, count = f"{stem}_{count}", count + 1
        found.append(name)
    return found


def _side(join: Join, alias: str, table: Table, main: tuple[str, Table], taken: set[str]) -> _Side:
    key = _column(join.key, join.file, table)
    main_key = _column(join.main_key, *main)
    names = {}
    for column in table.columns:
        if column == key:
            continue
        name, count = column, 1
        while name.lower() in taken:
            name, count = f"{alias}_{column}" + (f"_{count}" if count > 1 else ""), count + 1
        taken.add(name.lower())
        names[column] = name
    return _Side(join, alias, table, key, main_key, names)


def _column(wanted: str, file: str, table: Table) -> str:
    """The column of that name, ignoring case if that is unambiguous."""
    if wanted in table.columns:
        return wanted
    found = [name for name in table.columns if name.lower() == wanted.lower()]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"`{name}`" for name in table.columns)
    hint = did_you_mean(wanted, list(table.columns)) or f"it has {listed}"
    raise UsageError(f"`{file}` has no column `{wanted}` to join on", hint=hint)


def _require_unique(engine: Engine, side: _Side, copy: str) -> None:
    key = sql.identifier(side.key)
    duplicates = (
        f"SELECT {key} AS k, count(*) AS n FROM {copy} WHERE {key} IS NOT NULL GROUP BY k HAVING n > 1"
    )
    found = engine.rows(f"SELECT k, n, count(*) OVER () FROM ({duplicates}) ORDER BY n DESC, k LIMIT 1")
    if not found:
        return
    ((value, rows, keys),) = found
    plain = sql_name(side.key) == side.key and re.fullmatch(r"[\w./-]+\.(csv|parquet)", side.join.file)
    file = Path(side.join.file)
    reader = (
        f"'{file}'" if file.suffix == ".parquet" else f"read_csv('{file}', header=true, all_varchar=true)"
    )
    target = f"{file.with_suffix('')}-once{file.suffix}"
    copy = f"COPY (SELECT DISTINCT ON ({side.key}) * FROM {reader}) TO '{target}'"
    command = f'`python -c "import duckdb; duckdb.sql(\\"{copy}\\")"`, then join `{target}`'
    raise UsageError(
        f"`{side.join.file}` has {keys:,} `{side.key}` in several rows, `{value}` in {rows:,}: "
        "a join would duplicate rows",
        hint=f"keep one row per key: {command}" if plain else "keep one row per key in the file",
    )


def _matched(engine: Engine, side: _Side, main_alias: str, main: Table, copies: Mapping[str, str]) -> float:
    """The share of rows with a matching key."""
    tables = f"{copies[main_alias]} AS {main_alias} LEFT JOIN {copies[side.alias]} AS {side.alias}"
    key = f"{side.alias}.{sql_name(side.key)}"
    query = f"SELECT count(*), count({key}) FROM {tables} ON {_equal(main_alias, main, side)}"
    ((rows, found),) = engine.rows(query)
    if rows and not found:
        here, there = (
            engine.rows(f"SELECT any_value({sql.identifier(column)}) FROM {copy}")[0][0]
            for column, copy in ((side.main_key, copies[main_alias]), (side.key, copies[side.alias]))
        )
        raise UsageError(
            f"no `{side.main_key}` matches in `{side.join.file}`: it is `{here}` here but `{there}` there",
            hint=f"name the matching columns, `--join {side.join.file}:HERE=THERE`",
        )
    return found / rows if rows else 1.0


def _equal(main_alias: str, main: Table, side: _Side) -> str:
    """SQL condition that the keys are equal, whatever their types."""
    here, there = main.columns[side.main_key], side.table.columns[side.key]
    left = f"{main_alias}.{sql_name(side.main_key)}"
    right = f"{side.alias}.{sql_name(side.key)}"
    if here == there or (NUMERIC.fullmatch(here) and NUMERIC.fullmatch(there)):
        return f"{left} = {right}"
    if here == "VARCHAR" and NUMERIC.fullmatch(there):
        return f"TRY_CAST({left} AS {there}) = {right}"
    if there == "VARCHAR" and NUMERIC.fullmatch(here):
        return f"{left} = TRY_CAST({right} AS {here})"
    return f"CAST({left} AS VARCHAR) = CAST({right} AS VARCHAR)"


def _text(main_alias: str, main: Table, sides: Sequence[_Side], items: Mapping[str, str]) -> str:
    """A FROM item with the columns of all tables, which are read from `items`."""
    selected = ", ".join([f"{main_alias}.*", *(_star(side) for side in sides)])
    numbered = f"(\n  SELECT *, row_number() OVER () AS {NUMBER}\n  FROM {_indented(items[main_alias])}\n)"
    lines = [f"SELECT {selected}", f"FROM {numbered} AS {main_alias}"]
    for side in sides:
        lines.append(f"LEFT JOIN {items[side.alias]} AS {side.alias}\n  ON {_equal(main_alias, main, side)}")
    return f"(\n  {_indented(chr(10).join(lines))}\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _star(side: _Side) -> str:
    """The columns of a side table without its key."""
    changed = {old: new for old, new in side.names.items() if old != new}
    star = f"{side.alias}.* EXCLUDE ({', '.join(map(sql_name, [side.key, *changed]))})"
    renamed = [f"{side.alias}.{sql_name(old)} AS {sql_name(new)}" for old, new in changed.items()]
    return ", ".join([star, *renamed] if len(changed) < len(side.names) else renamed)
