"""Guesses by name and values: which column is the time, and which feature each other column can be."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from wukongctl.data.drafting.profile import LONGEST_VECTOR, Column
from wukongctl.data.query import sql

RoleKind = Literal["categorical", "numeric", "vector", "sequence", "left out"]

TIMES = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|hour|day|epoch|at)$|(^|_)(time|date)_?")
OTHER_TIMES = re.compile(
    r"(^|_)(birth|born|dob|signup|sign_up|joined|registered|created|released?|published|expires?)"
)
"""Times of other events than the row's."""
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
"""Things that usually differ from row to row."""
INDEX = re.compile(
    r"^__index_level_\d+__$|^(Unnamed: ?\d+|rownames|row_?(num|number|names?|id|nr|no)|index)$", re.IGNORECASE
)
"""Names of row numbers in pandas and R."""
AMOUNTS = re.compile(
    r"(^|_)(count|counts|num|price|amount|cost|age|score|rate|ratio|duration|length|size|views?|clicks|total"
    r"|sum|mean|avg|distance|weight|height|year|per|wages?|salary|income|gains?|loss(es)?|balance|revenue"
    r"|quantity|qty|seconds|minutes|hours|days|weeks|months)(_|$)|^i_?\d+$"
)
FEW_CODES, DENSE_CODES = 20, 200
"""Integers without a telling name are codes if there are at most so few, or at least so many without gaps."""
EPOCHS = (946_684_800, 2_051_222_400)
"""Seconds since 1970 of the years 2000 and 2035."""
LOG = 15 * 365 * 86_400
"""Longest log in seconds; random ids of ten digits span more."""
LEAST_LOG = 60
"""Shortest log in seconds."""
EXACT = 2**53
"""Larger integers are not exact as double: ids rather than amounts."""
FEW_TEXTS = 0.05
"""Largest share of texts in a column that is likely numeric but for errors."""
FREE_TEXT = 80
"""Mean length from which texts that hardly repeat are prose."""
LONGEST = 100
"""Largest `max_len` of a sequence."""
SMALL = 3000
"""In fewer rows, ids that hardly repeat may repeat in a larger table."""
RISING_ROWS = 1000
"""From this many rows on, integers do not increase from row to row by chance."""
MANY_ROWS = 50
"""In fewer rows, nearly any column is unique."""
MANY_VALUES = 1000
"""From this many values on, rare ones are too many to learn an embedding for each."""


class Role(NamedTuple):
    """What a column becomes, and why."""

    column: Column
    kind: RoleKind
    note: str


def snake(name: str) -> str:
    """`userID` and `User Id` as `user_id`."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()


def time(columns: Sequence[Column]) -> Column | None:
    """The time column, if complete: a date, or else integers that count time."""
    complete = [c for c in columns if c.filled == c.rows and c.distinct > 2 and not c.is_list]
    dates = [c for c in complete if is_date(c)]
    counted = [c for c in complete if c.is_integer and _counts_time(c)]
    return min([*dates, *counted], key=_is_other_time, default=None)


def partial_time(columns: Sequence[Column]) -> Column | None:
    """A time column with missing values."""
    dates = [c for c in columns if c.filled < c.rows and c.distinct > 2 and (is_date(c) or is_time(c))]
    return next((c for c in dates if not _is_other_time(c)), None)


def _is_other_time(column: Column) -> bool:
    return bool(OTHER_TIMES.search(snake(column.name)))


def is_date(column: Column) -> bool:
    """Whether the values are dates or times, typed or as text."""
    typed = column.type.startswith(("TIMESTAMP", "DATE"))
    text = column.type == "VARCHAR" and not column.is_number
    return typed or (text and 0 < column.times == column.filled)


def _counts_time(column: Column) -> bool:
    """Whether integers are times: seconds, milliseconds, or digits such as 14102100."""
    if column.is_padded:
        return False
    if is_time(column):
        return True
    named = is_named_like_time(column)
    seconds = column.low >= 5e8 and column.high < 4.2e9 and column.distinct > 100
    other = is_code(column) or bool(AMOUNTS.search(snake(column.name)))
    return (named and column.low > 1e5) or (seconds and column.median > column.low and not other)


def is_time(column: Column) -> bool:
    """Whether integers are times by their values: 20240131, or s, ms or us since 1970."""
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
    """Whether the name is that of a time."""
    name = snake(column.name)
    return bool(TIMES.search(name) or COUNTED_TIME.search(name))


def role(column: Column) -> Role:
    """The role of a column that is neither label nor time."""
    if reason := _left_out(column):
        return Role(column, "left out", reason)
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    if column.vector:
        return Role(column, "vector", f"`{column.name}`: {column.vector} numbers each{missing}")
    if column.is_list or column.separator is not None:
        return Role(column, "sequence", missing.removeprefix(", "))
    if column.is_number and not is_code(column):
        return Role(column, "numeric", f"{column.low:g} to {column.high:g}, mean {column.mean:.4g}{missing}")
    repeats = "; too few rows to tell whether they repeat" if _is_nearly_unique(column) else ""
    return Role(column, "categorical", f"{column.distinct:,} values{missing}{_mixed(column)}{repeats}")


def _left_out(column: Column) -> str | None:
    if column.is_nested or column.type == "BLOB":
        return f"{column.type}; the SELECT could extract a field"
    if not column.filled:
        return "empty"
    if column.is_list:
        return _unfit_list(column)
    if column.distinct == 1 and column.filled == column.rows:
        return "constant"
    if is_date(column):
        return f"a time; a part such as {_part(column)} could be a feature"
    if is_time(column):
        return "a time, judging by its values; a part of it could be a feature"
    return _row_number(column) or _too_unique(column)


def _unfit_list(column: Column) -> str | None:
    if not column.is_dense or 0 < column.vector <= LONGEST_VECTOR:
        return None
    if column.vector:
        return f"vectors of {column.vector} numbers; use them as `pretrained` of a categorical feature"
    average = f"list_avg({sql.identifier(column.name)})"
    return f"lists of numbers of different lengths; {average} could be a feature"


def _part(column: Column) -> str:
    """SQL of the hour or day of the week of a time."""
    time = sql.identifier(column.name)
    if column.type == "VARCHAR":
        time = (
            f"strptime({time}, {sql.literal(column.format)})"
            if column.format
            else f"CAST({time} AS TIMESTAMP)"
        )
    day = column.type == "DATE" or (column.format is not None and ":" not in column.format)
    return f"{'dayofweek' if day else 'hour'}({time})"


def _row_number(column: Column) -> str | None:
    """The reason to leave out a column of row numbers."""
    if INDEX.search(column.name) and column.is_integer and (column.is_unique or column.name.startswith("__")):
        return "row number, as written by pandas or R"
    if not (column.is_integer and column.is_unique) or column.rows < MANY_ROWS or _is_id_in_few_rows(column):
        return None
    if column.high - column.low + 1 == column.rows:
        return "row number: consecutive integers, each once"
    if column.is_rising and column.rows >= RISING_ROWS and not _counts_time(column):
        return "row number: increases from row to row"
    return None


def _too_unique(column: Column) -> str | None:
    """The reason to leave out a column of ids or prose that hardly repeats."""
    if column.separator is not None:
        return None
    code = not column.is_number or is_code(column)
    if _is_nearly_unique(column) and code and not _is_id_in_few_rows(column):
        return f"nearly unique, so nothing can be learned from it{_mixed(column)}"
    if column.length > FREE_TEXT and column.distinct > 0.5 * column.rows:
        return "free text"
    return None


def _is_nearly_unique(column: Column) -> bool:
    return column.rows >= MANY_ROWS and column.distinct >= 0.9 * column.rows


def _is_id_in_few_rows(column: Column) -> bool:
    """Whether it has ids that may repeat in a larger table."""
    name = snake(column.name)
    return column.rows < SMALL and bool(IDS.search(name)) and not ROWS.search(name)


def _mixed(column: Column) -> str:
    """The remark on a column of numbers with a few texts."""
    texts = column.filled - column.numbers
    rows = f"{texts:,} row{'s' * (texts > 1)}"
    return f"; numeric except in {rows}" if 0 < texts <= FEW_TEXTS * column.filled else ""


def is_code(column: Column) -> bool:
    """Whether numbers are ids or categories rather than amounts."""
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
    """Least occurrences of a value with an embedding, by the size of the table."""
    if column.distinct < MANY_VALUES:
        return 1
    return 10 if column.rows >= 1_000_000 else 2


def is_skewed(column: Column) -> bool:
    """Whether amounts have a long tail and no sentinel, so that log1p suits them."""
    if column.has_negative_sentinel:
        return False
    return column.low >= -10 and column.high > 100 and column.mean > 1.5 * max(column.median, 0)


def numeric_keys(column: Column) -> tuple[tuple[str, str], ...]:
    """The keys of a numeric feature.

    Bins beside the number win on most tables: docs/results/2026-11-defaults.md.
    """
    transform = (("transform", "log1p"),) if is_skewed(column) else ()
    return (("encoding", "scalar+bins"), *transform)
