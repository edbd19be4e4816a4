"""Several tables as one: rows of a main table, with what side tables say of their user or item.

Left joins keep every row of the main table; a number of the row keeps their order. What a join needs is
checked before: keys that come once, and that are found.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.drafting import page
from wukongctl.data.query import headers, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import UsageError

NUMBER = "wukongctl_row"
"""The number of a row of the main table."""
FEW_MATCHED = 0.95
"""Below this share of rows that find their key, a person should look."""
NUMERIC = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\))")


class Join(NamedTuple):
    """A side table and the columns that must be equal."""

    file: str
    main_key: str
    key: str


class Joined(NamedTuple):
    """Tables as one: `table.source` reads the files, `copy` what was copied of them; NUMBER has the order."""

    table: Table
    copy: str


class _Side(NamedTuple):
    """A side table as the SELECT has it."""

    join: Join
    alias: str
    table: Table
    key: str
    """The spelling of its key,"""
    main_key: str
    """… and that of the main table's."""
    names: dict[str, str]
    """Its other columns → what they are called among all."""


def parsed(text: str) -> Join:
    """A join as it is typed, `FILE:KEY` or `FILE:MAIN_KEY=KEY`; UsageError for anything else."""
    file, _, keys = text.rpartition(":")
    main, equals, key = keys.partition("=")
    if not file or not main.strip() or (equals and not key.strip()):
        raise UsageError(
            f"`--join {text}` is no file with a key",
            hint="write FILE:KEY, such as `--join users.csv:user_id`; "
            "or FILE:KEY=KEY_THERE where the names differ",
        )
    return Join(file, main.strip(), (key if equals else main).strip())


def joined(engine: Engine, file: str, main: Table, sides: Sequence[tuple[Join, Table]], most: int) -> Joined:
    """`main`, read from `file`, with the columns of `sides`; looks at no more than `most` rows of it.

    UsageError for a key that a table lacks, that comes twice in a side table, or that is never found there.
    """
    aliases = _aliases([file, *(join.file for join, _ in sides)])
    copies = {alias: f"copied_{number}" for number, alias in enumerate(aliases)}
    engine.execute(f"CREATE TEMP TABLE {copies[aliases[0]]} AS SELECT * FROM {main.source} LIMIT {most}")
    known: list[_Side] = []
    taken = {name.lower() for name in main.columns}
    columns, notes, doubts = dict(main.columns), [*main.notes], [*main.doubts]
    for alias, (join, table) in zip(aliases[1:], sides, strict=True):
        headers.require_same(engine, table.source)
        side = _side(join, alias, table, (file, main), taken)
        engine.execute(f"CREATE TEMP TABLE {copies[alias]} AS SELECT * FROM {table.source}")
        _require_unique(engine, side, copies[alias])
        share = _matched(engine, side, aliases[0], main, copies)
        (doubts if share < FEW_MATCHED else notes).append(_said(side, share))
        columns |= {new: table.columns[old] for old, new in side.names.items()}
        notes += table.notes
        doubts += table.doubts
        known.append(side)
    files = {aliases[0]: main.source, **{side.alias: side.table.source for side in known}}
    table = Table(_text(aliases[0], main, known, files), columns, tuple(notes), tuple(doubts))
    return Joined(table, _text(aliases[0], main, known, copies))


def _said(side: _Side, share: float) -> str:
    if share == 1:
        return f"every `{side.main_key}` is in {side.join.file}"
    return f"{share:.1%} of rows have their `{side.main_key}` in {side.join.file}; the rest lack its columns"


def _aliases(files: Sequence[str]) -> list[str]:
    """Names of tables in the SELECT: of their files, without what SQL cannot have."""
    found: list[str] = []
    for file in files:
        stem = re.sub(r"\W+", "_", Path(file).name.partition(".")[0]).strip("_") or "table"
        stem = stem if page.sql_name(stem) == stem else f"t_{stem}"
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
    """The column of that name, whatever its case."""
    for same in (lambda name: name == wanted, lambda name: name.lower() == wanted.lower()):
        found = [name for name in table.columns if same(name)]
        if len(found) == 1:
            return found[0]
    listed = ", ".join(f"`{name}`" for name in table.columns)
    hint = did_you_mean(wanted, list(table.columns)) or f"it has {listed}"
    raise UsageError(f"`{file}` has no column `{wanted}` to join by", hint=hint)


def _require_unique(engine: Engine, side: _Side, copy: str) -> None:
    key = sql.identifier(side.key)
    several = f"SELECT {key} AS k, count(*) AS n FROM {copy} WHERE {key} IS NOT NULL GROUP BY k HAVING n > 1"
    found = engine.rows(f"SELECT k, n, count(*) OVER () FROM ({several}) ORDER BY n DESC, k LIMIT 1")
    if not found:
        return
    ((value, rows, keys),) = found
    plain = page.sql_name(side.key) == side.key and re.fullmatch(r"[\w./-]+\.(csv|parquet)", side.join.file)
    file = Path(side.join.file)
    reader = (
        f"'{file}'" if file.suffix == ".parquet" else f"read_csv('{file}', header=true, all_varchar=true)"
    )
    target = f"{file.with_suffix('')}-once{file.suffix}"
    copy = f"COPY (SELECT DISTINCT ON ({side.key}) * FROM {reader}) TO '{target}'"
    command = f'`python -c "import duckdb; duckdb.sql(\\"{copy}\\")"`, then join `{target}`'
    raise UsageError(
        f"`{side.join.file}` has {keys:,} `{side.key}` in several rows, `{value}` in {rows:,}: "
        "a join would repeat rows",
        hint=f"keep one row of each: {command}" if plain else "keep one row of each in the file",
    )


def _matched(engine: Engine, side: _Side, main_alias: str, main: Table, copies: Mapping[str, str]) -> float:
    """The share of rows whose key is found."""
    tables = f"{copies[main_alias]} AS {main_alias} LEFT JOIN {copies[side.alias]} AS {side.alias}"
    key = f"{side.alias}.{page.sql_name(side.key)}"
    query = f"SELECT count(*), count({key}) FROM {tables} ON {_equal(main_alias, main, side)}"
    ((rows, found),) = engine.rows(query)
    if rows and not found:
        here, there = (
            engine.rows(f"SELECT any_value({sql.identifier(column)}) FROM {copy}")[0][0]
            for column, copy in ((side.main_key, copies[main_alias]), (side.key, copies[side.alias]))
        )
        raise UsageError(
            f"no `{side.main_key}` is found in `{side.join.file}`: it is `{here}` here and `{there}` there",
            hint=f"name the columns that hold the same, `--join {side.join.file}:HERE=THERE`",
        )
    return found / rows if rows else 1.0


def _equal(main_alias: str, main: Table, side: _Side) -> str:
    """SQL that says that the keys are equal, whatever their types."""
    here, there = main.columns[side.main_key], side.table.columns[side.key]
    left = f"{main_alias}.{page.sql_name(side.main_key)}"
    right = f"{side.alias}.{page.sql_name(side.key)}"
    if here == there or (NUMERIC.fullmatch(here) and NUMERIC.fullmatch(there)):
        return f"{left} = {right}"
    if here == "VARCHAR" and NUMERIC.fullmatch(there):
        return f"TRY_CAST({left} AS {there}) = {right}"
    if there == "VARCHAR" and NUMERIC.fullmatch(here):
        return f"{left} = TRY_CAST({right} AS {here})"
    return f"CAST({left} AS VARCHAR) = CAST({right} AS VARCHAR)"


def _text(main_alias: str, main: Table, sides: Sequence[_Side], items: Mapping[str, str]) -> str:
    """A FROM item with the columns of all, each table read by its one of `items`."""
    selected = ", ".join([f"{main_alias}.*", *(_star(side) for side in sides)])
    numbered = f"(\n  SELECT *, row_number() OVER () AS {NUMBER}\n  FROM {_indented(items[main_alias])}\n)"
    lines = [f"SELECT {selected}", f"FROM {numbered} AS {main_alias}"]
    for side in sides:
        lines.append(f"LEFT JOIN {items[side.alias]} AS {side.alias}\n  ON {_equal(main_alias, main, side)}")
    return f"(\n  {_indented(chr(10).join(lines))}\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _star(side: _Side) -> str:
    """The columns of a side table but for its key."""
    changed = {old: new for old, new in side.names.items() if old != new}
    star = f"{side.alias}.* EXCLUDE ({', '.join(map(page.sql_name, [side.key, *changed]))})"
    again = [f"{side.alias}.{page.sql_name(old)} AS {page.sql_name(new)}" for old, new in changed.items()]
    return ", ".join([star, *again] if len(changed) < len(side.names) else again)
