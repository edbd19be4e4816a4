"""What columns hold: numbers of values, and whether these are numbers, times or lists."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wukongctl.data.drafting import lists
from wukongctl.data.drafting.counting import MEASURED, ValueCounts
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
"""Date formats other than ISO 8601; if several fit all values, the first is used."""
DATE_LIKE = re.compile(
    r"\d[./-]\d{1,2}[./-]\d\d|\b\d{8}\b|\d.*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|"
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*\d",
    re.IGNORECASE,
)
"""Matches all of these: a cheap test before DuckDB tries every format."""
FEW = 50
"""Most frequent values kept."""
FIRST = 3
"""Values on which time formats are tried before all values."""
DAY = r"20[0-3]\d{5}"
PADDED = 0.01
"""Least share of integers with leading zeros that makes them codes, unless all have one length."""
LARGEST = 1e30
"""Larger numbers may overflow float32."""
LONGEST_VECTOR = 256
"""Longer vectors are not worth a column per number."""
# DuckDB takes `300_250` for a number, but it is a code.
NUMBER = "CASE WHEN NOT contains({0}, '_') THEN TRY_CAST({0} AS DOUBLE) END"
DENSE_LIST = re.compile(r"\b(FLOAT|DOUBLE|DECIMAL\(\d+,[1-9]\d*\))\[\d*\]$")
TEXTS = ("VARCHAR", "JSON")
READERS = ("TRY_CAST(TRY_CAST({} AS JSON) AS VARCHAR[])", "TRY_CAST({} AS VARCHAR[])")
"""SQL that parses `["a", "b"]`, and `['a', 'b']` or `[a, b]`."""


@dataclass(frozen=True)
class Column:
    """One column, measured over `rows` rows."""

    name: str
    type: str
    rows: int
    filled: int
    """Values that are neither missing nor blank."""
    distinct: int
    numbers: int = 0
    """Values that are finite numbers."""
    integers: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    median: float = 0.0
    times: int = 0
    """Values that are ISO 8601 dates or times."""
    format: str | None = None
    """Format of dates or times that are not ISO 8601."""
    other_format: str | None = None
    """The format with day and month swapped, if it fits all values too."""
    length: float = 0.0
    """Mean length of a value in characters."""
    values: tuple[str, ...] = ()
    """The FEW most frequent values…"""
    frequencies: tuple[int, ...] = ()
    """… and their rows."""
    separator: str | None = None
    """Separator of texts that are lists."""
    reader: str | None = None
    """SQL that parses texts such as `["a", "b"]` to lists."""
    items: int = 0
    """95th percentile of the lengths of lists."""
    vector: int = 0
    """Length of the vectors in a column of number lists of one length, not all integers."""
    has_one_length: bool = False
    is_dense: bool = False
    """Whether lists hold numbers that are not all integers: amounts, not ids."""
    is_padded: bool = False
    """Whether integers have leading zeros, as `01005`, so that they are codes."""
    is_days: bool = False
    """Whether every value is a date in eight digits, `20240131`."""
    is_rising: bool = False
    """Whether integers increase from row to row."""
    has_negative_sentinel: bool = False
    """Whether a number such as -1 among amounts is a sentinel."""
    pattern: int = 0
    """A digest of which rows have equal values."""

    @property
    def is_list(self) -> bool:
        """A flat list or array, or text that SQL can parse to one."""
        return self.reader is not None or bool(sql.LIST.search(self.type))

    @property
    def is_nested(self) -> bool:
        """A nested type other than a flat list."""
        return bool(sql.NESTED.search(self.type)) and not self.is_list

    @property
    def is_number(self) -> bool:
        """Whether every value is a finite number in the range of float32."""
        return 0 < self.numbers == self.filled and max(-self.low, self.high) < LARGEST

    @property
    def is_integer(self) -> bool:
        """Whether every value is an integer."""
        return self.is_number and self.integers == self.filled

    @property
    def is_unique(self) -> bool:
        """Whether no two rows have the same value."""
        return 0 < self.distinct == self.rows

    @property
    def missing(self) -> float:
        """Share of rows with a missing value."""
        return 1 - self.filled / self.rows if self.rows else 0.0


def flat_columns(types: Mapping[str, str]) -> list[str]:
    """Columns of single values, which are neither lists nor nested."""
    return [name for name, kind in types.items() if not sql.NESTED.search(kind)]


def measure(engine: Engine, counts: ValueCounts, types: Mapping[str, str], rows: int) -> tuple[Column, ...]:
    """The columns of the `rows` measured rows."""
    flat = set(flat_columns(types))
    columns = []
    for name, kind in types.items():
        column = Column(name, kind, rows, 0, 0)
        if name in flat:
            columns.append(_with_values(engine, counts, _with_numbers(engine, counts, column)))
        else:
            columns.append(_with_items(engine, column, sql.identifier(name)))
    return tuple(columns)


def _with_numbers(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """`column` with counts and moments of its values."""
    number = NUMBER.format("v")
    day = f"CASE WHEN regexp_full_match(v, '{DAY}') THEN try_strptime(v, '%Y%m%d') END"
    aggregates = (
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
        f"SELECT *, {finite} AS x FROM (SELECT v, n, first, {number} AS y FROM {counts.tables[column.name]})"
    )
    (answers,) = engine.rows(f"SELECT {aggregates} FROM ({source})")
    filled, distinct, numbers, nans, integers, low, high, mean, times, length, pattern, *shape = (
        x or 0 for x in answers
    )
    days, digits, padded, has_one_length = shape
    if numbers and numbers + nans == filled:
        filled = numbers  # `nan` among numbers is a missing value
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
        is_padded=0 < filled == digits and padded >= max(1, 0 if has_one_length else PADDED * filled),
    )


def _with_values(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """`column` with its frequent values and, for texts, the format of times or lists."""
    if not column.filled:
        return column
    values, frequencies = zip(*counts.most_frequent(column.name, FEW), strict=True)
    column = replace(column, values=values, frequencies=frequencies)
    if column.is_number:
        return _with_order(engine, counts.tables[column.name], column)
    if column.times == column.filled or column.type not in TEXTS:
        return column
    formats = _time_formats(engine, counts.tables[column.name], column)
    if formats:
        return replace(column, format=formats[0], other_format=_swapped(formats), times=column.filled)
    return _as_list(engine, counts, column)


def without(counts: ValueCounts, column: Column, values: Sequence[str]) -> Column:
    """A numeric column as it is without some of its values."""
    listed = ", ".join(map(sql.literal, values))
    number = (
        f"SELECT TRY_CAST(v AS DOUBLE) AS x, n FROM {counts.tables[column.name]} WHERE v NOT IN ({listed})"
    )
    query = f"SELECT sum(n), min(x), max(x), sum(n * x) / sum(n) FROM ({number})"
    ((filled, low, high, mean),) = counts.engine.rows(query)
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
    """Median of the numbers `x`, each in `n` rows, of a query."""
    sums = f"SELECT x, sum(n) OVER (ORDER BY x) AS c FROM ({number}) WHERE isfinite(x)"
    both = ", ".join(f"min(x) FILTER (2 * c {reached} {filled})" for reached in (">=", ">"))
    ((lower, upper),) = engine.rows(f"SELECT {both} FROM ({sums})")
    return (float(lower) + float(upper)) / 2


def _with_order(engine: Engine, table: str, column: Column) -> Column:
    """`column` with its median, and whether it increases from row to row."""
    number = f"SELECT TRY_CAST(v AS DOUBLE) AS x, n, first FROM {table} WHERE v IS NOT NULL"
    rising = False
    if column.is_integer and column.is_unique:
        falls = f"SELECT x < lag(x) OVER (ORDER BY first) AS falls FROM ({number})"
        ((rising,),) = engine.rows(f"SELECT count(*) FILTER (falls) = 0 FROM ({falls})")
    return replace(column, median=_median(engine, number, column.filled), is_rising=bool(rising))


def _time_formats(engine: Engine, table: str, column: Column) -> list[str]:
    """The formats that fit all values, tried on a few first, which most formats do not fit."""
    first = column.values[:FIRST]
    if not all(DATE_LIKE.search(value) for value in first):
        return []
    listed = ", ".join(f"({sql.literal(text)}, 1)" for text in first)
    likely = _fitting(engine, TIME_FORMATS, f"(VALUES {listed}) AS t(v, n)", len(first))
    return _fitting(engine, likely, table, column.filled) if likely else []


def _fitting(engine: Engine, formats: Sequence[str], table: str, wanted: int) -> list[str]:
    """Those of `formats` that fit `wanted` values."""
    times = [f"try_strptime(v, {sql.literal(text)})" for text in formats]
    aggregates = ", ".join(f"sum(n) FILTER (year({time}) >= {sql.FIRST_YEAR})" for time in times)
    (found,) = engine.rows(f"SELECT {aggregates} FROM {table}")
    return [f for f, count in zip(formats, found, strict=True) if count == wanted]


def _swapped(formats: Sequence[str]) -> str | None:
    """The first format with day and month swapped, if it is among `formats`."""
    other = formats[0].replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    return other if other in formats[1:] else None


def _as_list(engine: Engine, counts: ValueCounts, column: Column) -> Column:
    """`column` with the reader or separator of its texts, if they are lists."""
    if all(value.startswith("[") and value.endswith("]") for value in column.values):
        for reader in READERS:
            unread = f"v IS NOT NULL AND {reader.format('v')} IS NULL"
            if counts.most_frequent(column.name, 1, unread):
                continue
            parsed = reader.format(sql.identifier(column.name))
            listed = _with_items(engine, column, parsed)
            # A few lists of one length are intervals such as `[70, 80]`.
            if listed.items > 1 and (listed.vector or column.distinct > FEW or not listed.has_one_length):
                return replace(listed, reader=parsed)
            break
    found = lists.list_format(counts.sample(column.name, lists.SAMPLE))
    return replace(column, separator=found.separator, items=found.items) if found else column


def _with_items(engine: Engine, column: Column, value: str) -> Column:
    """`column` with the lengths of its lists and whether they are vectors; `value` is SQL of the list."""
    if not sql.LIST.search(column.type) and column.type not in TEXTS:
        ((filled,),) = engine.rows(f"SELECT count({value}) FROM {MEASURED}")
        return replace(column, filled=int(filled), distinct=int(filled))
    aggregates = (
        "count(l), approx_quantile(len(l), 0.95), min(len(l)) FILTER (len(l) > 0), max(len(l)), min(len(l))"
    )
    if column.type in TEXTS:
        numbers = "list_transform(l, lambda x: TRY_CAST(x AS DOUBLE))"
        whole = (
            "list_transform(l, lambda x: CAST(TRY_CAST(x AS DOUBLE) = floor(TRY_CAST(x AS DOUBLE)) AS INT))"
        )
        aggregates += (
            f", count(*) FILTER (list_count({numbers}) < len(l)), count(*) FILTER (list_min({whole}) = 0)"
        )
    (answers,) = engine.rows(f"SELECT {aggregates} FROM (SELECT {value} AS l FROM {MEASURED})")
    filled, items, least, most, shortest, *numbers = (x or 0 for x in answers)
    dense = bool(DENSE_LIST.search(column.type)) if not numbers else numbers[0] == 0 < numbers[1]
    return replace(
        column,
        filled=int(filled),
        distinct=int(filled) if sql.LIST.search(column.type) else column.distinct,
        items=int(items),
        has_one_length=shortest == most,
        is_dense=dense,
        vector=int(least) if dense and 0 < least == most else 0,
    )
