"""A table, read once: its rows are copied, its notation converted and its columns measured."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from wukongctl.data.drafting import guess, joins, labels, notation, profile, selection
from wukongctl.data.drafting.counting import MEASURED, ValueCounts
from wukongctl.data.drafting.joins import Join
from wukongctl.data.drafting.labels import Label
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.selection import Selection
from wukongctl.data.query import headers, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import UsageError

MOST_ROWS = 300_000
"""Rows that are measured."""
SMALL_BYTES = 128 << 20
LEAST_ROWS = 10
"""Fewer rows cannot be divided into three splits."""


class MeasuredTable:
    """A table with `rows` measured rows, its `columns` and their `notations`."""

    def __init__(
        self, engine: Engine, file: str, table: Table, sides: Sequence[tuple[Join, Table]] = ()
    ) -> None:
        self.engine, self.file = engine, file
        _require_same_columns(engine, file, table)
        if sides:
            self.table, copy = joins.joined(engine, file, table, sides, MOST_ROWS)
            self.order = joins.NUMBER
            items = f"* EXCLUDE ({joins.NUMBER}) FROM {copy} ORDER BY {joins.NUMBER}"
            engine.execute(f"CREATE TEMP TABLE {MEASURED} AS SELECT {items}")
            self.rows = _row_count(engine, file)
        else:
            self.table, self.order, self.rows = table, "", _copy(engine, file, table)
        types = self.table.columns
        _require_two_columns(file, types)
        self.counts = ValueCounts(engine, profile.flat_columns(types))
        self.notations = notation.notations(self.counts, types)
        for column, expression in self._converted().items():
            self.counts.count(column, expression)
        self.columns = profile.measure(engine, self.counts, types, self.rows)

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the table are measured."""
        return self.rows < MOST_ROWS

    def _converted(self) -> dict[str, str]:
        """Column → SQL that converts its notation."""
        known = {name: notation.expression for name, notation in self.notations.items()}
        return {name: expression for name, expression in known.items() if expression is not None}

    def value(self, column: Column) -> str:
        """SQL of a column, with its notation converted."""
        return self._converted().get(column.name, sql.identifier(column.name))

    def _casts(self, label: Label) -> dict[str, str]:
        """Columns of numbers in text that the label compares → SQL of the numbers."""
        is_compared = label.columns or label.expression != sql.identifier(label.column.name)
        return {
            column.name: f"CAST({self.value(column)} AS DOUBLE)"
            for column in label.inputs
            if column.type in profile.TEXTS and column.is_number and is_compared
        }

    def conversions(self, label: Label, time: Column | None) -> dict[str, str]:
        """Column → SQL for every column that the recipe converts."""
        changes = self._converted() | self._casts(label)
        if time is not None and time.type in profile.TEXTS:
            kind = "TIMESTAMP" if guess.is_date(time) else "BIGINT"
            text = changes.get(time.name, sql.identifier(time.name))
            changes[time.name] = (
                f"strptime({text}, {sql.literal(time.format)})" if time.format else f"CAST({text} AS {kind})"
            )
        for column in self.columns:
            if column.reader is not None:
                changes[column.name] = column.reader
            elif column.type == "JSON" and column.name not in changes:
                changes[column.name] = f"CAST({sql.identifier(column.name)} AS VARCHAR)"
        return changes

    def has_label(self, label: Label) -> str:
        """SQL condition for rows with a label; empty if all have one."""
        column, value = label.column, self.value(label.column)
        if label.invalid:
            text = value if column.type == "VARCHAR" else f"CAST({value} AS VARCHAR)"
            return f"trim({text}) IN ({', '.join(map(sql.literal, label.valid))})"
        if label.columns or (column.filled == column.rows and self.is_complete):
            return ""
        if column.is_number:
            return f"isfinite(TRY_CAST({value} AS DOUBLE))"
        return f"trim({value}) <> ''" if column.type == "VARCHAR" else f"{value} IS NOT NULL"

    def label(self, wanted: str | None, positive: Sequence[str]) -> Label:
        """The label that the user wants, or one by names and values."""
        if wanted is None:
            return self._with_invalid(labels.guess(self.columns, positive, self.file))
        column = labels.named(self.columns, wanted)
        if column is not None:
            return self._with_invalid(labels.of_column(column, positive))
        label = labels.of_sql(self.engine, self.columns, wanted, positive, self.file)
        names = {c.name: c.name for c in self.columns}
        labels.require_both_classes(self.engine, label, Selection(names, self._casts(label)).text(MEASURED))
        return label

    def _with_invalid(self, label: Label) -> Label:
        """`label` with a remark on its invalid values, if any."""
        if not label.invalid:
            return label
        name = label.column.name
        listed = ", ".join(map(sql.literal, label.invalid))
        query = f"SELECT v, n, first FROM {self.counts.tables[name]} WHERE v IN ({listed}) ORDER BY first"
        invalid = ", ".join(
            f"`{value}` ({rows:,} row{'s' * (rows > 1)}, first in {self._line(str(value), int(first))})"
            for value, rows, first in self.engine.rows(query)
        )
        valid = " or ".join(f"`{value}`" for value in sorted(label.valid))
        remark = (
            f"`{name}` is {valid} except for {invalid}: these rows are left out; keep them with `--positive`"
        )
        return label._replace(remark=remark)

    def _line(self, value: str, row: int) -> str:
        """Where row `row`, from 0, is: its line if the file has `value` there."""
        path, line = self.engine.paths[self.file], row + (2 if "header=true" in self.table.source else 1)
        is_csv = "read_csv(" in self.table.source
        if is_csv and isinstance(path, Path) and path.suffix not in {".gz", ".zst"}:
            with path.open(encoding="utf-8", errors="replace") as file:
                if value in next(islice(file, line - 1, None), ""):
                    return f"line {line:,}"
        return f"row {row + 1:,}"

    def names(self, label: Label) -> dict[str, str]:
        """Column → its name in the SELECT."""
        return selection.names([c.name for c in self.columns], [c.name for c in label.inputs])

    def remarks(self, unused: set[str], time: Column | None) -> tuple[str, ...]:
        """Remarks on how the table is read, except those on `unused` columns."""
        remarks = notation.remarks([found for name, found in self.notations.items() if name not in unused])
        if time is not None and time.other_format is not None:
            remarks.append(
                f"every `{time.name}` fits both {time.format} and {time.other_format}: "
                "assuming that the day comes first"
            )
        if self.rows < guess.SMALL:
            remarks.append(f"{self.rows:,} rows are too few to judge columns or compare models")
        return (*self.table.remarks, *remarks)


def _require_two_columns(file: str, columns: dict[str, str]) -> None:
    if len(columns) < 2:
        raise UsageError(
            f"`{file}` has one column, {', '.join(f'`{name}`' for name in columns)}; a dataset needs a label "
            "and at least one feature",
            hint="add columns that are known before the label; if the file has more, separate them with "
            "`,` `;` `|` or tabs",
        )


def _require_same_columns(engine: Engine, file: str, table: Table) -> None:
    """UsageError if the files of a pattern have different columns, which the recipe matches by position."""
    try:
        headers.require_same(engine, table.source)
    except UsageError as error:
        by_name = f"read_csv('{{{file}}}', header=true, all_varchar=true, union_by_name=true)"
        hint = "give all files the same columns, or draft a recipe for one file and match columns by name"
        raise UsageError(error.message, hint=f"{hint}: `{by_name}`") from None


def _copy(engine: Engine, file: str, table: Table) -> int:
    """Copy the rows to measure, so that the file is parsed only once; returns their number."""
    create = f"CREATE OR REPLACE TEMP TABLE {MEASURED} AS SELECT * FROM"
    paths = engine.paths[file]
    size = sum(path.stat().st_size for path in (paths if isinstance(paths, tuple) else (paths,)))
    # LIMIT keeps threads waiting for each other, so a small file is read whole.
    engine.execute(f"{create} {table.source} {'' if size < SMALL_BYTES else f'LIMIT {MOST_ROWS}'}")
    rows = _row_count(engine, file)
    if rows > MOST_ROWS:
        engine.execute(f"{create} {MEASURED} LIMIT {MOST_ROWS}")
    return min(rows, MOST_ROWS)


def _row_count(engine: Engine, file: str) -> int:
    """The number of measured rows; UsageError if there are too few."""
    ((rows,),) = engine.rows(f"SELECT count(*) FROM {MEASURED}")
    if not rows:
        raise UsageError(f"`{file}` has a header but no rows", hint="give a file with rows")
    if rows < LEAST_ROWS:
        raise UsageError(
            f"`{file}` has {rows} rows, a dataset needs at least {LEAST_ROWS}",
            hint='give a larger file, or a pattern of files such as `"part-*.csv"`',
        )
    return int(rows)
