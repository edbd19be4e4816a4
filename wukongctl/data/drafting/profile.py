"""What the columns of a table hold: how many values, which of them are numbers, times or lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

SEPARATORS = ("|", "^", ";", ",", " ")
DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y", "%b %d %Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
)
TIME_FORMATS = tuple(
    f"{date}{time}" for date in DATES for time in ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
)
"""How dates are written apart from ISO 8601; where two fit all values, the first is taken."""
FEW = 50
"""Up to so many distinct values are counted exactly and kept."""
FIRST = 3
"""Values that a format of times is tried on before it is on all."""
LARGEST = 1e30
"""Numbers beyond this leave float32 sooner or later."""


@dataclass(frozen=True)
class Column:
    """One column, measured over `rows` rows."""

    name: str
    type: str
    rows: int
    filled: int
    """Values that are neither missing nor empty."""
    distinct: int
    """About how many different ones; exact up to FEW."""
    numbers: int = 0
    """Values that are finite numbers."""
    integers: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    median: float = 0.0
    times: int = 0
    """Values that are dates or times as ISO 8601 writes them."""
    format: str | None = None
    """How they are written, where ISO 8601 is not it."""
    other_format: str | None = None
    """Another format that all values fit, with day and month exchanged."""
    length: float = 0.0
    """Mean characters of a value."""
    values: tuple[str, ...] = ()
    """The most frequent ones, all if there are at most FEW."""
    separator: str | None = None
    """What stands between several values in one text."""
    items: int = 0
    """For lists: how many values a long one (95th percentile) has."""

    @property
    def is_list(self) -> bool:
        """A flat list or array, as Parquet and JSON have them."""
        return bool(sql.LIST.search(self.type))

    @property
    def is_nested(self) -> bool:
        """A value with parts, other than a flat list."""
        return bool(sql.NESTED.search(self.type)) and not self.is_list

    @property
    def is_number(self) -> bool:
        """Whether every value is a finite number that float32 can hold."""
        return 0 < self.numbers == self.filled and max(-self.low, self.high) < LARGEST

    @property
    def is_integer(self) -> bool:
        """Whether every value is a whole number."""
        return self.is_number and self.integers == self.filled

    @property
    def missing(self) -> float:
        """Share of rows without a value."""
        return 1 - self.filled / self.rows if self.rows else 0.0


def measure(engine: Engine, rows: str, types: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns of the query `rows`, from one pass over it and a closer look at texts and small sets."""
    names = list(types)
    parts = [_measures(f"column_{i}") for i in range(len(names))]
    renamed = ", ".join(f"{sql.identifier(name)} AS column_{i}" for i, name in enumerate(names))
    source = f"SELECT {renamed} FROM (\n{rows}\n)"
    flat = [i for i, name in enumerate(names) if not sql.NESTED.search(types[name])]
    lists = [i for i, name in enumerate(names) if sql.LIST.search(types[name])]
    asked = [parts[i] for i in flat] + [_list_measures(f"column_{i}") for i in lists]
    (row,) = engine.rows(f"SELECT count(*), {', '.join(asked) or '0'} FROM (\n{source}\n)")
    total, answers = int(row[0]), iter(row[1:])
    columns = {i: Column(name, types[name], total, 0, 0) for i, name in enumerate(names)}
    for i in flat:
        columns[i] = _flat(columns[i], [next(answers) for _ in range(11)])
    for i in lists:
        filled, items = next(answers), next(answers)
        columns[i] = Column(names[i], types[names[i]], total, filled or 0, filled or 0, items=int(items or 0))
    for i in flat:
        columns[i] = _closer(engine, source, f"column_{i}", columns[i])
    return tuple(columns[i] for i in range(len(names)))


def determined(engine: Engine, rows: str, label: str, columns: Sequence[str]) -> set[str]:
    """Those of `columns` each value of which goes with one value of the expression `label`."""
    if not columns:
        return set()
    pairs = [
        f"count(DISTINCT {_value(sql.identifier(c))}), "
        f"count(DISTINCT concat({_value(sql.identifier(c))}, '|', CAST(({label}) AS VARCHAR)))"
        f" FILTER ({_value(sql.identifier(c))} IS NOT NULL)"
        for c in columns
    ]
    (row,) = engine.rows(f"SELECT {', '.join(pairs)} FROM (\n{rows}\n)")
    return {c for i, c in enumerate(columns) if row[2 * i] > 1 and row[2 * i] == row[2 * i + 1]}


def _value(column: str) -> str:
    return f"NULLIF(trim(CAST({column} AS VARCHAR)), '')"


def _measures(column: str) -> str:
    value = _value(column)
    # For DuckDB `300_250` is a number: to a person it is a code.
    number = f"CASE WHEN NOT contains({value}, '_') THEN TRY_CAST({value} AS DOUBLE) END"
    finite = f"CASE WHEN isfinite({number}) AND abs({number}) < 1e300 THEN {number} END"
    return ", ".join(
        [
            f"count({value})",
            f"approx_count_distinct({value})",
            f"count({finite})",
            f"count(*) FILTER (isnan({number}))",
            f"count(*) FILTER ({finite} = floor({finite}))",
            f"min({finite})",
            f"max({finite})",
            f"avg({finite})",
            f"approx_quantile({finite}, 0.5)",
            f"count(*) FILTER (year(TRY_CAST({value} AS TIMESTAMP)) >= {sql.FIRST_YEAR})",
            f"avg(length({value}))",
        ]
    )


def _list_measures(column: str) -> str:
    return f"count({column}), approx_quantile(len({column}), 0.95)"


def _flat(column: Column, answers: list[float | None]) -> Column:
    filled, distinct, numbers, nans, integers, low, high, mean, median, times, length = (
        x or 0 for x in answers
    )
    if numbers and numbers + nans == filled:
        filled = numbers  # among numbers `nan` is a missing one
    return Column(
        column.name,
        column.type,
        column.rows,
        int(filled),
        int(distinct),
        int(numbers),
        int(integers),
        low,
        high,
        mean,
        median,
        int(times),
        length=length,
    )


def _closer(engine: Engine, rows: str, name: str, column: Column) -> Column:
    """The most frequent values, their exact number where it is small, and what separates lists in texts."""
    if not column.filled:
        return column
    value = _value(name)
    top = f"SELECT {value} AS v, count(*) AS n FROM (\n{rows}\n) WHERE v IS NOT NULL GROUP BY v"
    limit = FEW + 1 if column.distinct <= 2 * FEW else 3
    values = tuple(str(v) for v, _ in engine.rows(f"{top} ORDER BY n DESC, v LIMIT {limit}"))
    distinct = len(values) if len(values) < limit else column.distinct
    changed = column.__dict__ | {"values": values[:FEW], "distinct": distinct}
    if not column.is_number and column.times < column.filled and column.type in ("VARCHAR", "JSON"):
        written = _time_formats(engine, rows, value, column.filled, values[:FIRST])
        changed |= (
            {"format": written[0], "other_format": _exchanged(written), "times": column.filled}
            if written
            else _separated(engine, rows, value, column)
        )
    return Column(**changed)


def _time_formats(engine: Engine, rows: str, value: str, filled: int, some: Sequence[str]) -> list[str]:
    """The formats in which all `filled` values are times: asked of `some` first, whom most fit none."""
    listed = ", ".join(f"({sql.literal(text)})" for text in some)
    likely = _fitting(engine, TIME_FORMATS, f"SELECT * FROM (VALUES {listed}) AS v(v)", "v", len(some))
    return _fitting(engine, likely, rows, value, filled) if likely else []


def _fitting(engine: Engine, formats: Sequence[str], rows: str, value: str, wanted: int) -> list[str]:
    """Those of `formats` in which `wanted` values are times."""
    times = [f"try_strptime({value}, {sql.literal(written)})" for written in formats]
    asked = ", ".join(f"count(*) FILTER (year({time}) >= {sql.FIRST_YEAR})" for time in times)
    (found,) = engine.rows(f"SELECT {asked} FROM (\n{rows}\n)")
    return [f for f, count in zip(formats, found, strict=True) if count == wanted]


def _exchanged(formats: Sequence[str]) -> str | None:
    """The format that differs from the first one in the order of day and month, if it is among them."""
    other = formats[0].replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    return other if other in formats[1:] else None


def _separated(engine: Engine, rows: str, value: str, column: Column) -> dict[str, object]:
    """The first separator that a good share of values has, and that makes fewer different items of them."""
    asked = [
        f"avg(CAST(contains({value}, {sql.literal(s)}) AS INTEGER)), "
        f"approx_count_distinct(unnested[{i + 1}][1]), "
        f"approx_quantile(len(unnested[{i + 1}]), 0.95)"
        for i, s in enumerate(SEPARATORS)
    ]
    split = ", ".join(f"string_split({value}, {sql.literal(s)})" for s in SEPARATORS)
    source = f"SELECT *, [{split}] AS unnested FROM (\n{rows}\n) WHERE {value} IS NOT NULL"
    (row,) = engine.rows(f"SELECT {', '.join(asked)} FROM (\n{source}\n)")
    for i, separator in enumerate(SEPARATORS):
        share, heads, length = row[3 * i : 3 * i + 3]
        prose = separator in " ," and (column.length > 60 or heads > 0.5 * column.distinct)
        if share >= 0.2 and length > 1 and not prose and heads <= column.distinct:
            return {"separator": separator, "items": int(length)}
    return {}
