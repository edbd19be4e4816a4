"""What the columns of a table hold: how many values, which of them are numbers, times or lists."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wukongctl.data.drafting import lists
from wukongctl.data.drafting.counting import LOOKED_AT, ValueCounts
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y", "%b %d %Y"),
    *("%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%B %d %Y"),
    *("%a, %d %b %Y", "%a %b %d %Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
)
TIME_FORMATS = tuple(
    f"{date}{time}"
    for date in DATES
    for time in ("", " %H:%M:%S", " %H:%M", ":%H:%M:%S", ", %H:%M", " %I:%M:%S %p", " %I:%M %p")
)
"""How dates are written apart from ISO 8601; where two fit all values, the first is taken."""
DATE_LIKE = re.compile(
    r"\d[./-]\d{1,2}[./-]\d\d|\b\d{8}\b|\d.*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|"
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*\d",
    re.IGNORECASE,
)
"""What any of these has: asking DuckDB of all formats takes a while."""
FEW = 50
"""Up to so many different values are kept."""
FIRST = 3
"""Values that a format of times is tried on before it is on all."""
DAY = r"20[0-3]\d{5}"
PADDED = 0.01
"""Share of whole numbers with a zero in front from which that is no slip; a slip has other digits as well."""
LARGEST = 1e30
"""Numbers beyond this leave float32 sooner or later."""
LONGEST_VECTOR = 256
"""A list of numbers that is longer is not worth a column for each."""
# For DuckDB `300_250` is a number: to a person it is a code.
NUMBER = "CASE WHEN NOT contains({0}, '_') THEN TRY_CAST({0} AS DOUBLE) END"
DENSE_LIST = re.compile(r"\b(FLOAT|DOUBLE|DECIMAL\(\d+,[1-9]\d*\))\[\d*\]$")
TEXTS = ("VARCHAR", "JSON")
READERS = ("TRY_CAST(TRY_CAST({} AS JSON) AS VARCHAR[])", "TRY_CAST({} AS VARCHAR[])")
"""SQL that makes a list of `["a", "b"]`, and of `['a', 'b']` or `[a, b]`."""


@dataclass(frozen=True)
class Column:
    """One column, measured over `rows` rows."""

    name: str
    type: str
    rows: int
    filled: int
    """Values that are neither missing nor empty."""
    distinct: int
    """Different ones."""
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
    """The most frequent ones, all if there are at most FEW…"""
    frequencies: tuple[int, ...] = ()
    """… and how many rows have each."""
    separator: str | None = None
    """What stands between several values in one text."""
    reader: str | None = None
    """SQL that makes a list of a text such as `["a", "b"]`."""
    items: int = 0
    """For lists: how many values a long one (95th percentile) has."""
    vector: int = 0
    """Numbers in each row, where a list has as many everywhere and not all are whole."""
    is_even: bool = False
    """Whether all lists are of one length."""
    is_dense: bool = False
    """Whether a list holds numbers of which not all are whole: amounts, not things."""
    is_padded: bool = False
    """Whether whole numbers begin with zeros, as `01005` does: codes, which would be others without them."""
    is_days: bool = False
    """Whether every value is a day as eight digits, `20240131`."""
    is_rising: bool = False
    """Whether whole numbers rise from row to row."""
    has_negative_sentinel: bool = False
    """Whether a number such as -1 is among amounts and stands for something else."""
    pattern: int = 0
    """A digest of which rows have equal values, whatever these are."""

    @property
    def is_list(self) -> bool:
        """A flat list or array, as Parquet and JSON have them, or a text that SQL makes one of."""
        return self.reader is not None or bool(sql.LIST.search(self.type))

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
    def is_unique(self) -> bool:
        """Whether no two rows have the same value."""
        return 0 < self.distinct == self.rows

    @property
    def missing(self) -> float:
        """Share of rows without a value."""
        return 1 - self.filled / self.rows if self.rows else 0.0


def flat(types: Mapping[str, str]) -> list[str]:
    """The columns that hold single values."""
    return [name for name, kind in types.items() if not sql.NESTED.search(kind)]


def measure(engine: Engine, counts: ValueCounts, types: Mapping[str, str], rows: int) -> tuple[Column, ...]:
    """The columns of the rows looked at, of which there are `rows`."""
    single = set(flat(types))
    columns = []
    for name, kind in types.items():
        column = Column(name, kind, rows, 0, 0)
        if name in single:
            columns.append(_closer(engine, counts, _measured(engine, counts, column)))
        else:
            columns.append(_with_items(engine, column, sql.identifier(name)))
    return tuple(columns)


def _measured(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """Its values in numbers."""
    number = NUMBER.format("v")
    day = f"CASE WHEN regexp_full_match(v, '{DAY}') THEN try_strptime(v, '%Y%m%d') END"
    asked = (
        "sum(n) FILTER (v IS NOT NULL), count(v), sum(n) FILTER (x IS NOT NULL), sum(n) FILTER (isnan(y)), "
        "sum(n) FILTER (x = floor(x)), min(x), max(x), sum(n * x) / sum(n) FILTER (x IS NOT NULL), "
        f"sum(n) FILTER (x IS NULL AND year(TRY_CAST(v AS TIMESTAMP)) >= {sql.FIRST_YEAR}), "
        "sum(n * length(v)) / sum(n) FILTER (v IS NOT NULL), bit_xor(hash(first, n)), "
        f"sum(n) FILTER ({day} IS NOT NULL), "
        "sum(n) FILTER (regexp_full_match(v, '[0-9]+')), sum(n) FILTER (regexp_full_match(v, '0[0-9]+')), "
        "min(length(v)) = max(length(v))"
    )
    finite = "CASE WHEN isfinite(y) AND abs(y) < 1e300 THEN y END"
    source = (
        f"SELECT *, {finite} AS x FROM (SELECT v, n, first, {number} AS y FROM {counts.table(column.name)})"
    )
    (answers,) = engine.rows(f"SELECT {asked} FROM ({source})")
    filled, distinct, numbers, nans, integers, low, high, mean, times, length, pattern, *written = (
        x or 0 for x in answers
    )
    days, digits, padded, is_even = written
    if numbers and numbers + nans == filled:
        filled = numbers  # among numbers `nan` is a missing one
    return replace(
        column,
        filled=int(filled),
        distinct=int(distinct),
        numbers=int(numbers),
        integers=int(integers),
        low=float(low),
        high=float(high),
        mean=float(mean),
        times=int(times),
        length=float(length),
        pattern=int(pattern),
        is_days=0 < filled == days,
        is_padded=0 < filled == digits and padded >= max(1, 0 if is_even else PADDED * filled),
    )


def _closer(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """Its most frequent values; of numbers the median and whether they rise; of texts what they stand for."""
    if not column.filled:
        return column
    known = counts.most_frequent(column.name, FEW)
    column = replace(column, values=tuple(v for v, _ in known), frequencies=tuple(n for _, n in known))
    if column.is_number:
        return _ordered(engine, counts.table(column.name), column)
    if column.times == column.filled or column.type not in TEXTS:
        return column
    written = _time_formats(engine, counts.table(column.name), column)
    if written:
        return replace(column, format=written[0], other_format=_exchanged(written), times=column.filled)
    return _as_list(engine, counts, column)


def without(counts: ValueCounts, column: Column, values: Sequence[str]) -> Column:
    """The amounts of a column of numbers as they are without some of its values."""
    listed = ", ".join(map(sql.literal, values))
    number = (
        f"SELECT TRY_CAST(v AS DOUBLE) AS x, n FROM {counts.table(column.name)} WHERE v NOT IN ({listed})"
    )
    asked = f"SELECT sum(n), min(x), max(x), sum(n * x) / sum(n) FROM ({number})"
    ((filled, low, high, mean),) = counts.engine.rows(asked)
    median = _median(counts.engine, number, int(filled))
    negative = any(value.startswith("-") for value in values)
    return replace(
        column,
        filled=int(filled),
        low=low,
        high=high,
        mean=mean,
        median=median,
        has_negative_sentinel=negative,
    )


def _median(engine: Engine, number: str, filled: int) -> float:
    """Of the numbers `x`, each in `n` rows, of a query."""
    sums = f"SELECT x, sum(n) OVER (ORDER BY x) AS c FROM ({number}) WHERE isfinite(x)"
    both = ", ".join(f"min(x) FILTER (2 * c {reached} {filled})" for reached in (">=", ">"))
    ((lower, upper),) = engine.rows(f"SELECT {both} FROM ({sums})")
    return (float(lower) + float(upper)) / 2


def _ordered(engine: Engine, table: str, column: Column) -> Column:
    number = f"SELECT TRY_CAST(v AS DOUBLE) AS x, n, first FROM {table} WHERE v IS NOT NULL"
    rising = False
    if column.is_integer and column.is_unique:
        falls = f"SELECT x < lag(x) OVER (ORDER BY first) AS falls FROM ({number})"
        ((rising,),) = engine.rows(f"SELECT count(*) FILTER (falls) = 0 FROM ({falls})")
    return replace(column, median=_median(engine, number, column.filled), is_rising=bool(rising))


def _time_formats(engine: Engine, table: str, column: Column) -> list[str]:
    """The formats in which all values are times: asked of some first, whom most fit none."""
    some = column.values[:FIRST]
    if not all(DATE_LIKE.search(value) for value in some):
        return []
    listed = ", ".join(f"({sql.literal(text)}, 1)" for text in some)
    likely = _fitting(engine, TIME_FORMATS, f"(VALUES {listed}) AS t(v, n)", len(some))
    return _fitting(engine, likely, table, column.filled) if likely else []


def _fitting(engine: Engine, formats: Sequence[str], table: str, wanted: int) -> list[str]:
    """Those of `formats` in which `wanted` values are times."""
    times = [f"try_strptime(v, {sql.literal(written)})" for written in formats]
    asked = ", ".join(f"sum(n) FILTER (year({time}) >= {sql.FIRST_YEAR})" for time in times)
    (found,) = engine.rows(f"SELECT {asked} FROM {table}")
    return [f for f, count in zip(formats, found, strict=True) if count == wanted]


def _exchanged(formats: Sequence[str]) -> str | None:
    """The format that differs from the first one in the order of day and month, if it is among them."""
    other = formats[0].replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    return other if other in formats[1:] else None


def _as_list(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """The same with what makes a list of its texts, if they are lists."""
    if all(value.startswith("[") and value.endswith("]") for value in column.values):
        for reader in READERS:
            unread = f"v IS NOT NULL AND {reader.format('v')} IS NULL"
            if counts.most_frequent(column.name, 1, unread):
                continue
            made = _with_items(engine, column, reader.format(sql.identifier(column.name)))
            # A few of one length are intervals such as `[70, 80]`.
            if made.items > 1 and (made.vector or column.distinct > FEW or not made.is_even):
                return replace(made, reader=reader.format(sql.identifier(column.name)))
            break
    found = lists.listed(counts.some(column.name, lists.SAMPLE))
    return replace(column, separator=found.separator, items=found.items) if found else column


def _with_items(engine: Engine, column: Column, value: str) -> Column:
    """A list column with its lengths, and whether its numbers are amounts; `value` is SQL of the list."""
    if not sql.LIST.search(column.type) and column.type not in TEXTS:
        ((filled,),) = engine.rows(f"SELECT count({value}) FROM {LOOKED_AT}")
        return replace(column, filled=int(filled), distinct=int(filled))
    asked = (
        "count(l), approx_quantile(len(l), 0.95), min(len(l)) FILTER (len(l) > 0), max(len(l)), min(len(l))"
    )
    if column.type in TEXTS:
        numbers = "list_transform(l, lambda x: TRY_CAST(x AS DOUBLE))"
        whole = (
            "list_transform(l, lambda x: CAST(TRY_CAST(x AS DOUBLE) = floor(TRY_CAST(x AS DOUBLE)) AS INT))"
        )
        asked += (
            f", count(*) FILTER (list_count({numbers}) < len(l)), count(*) FILTER (list_min({whole}) = 0)"
        )
    (answers,) = engine.rows(f"SELECT {asked} FROM (SELECT {value} AS l FROM {LOOKED_AT})")
    filled, items, least, most, shortest, *odd = (x or 0 for x in answers)
    dense = bool(DENSE_LIST.search(column.type)) if not odd else odd[0] == 0 < odd[1]
    return replace(
        column,
        filled=int(filled),
        distinct=int(filled) if sql.LIST.search(column.type) else column.distinct,
        items=int(items),
        is_even=shortest == most,
        is_dense=dense,
        vector=int(least) if dense and 0 < least == most else 0,
    )
