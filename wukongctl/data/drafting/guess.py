"""Guesses about a measured table: which column is the time, and what the others can be as features."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from wukongctl.data.drafting.profile import LONGEST_VECTOR, Column
from wukongctl.data.query import sql

Kind = Literal["categorical", "numeric", "vector", "sequence", "left out"]

TIMES = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|hour|day|epoch|at)$|(^|_)(time|date)_?")
OTHER_TIMES = re.compile(
    r"(^|_)(birth|born|dob|signup|sign_up|joined|registered|created|released?|published|expires?)"
)
"""When something else happened than the row."""
COUNTED_TIME = re.compile(r"(^|_)(ns|us|ms|nanos|micros|millis)$")
CODES = re.compile(
    r"(^|_)(id|ids|uuid|code|zip|zipcode|postcode|hash|key|type|category|cat|class|group|user|uid|patient|customer"
    r"|client|member|visitor|account|session|nbr|phone|item|product|ad|campaign_id|site|device|ip"
    r"|hour|weekday|day|month|gender|sex|country|city|region|os|browser|lang|no)(_|$)|^c_?\d+$"
)
IDS = re.compile(
    r"(^|_)(id|uid|uuid|guid|key|code|nbr|sku|asin|isbn|user|customer|member|visitor|patient|account|client|device"
    r"|subscriber|household|item|product|movie|song|article|video|book|ad|campaign|advertiser|merchant|seller"
    r"|shop|store)$"
)
ROWS = re.compile(
    r"(^|_)(impression|request|event|transaction|encounter|click|log|record|row|order|visit|query|auction|bid"
    r"|session)(_id)?$|^id$"
)
"""What each row has another one of, as a rule."""
INDEX = re.compile(
    r"^__index_level_\d+__$|^(Unnamed: ?\d+|rownames|row_?(num|number|names?|id|nr|no)|index)$", re.IGNORECASE
)
"""What pandas and R call the number of the row."""
AMOUNTS = re.compile(
    r"(^|_)(count|counts|num|price|amount|cost|age|score|rate|ratio|duration|length|size|views?|clicks|total"
    r"|sum|mean|avg|distance|weight|height|year|per|wages?|salary|income|gains?|loss(es)?|balance|revenue"
    r"|quantity|qty|seconds|minutes|hours|days|weeks|months)(_|$)|^i_?\d+$"
)
FEW_CODES, DENSE_CODES = 20, 200
"""Whole numbers without a telling name are codes if they are so few, or at least so many and without gaps."""
EPOCHS = (946_684_800, 2_051_222_400)
"""Seconds since 1970 of the years 2000 and 2035."""
LOG = 15 * 365 * 86_400
"""Seconds that a log goes on at most; ids of ten digits at random take more room than that."""
LEAST_LOG = 60
"""… and it is no log if all of it happened within so many."""
EXACT = 2**53
"""Whole numbers beyond this are not told apart as double: ids rather than amounts."""
FEW_ODD = 0.05
"""Up to this share of texts, a column of numbers may merely be dirty: worth a word."""
FREE_TEXT = 80
"""Mean characters from which a text that hardly repeats is prose."""
LONGEST = 100
SMALL = 3000
"""Rows below which a value that nearly every row has another one of may well come again in a larger table."""
RISING_ROWS = 1000
"""In so many rows whole numbers do not rise from row to row by chance."""
MANY_ROWS = 50
"""In fewer, nearly any column has another value everywhere."""
MANY_VALUES = 1000
"""From here on, values seen once or twice are too many to learn an embedding for each."""


class Role(NamedTuple):
    """What one column becomes, and why."""

    column: Column
    kind: Kind
    note: str


def snake(name: str) -> str:
    """`userID` and `User Id` as `user_id`, for comparing names."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()


def time(columns: Sequence[Column]) -> Column | None:
    """The column that says when, without which no row may be: dates first, then numbers named like times."""
    complete = [c for c in columns if c.filled == c.rows and c.distinct > 2 and not c.is_list]
    dates = [c for c in complete if is_date(c)]
    counted = [c for c in complete if c.is_integer and _counts_time(c)]
    return min([*dates, *counted], key=_is_of_something_else, default=None)


def partial_time(columns: Sequence[Column]) -> Column | None:
    """A column of dates that some rows lack."""
    dates = [c for c in columns if c.filled < c.rows and c.distinct > 2 and (is_date(c) or is_time(c))]
    return next((c for c in dates if not _is_of_something_else(c)), None)


def _is_of_something_else(column: Column) -> bool:
    return bool(OTHER_TIMES.search(snake(column.name)))


def is_date(column: Column) -> bool:
    """Whether the values are dates or times as such."""
    typed = column.type.startswith(("TIMESTAMP", "DATE"))
    text = column.type == "VARCHAR" and not column.is_number
    return typed or (text and 0 < column.times == column.filled)


def _counts_time(column: Column) -> bool:
    """Seconds, milliseconds or digits such as 14102100 (year, month, day, hour)."""
    if column.is_padded:
        return False
    if is_time(column):
        return True
    named = is_named_like_time(column)
    seconds = column.low >= 5e8 and column.high < 4.2e9 and column.distinct > 100
    other = is_code(column) or bool(AMOUNTS.search(snake(column.name)))
    return (named and column.low > 1e5) or (seconds and column.median > column.low and not other)


def is_time(column: Column) -> bool:
    """Whether whole numbers are times by their values: days as 20240131, or s, ms or us since 1970."""
    name = snake(column.name)
    if not column.is_integer or column.distinct <= 2:
        return False
    if column.is_days:
        return True
    if column.distinct <= FEW_CODES or CODES.search(name) or AMOUNTS.search(name):
        return False
    first, last = EPOCHS
    return any(
        first * unit <= column.low
        and column.high <= last * unit
        and LEAST_LOG * unit <= column.high - column.low <= LOG * unit
        for unit in (1, 10**3, 10**6)
    )


def is_named_like_time(column: Column) -> bool:
    """Whether its name says that it tells when."""
    name = snake(column.name)
    return bool(TIMES.search(name) or COUNTED_TIME.search(name))


def role(column: Column) -> Role:
    """What a column that is neither label nor time becomes."""
    out = _left_out(column)
    if out is not None:
        return Role(column, "left out", out)
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    if column.vector:
        return Role(column, "vector", f"`{column.name}`: {column.vector} numbers each{missing}")
    if column.is_list or column.separator is not None:
        return Role(column, "sequence", missing.removeprefix(", "))
    if column.is_number and not is_code(column):
        return Role(column, "numeric", f"{column.low:g} to {column.high:g}, mean {column.mean:.4g}{missing}")
    again = "; too few rows to tell whether they come again" if _is_nearly_unique(column) else ""
    return Role(column, "categorical", f"{column.distinct:,} values{missing}{_mixed(column)}{again}")


def _left_out(column: Column) -> str | None:
    if column.is_nested or column.type == "BLOB":
        return f"it holds {column.type}; the SQL could select a part of it"
    if not column.filled:
        return "it is empty"
    if column.is_list:
        return _unfit_list(column)
    if column.distinct == 1 and column.filled == column.rows:
        return "it has one value only"
    if is_date(column):
        return f"a time; a part of it, such as {_part(column)}, could be a feature"
    if is_time(column):
        return "a time, by its values; a part of it could be a feature"
    return _numbers_rows(column) or _repeats_too_little(column)


def _unfit_list(column: Column) -> str | None:
    if not column.is_dense or 0 < column.vector <= LONGEST_VECTOR:
        return None
    if column.vector:
        return f"vectors of {column.vector} numbers; `pretrained` of a categorical feature can hold them"
    return (
        f"lists of numbers, not all of one length; list_avg({sql.identifier(column.name)}) could be a feature"
    )


def _part(column: Column) -> str:
    """SQL of something about a time that comes again."""
    time = sql.identifier(column.name)
    if column.type == "VARCHAR":
        time = (
            f"strptime({time}, {sql.literal(column.format)})"
            if column.format
            else f"CAST({time} AS TIMESTAMP)"
        )
    day = column.type == "DATE" or (column.format is not None and ":" not in column.format)
    return f"{'dayofweek' if day else 'hour'}({time})"


def _numbers_rows(column: Column) -> str | None:
    """Why a column is merely the number of the row, if it is."""
    if INDEX.search(column.name) and column.is_integer and (column.is_unique or column.name.startswith("__")):
        return "the number of the row, as pandas and others write it"
    if not (column.is_integer and column.is_unique) or column.rows < MANY_ROWS or _is_id_in_few_rows(column):
        return None
    if column.high - column.low + 1 == column.rows:
        return "it numbers the rows: whole numbers without a gap, each once"
    if column.is_rising and column.rows >= RISING_ROWS and not _counts_time(column):
        return "it numbers the rows: it rises from each to the next"
    return None


def _repeats_too_little(column: Column) -> str | None:
    if column.separator is not None:
        return None
    code = not column.is_number or is_code(column)
    if _is_nearly_unique(column) and code and not _is_id_in_few_rows(column):
        return f"nearly every row has another value, so nothing can be learned from it{_mixed(column)}"
    if column.length > FREE_TEXT and column.distinct > 0.5 * column.rows:
        return "free text"
    return None


def _is_nearly_unique(column: Column) -> bool:
    return column.rows >= MANY_ROWS and column.distinct >= 0.9 * column.rows


def _is_id_in_few_rows(column: Column) -> bool:
    """Whether it names things that may come again, were there more rows."""
    name = snake(column.name)
    return column.rows < SMALL and bool(IDS.search(name)) and not ROWS.search(name)


def _mixed(column: Column) -> str:
    """What to say of a column of numbers with a few texts among them."""
    odd = column.filled - column.numbers
    return f"; numbers but for {odd:,}" if 0 < odd <= FEW_ODD * column.filled else ""


def is_code(column: Column) -> bool:
    """Whether numbers stand for things rather than amounts."""
    if not column.is_integer:
        return False
    if column.is_padded:
        return True
    name = snake(column.name)
    if AMOUNTS.search(name) and column.distinct > 2:
        return False
    if CODES.search(name) or column.distinct <= FEW_CODES:
        return True
    if max(-column.low, column.high) > EXACT:
        return not (is_named_like_time(column) and column.low > 1e17)
    dense = column.distinct > 0.8 * (column.high - column.low + 1)
    mostly_one = bool(column.frequencies) and column.frequencies[0] > 0.5 * column.filled
    return column.low >= 0 and dense and column.distinct >= DENSE_CODES and not mostly_one


def min_count(column: Column) -> int:
    """How often a value must be seen to earn an embedding: by the size of the table."""
    if column.distinct < MANY_VALUES:
        return 1
    return 10 if column.rows >= 1_000_000 else 2


def is_skewed(column: Column) -> bool:
    """Counts with a long tail, which a logarithm tames; it would take a sentinel of -1 for 0."""
    if column.has_negative_sentinel:
        return False
    return column.low >= -10 and column.high > 100 and column.mean > 1.5 * max(column.median, 0)


def numeric_keys(column: Column) -> tuple[tuple[str, str], ...]:
    """The keys of a numeric feature: the one place that decides how its numbers are written.

    Bins beside the number win on most tables: docs/results/2026-11-defaults.md.
    """
    transform = (("transform", "log1p"),) if is_skewed(column) else ()
    return (("encoding", "scalar+bins"), *transform)
