"""The rows of a table that are looked at: copied once, with what the columns hold and how they are meant."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from wukongctl.data.drafting import guess, joins, labels, profile, selecting, writing
from wukongctl.data.drafting.counting import LOOKED_AT, ValueCounts
from wukongctl.data.drafting.joins import Join
from wukongctl.data.drafting.labels import Label
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.selecting import Selection
from wukongctl.data.query import headers, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import UsageError

MOST_ROWS = 300_000
"""Rows that are measured; a recipe is a guess however many there are."""
SMALL_BYTES = 128 << 20
LEAST_ROWS = 10
"""Fewer cannot be divided into three splits."""


class Reading:
    """A table that is looked at: `rows` of it, its `columns`, and how they are written."""

    def __init__(
        self, engine: Engine, file: str, table: Table, sides: Sequence[tuple[Join, Table]] = ()
    ) -> None:
        self.engine, self.file = engine, file
        _require_same(engine, file, table)
        if sides:
            self.table, copy = joins.joined(engine, file, table, sides, MOST_ROWS)
            self.order = joins.NUMBER
            items = f"* EXCLUDE ({joins.NUMBER}) FROM {copy} ORDER BY {joins.NUMBER}"
            engine.execute(f"CREATE TEMP TABLE {LOOKED_AT} AS SELECT {items}")
            self.rows = _required(engine, file)
        else:
            self.table, self.order, self.rows = table, "", _copied(engine, file, table)
        table = self.table
        _require_several(file, table)
        self.counts = ValueCounts(engine, profile.flat(table.columns))
        self.writings = writing.look(self.counts, table.columns)
        for column, expression in self.meant().items():
            self.counts.count(column, expression)
        self.columns = profile.measure(engine, self.counts, table.columns, self.rows)

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of the table."""
        return self.rows < MOST_ROWS

    def meant(self) -> dict[str, str]:
        """Columns that are not read as they stand, and how they are."""
        known = {name: how.expression for name, how in self.writings.items()}
        return {name: new for name, new in known.items() if new is not None}

    def value(self, column: Column) -> str:
        """SQL of a column as it is meant."""
        return self.meant().get(column.name, sql.identifier(column.name))

    def casts(self, label: Label) -> dict[str, str]:
        """Columns of numbers in text that the label compares, as numbers."""
        compared = label.columns or label.expression != sql.identifier(label.column.name)
        return {
            column.name: f"CAST({self.value(column)} AS DOUBLE)"
            for column in label.read
            if column.type in profile.TEXTS and column.is_number and compared
        }

    def conversions(self, label: Label, time: Column | None) -> dict[str, str]:
        """Columns that are read as text and are needed as something else."""
        changes = self.meant() | self.casts(label)
        if time is not None and time.type in profile.TEXTS:
            kind = "TIMESTAMP" if guess.is_date(time) else "BIGINT"
            name, written = changes.get(time.name, sql.identifier(time.name)), time.format
            changes[time.name] = (
                f"strptime({name}, {sql.literal(written)})" if written else f"CAST({name} AS {kind})"
            )
        for column in self.columns:
            if column.reader is not None:
                changes[column.name] = column.reader
            elif column.type == "JSON" and column.name not in changes:
                changes[column.name] = f"CAST({sql.identifier(column.name)} AS VARCHAR)"
        return changes

    def with_label(self, label: Label) -> str:
        """SQL that leaves rows without a label out; empty where all have one."""
        column = label.column
        if label.odd:
            text = (
                f"CAST({self.value(column)} AS VARCHAR)" if column.type != "VARCHAR" else self.value(column)
            )
            return f"trim({text}) IN ({', '.join(map(sql.literal, label.answers))})"
        if label.columns or (column.filled == column.rows and self.is_whole):
            return ""
        if column.is_number:
            return f"isfinite(TRY_CAST({self.value(column)} AS DOUBLE))"
        if column.type == "VARCHAR":
            return f"trim({self.value(column)}) <> ''"
        return f"{self.value(column)} IS NOT NULL"

    def label(self, wanted: str | None, positive: Sequence[str]) -> Label:
        """The label, by a person's word or by names and values."""
        if wanted is None:
            return self._with_odd(labels.guessed(self.columns, positive, self.file))
        column = labels.named(self.columns, wanted)
        if column is not None:
            return self._with_odd(labels.of_column(column, positive))
        label = labels.of_sql(self.engine, self.columns, wanted, positive, self.file)
        names = {c.name: c.name for c in self.columns}
        labels.require_both(self.engine, label, Selection(names, self.casts(label)).text(LOOKED_AT))
        return label

    def _with_odd(self, label: Label) -> Label:
        """The same with a doubt that says which rows have no answer, if any."""
        if not label.odd:
            return label
        name = label.column.name
        listed = ", ".join(map(sql.literal, label.odd))
        query = f"SELECT v, n, first FROM {self.counts.table(name)} WHERE v IN ({listed}) ORDER BY first"
        found = self.engine.rows(query)
        shown = ", ".join(
            f"`{value}` ({rows:,} row{'s' * (rows > 1)}, first in {self._place(str(value), int(first))})"
            for value, rows, first in found
        )
        answers = " or ".join(f"`{value}`" for value in sorted(label.answers))
        doubt = f"`{name}` is {answers}, but for {shown}: these rows are left out; `--positive` keeps them"
        return label._replace(doubt=doubt)

    def _place(self, value: str, row: int) -> str:
        """Where the row of that position, from 0, is: its line, if the file has the value there."""
        place, line = self.engine.paths[self.file], row + (2 if "header=true" in self.table.source else 1)
        if (
            isinstance(place, Path)
            and "read_csv(" in self.table.source
            and place.suffix not in {".gz", ".zst"}
        ):
            with place.open(encoding="utf-8", errors="replace") as file:
                if value in next(islice(file, line - 1, None), ""):
                    return f"line {line:,}"
        return f"row {row + 1:,}"

    def names(self, label: Label) -> dict[str, str]:
        """Column → its name in the SELECT."""
        return selecting.names([c.name for c in self.columns], [c.name for c in label.read])

    def remarks(self, unused: set[str], time: Column | None) -> tuple[str, ...]:
        """What the values leave open and reading them had to decide, but for columns that are not used."""
        said = writing.remarks(how for name, how in self.writings.items() if name not in unused)
        if time is not None and time.other_format is not None:
            said.append(
                f"every `{time.name}` fits {time.other_format} as well as {time.format}: "
                "the day is taken to come first"
            )
        if self.rows < guess.SMALL:
            said.append(f"{self.rows:,} rows are too few to judge columns or models by")
        return (*self.table.doubts, *said)


def _require_several(file: str, table: Table) -> None:
    """UsageError for a table of one column."""
    if len(table.columns) < 2:
        raise UsageError(
            f"`{file}` has one column, {', '.join(f'`{name}`' for name in table.columns)}; a dataset needs a "
            "label and at least one feature",
            hint="add columns that are known before the label; if there are others already, separate them by "
            "`,` `;` `|` or tabs",
        )


def _require_same(engine: Engine, file: str, table: Table) -> None:
    """UsageError for files of one pattern whose columns differ: the recipe names them by position."""
    try:
        headers.require_same(engine, table.source)
    except UsageError as error:
        by_name = f"read_csv('{{{file}}}', header=true, all_varchar=true, union_by_name=true)"
        hint = "give all files the same columns; or draft a recipe for one, and let names decide"
        raise UsageError(error.message, hint=f"{hint}: `{by_name}`") from None


def _copied(engine: Engine, file: str, table: Table) -> int:
    """Copy the rows to look at, since each look at the file would parse it again; how many they are."""
    create = f"CREATE OR REPLACE TEMP TABLE {LOOKED_AT} AS SELECT * FROM"
    # A limit keeps the threads waiting for each other: better to read a small file too far.
    small = _bytes(engine.paths[file]) < SMALL_BYTES
    engine.execute(f"{create} {table.source} {'' if small else f'LIMIT {MOST_ROWS}'}")
    rows = _required(engine, file)
    if rows > MOST_ROWS:
        engine.execute(f"{create} {LOOKED_AT} LIMIT {MOST_ROWS}")
    return min(rows, MOST_ROWS)


def _required(engine: Engine, file: str) -> int:
    """How many rows are looked at; UsageError if they are too few to be divided."""
    ((rows,),) = engine.rows(f"SELECT count(*) FROM {LOOKED_AT}")
    if not rows:
        raise UsageError(f"`{file}` has a header and no rows", hint="give the file that holds the rows")
    if rows < LEAST_ROWS:
        raise UsageError(
            f"`{file}` has {rows} rows, a dataset needs at least {LEAST_ROWS}",
            hint='give a larger file, or a pattern of files such as `"part-*.csv"`',
        )
    return int(rows)


def _bytes(place: Path | tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in (place if isinstance(place, tuple) else (place,)))
