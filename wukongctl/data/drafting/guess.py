"""Guesses about a measured table: which column is the label, which the time, and what the others can be."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from wukongctl.config.loading import did_you_mean
from wukongctl.data.drafting.profile import Column
from wukongctl.data.query import sql
from wukongctl.errors import UsageError

Kind = Literal["categorical", "numeric", "sequence", "left out"]

LABELS = ("label", "click", "clicked", "is_click", "is_clicked", "target", "y", "is_attributed", "clk")
OUTCOMES = ("like", "liked", "is_like", "purchase", "purchased", "buy", "converted", "conversion", "rating")
POSITIVE = ("yes", "y", "true", "t", "click", "clicked", "positive", "pos", "like", "purchase")
GRADES = re.compile(r"(^|_)(rating|stars?|score|grade)s?$")
TIMES = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|hour|day|epoch|at)$|(^|_)(time|date)_?")
CODES = re.compile(
    r"(^|_)(id|code|zip|zipcode|postcode|hash|key|type|category|cat|class|group|user|item|ad|site|device|ip"
    r"|hour|weekday|day|month|gender|sex|country|city|os|browser|lang|no)(_|$)|^c_?\d+$"
)
AMOUNTS = re.compile(
    r"(^|_)(count|counts|num|price|amount|cost|age|score|rate|ratio|duration|length|size|views?|clicks|total"
    r"|sum|mean|avg|distance|weight|year)(_|$)|^i_?\d+$"
)
FEW_CODES, DENSE_CODES = 20, 200
"""Whole numbers without a telling name are codes if they are so few, or at least so many and without gaps."""
EXACT = 2**53
"""Whole numbers beyond this are not told apart as double: ids rather than amounts."""
FEW_ODD = 0.05
"""Up to this share of texts, a column of numbers may merely be dirty: worth a word."""
FREE_TEXT = 80
"""Mean characters from which a text that hardly repeats is prose."""
LONGEST = 100
MANY_VALUES = 1000
"""From here on, values seen once or twice are too many to learn an embedding for each."""


class Label(NamedTuple):
    """The column that tells clicks, and the SQL that makes 0 or 1 of it."""

    column: Column
    expression: str
    note: str


class Role(NamedTuple):
    """What one column becomes, and why."""

    column: Column
    kind: Kind
    note: str


def snake(name: str) -> str:
    """`userID` and `User Id` as `user_id`, for comparing names."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()


def label(columns: Sequence[Column], wanted: str | None, file: str) -> Label:
    """The label, by the user's word or else by name or values; UsageError where nothing can be one."""
    if wanted is not None:
        found = next((c for c in columns if c.name == wanted), None) or next(
            (c for c in columns if c.name.lower() == wanted.lower()), None
        )
        if found is None:
            names = [c.name for c in columns]
            hint = did_you_mean(wanted, names) or f"it has {', '.join(f'`{name}`' for name in names)}"
            raise UsageError(f"`{file}` has no column `{wanted}`", hint=hint)
        made = as_label(found, sure=True)
        if made is None:
            raise UsageError(
                f"`{found.name}` cannot be a label: it holds {_held(found)}",
                hint="name a column with two values, or with numbers, with `--label`",
            )
        return made
    for column, sure in _likely(columns):
        made = as_label(column, sure=sure)
        if made is not None:
            return made
    raise UsageError(
        f"no column of `{file}` looks like a label, such as one of 0 and 1",
        hint=f"name it with `--label`; the columns are {', '.join(f'`{c.name}`' for c in columns)}",
    )


def _likely(columns: Sequence[Column]) -> Iterable[tuple[Column, bool]]:
    """Columns by how much they look like the label, and whether their name says so."""
    for names in (LABELS, OUTCOMES):
        yield from ((c, True) for name in names for c in columns if snake(c.name) == name)
    yield from ((c, True) for c in columns if snake(c.name).rpartition("_")[2] in LABELS)
    # Click logs put the label first, tables made for learning put it last.
    yield from ((c, False) for c in [*columns[:1], *reversed(columns[1:])])


def as_label(column: Column, *, sure: bool) -> Label | None:
    """How `column` becomes 0 or 1; None if it cannot, or if it takes more trust than its name earns."""
    name = sql.identifier(column.name)
    if column.type == "BOOLEAN":
        return Label(column, name, "true is a click") if column.distinct == 2 else None
    if column.is_number and column.distinct >= 2:
        return _number_label(column, name, sure=sure)
    if column.distinct != 2 or len(column.values) != 2:
        return None
    known = [value for value in column.values if value.lower() in POSITIVE]
    if len(known) == 1 or (sure and not known):
        positive = known[0] if known else column.values[1]
        note = "" if known else "a guess: the rarer of two values is a click"
        return Label(column, f"trim({name}) = {sql.literal(positive)}", note)
    return None


def _number_label(column: Column, name: str, *, sure: bool) -> Label | None:
    if column.distinct == 2:
        if (column.low, column.high) == (0, 1):
            return Label(column, name, "")
        if not sure and column.low != -1:
            return None
        return Label(
            column, f"{name} = {_number(column.high)}", "a guess: the larger of two values is a click"
        )
    if not sure:
        return None
    if GRADES.search(snake(column.name)) or (
        column.is_integer and 3 <= column.high <= 10 and column.low >= 0
    ):
        least = _number(0.8 * column.high)
        return Label(
            column, f"{name} >= {least}", f"a guess: grades go from {column.low:g} to {column.high:g}"
        )
    if column.low == 0 and column.median == 0:
        return Label(column, f"{name} > 0", "a guess: anything above 0 is a click")
    if column.low == 0 and column.is_integer and set(column.values[:2]) == {"0", "1"}:
        odd = ", ".join(f"`{value}`" for value in column.values[2:5])
        return Label(column, f"{name} > 0", f"a guess: 0 and 1 tell clicks, but there are others: {odd}")
    return Label(column, f"{name} > {_number(column.median)}", "a guess: above the median is a click")


def time(columns: Sequence[Column]) -> Column | None:
    """The column that says when, without which no row may be: dates first, then numbers named like times."""
    complete = [c for c in columns if c.filled == c.rows and c.distinct > 2 and not c.is_list]
    dates = [c for c in complete if is_date(c)]
    counted = [c for c in complete if c.is_integer and _counts_time(c)]
    return next(iter([*dates, *counted]), None)


def is_date(column: Column) -> bool:
    """Whether the values are dates or times as such."""
    typed = column.type.startswith(("TIMESTAMP", "DATE"))
    return typed or (column.type == "VARCHAR" and 0 < column.times == column.filled and not column.is_number)


def _counts_time(column: Column) -> bool:
    """Seconds, milliseconds or digits such as 14102100 (year, month, day, hour)."""
    named = bool(TIMES.search(snake(column.name)))
    seconds = column.low >= 5e8 and column.high < 4.2e9 and column.distinct > 100
    return (named and column.low > 1e5) or (seconds and column.median > column.low and not _is_code(column))


def role(column: Column) -> Role:
    """What a column that is neither label nor time becomes."""
    out = _left_out(column)
    if out is not None:
        return Role(column, "left out", out)
    if column.is_list or column.separator is not None:
        return Role(column, "sequence", f"{column.missing:.1%} missing" if column.missing else "")
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    if column.is_number and not _is_code(column):
        return Role(column, "numeric", f"{column.low:g} to {column.high:g}, mean {column.mean:.4g}{missing}")
    return Role(column, "categorical", f"{_about(column)} values{missing}{_mixed(column)}")


def _left_out(column: Column) -> str | None:
    if column.is_nested or column.type == "BLOB":
        return f"it holds {column.type}; the SQL could select a part of it"
    if not column.filled:
        return "it is empty"
    if column.is_list:
        return None
    if column.distinct == 1 and column.filled == column.rows:
        return "it has one value only"
    if is_date(column):
        return f"a time; a part of it, such as hour({sql.identifier(column.name)}), could be a feature"
    unique = column.rows >= 50 and column.distinct >= 0.9 * column.rows
    if unique and (not column.is_number or _is_code(column)) and column.separator is None:
        return f"nearly every row has another value, so nothing can be learned of it{_mixed(column)}"
    if column.length > FREE_TEXT and column.distinct > 0.5 * column.rows:
        return "free text"
    return None


def _mixed(column: Column) -> str:
    """What to say of a column of numbers with a few texts among them."""
    odd = column.filled - column.numbers
    return f"; numbers but for {odd:,}" if 0 < odd <= FEW_ODD * column.filled else ""


def _is_code(column: Column) -> bool:
    """Whether numbers stand for things rather than amounts."""
    if not column.is_integer:
        return False
    name = snake(column.name)
    if AMOUNTS.search(name) and column.distinct > 2:
        return False
    if CODES.search(name) or column.distinct <= FEW_CODES or max(-column.low, column.high) > EXACT:
        return True
    dense = column.distinct > 0.8 * (column.high - column.low + 1)
    return column.low >= 0 and dense and column.distinct >= DENSE_CODES


def min_count(column: Column) -> int:
    """How often a value must be seen to earn an embedding: by the size of the table."""
    if column.distinct < MANY_VALUES:
        return 1
    return 10 if column.rows >= 1_000_000 else 2


def is_skewed(column: Column) -> bool:
    """Counts with a long tail, which a logarithm tames."""
    return column.low >= -10 and column.high > 100 and column.mean > 1.5 * max(column.median, 0)


def _held(column: Column) -> str:
    if column.distinct <= 1:
        return "one value only" if column.distinct else "nothing"
    return f"{_about(column)} different texts" if not column.is_nested else column.type


def _about(column: Column) -> str:
    return f"{column.distinct}" if len(column.values) == column.distinct else f"about {column.distinct:,}"


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
