"""Which column is the label, and the SQL that makes 0 or 1 of it: as a person says, or by name and values."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.drafting import page
from wukongctl.data.drafting.guess import CODES, FEW_ODD, snake
from wukongctl.data.drafting.profile import FEW, Column
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError, WukongError

LABELS = ("label", "click", "clicked", "is_click", "is_clicked", "target", "y", "is_attributed", "clk")
COUNTED = ("like", "liked", "is_like", "purchase", "purchased", "buy", "converted", "conversion", "rating")
OUTCOMES = (
    *(*COUNTED, "is_conversion", "churn", "churned", "is_churn", "exited", "attrition"),
    *("readmitted", "survived", "outcome", "income", "is_duplicate", "result", "status"),
    *("default", "defaulted", "subscribed", "deposit", "response", "responded", "fraud", "is_fraud", "class"),
    *("approved", "is_canceled", "cancelled", "canceled", "died", "death_event", "diagnosis", "salary"),
)
POSITIVE = (
    *("yes", "y", "true", "t", "1", "click", "clicked", "positive", "pos", "like", "purchase", "purchased"),
    *("churned", "converted", "default", "fraud", "malignant", "approved", "subscribed", "died", "good"),
)
NEGATIVE = re.compile(
    r"(no|n|none|never|false|f|0|neg|negative|benign|bad)|(not?|non|un)[ _-].*", re.IGNORECASE
)
PLAIN = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))
"""Values that say no and yes without a doubt."""
GRADES = re.compile(r"(^|_)(rating|stars?|score|grade)s?$")
MOST_CLASSES = 20
"""Texts of more different values are no label by themselves."""
LEAST_ROWS = 20
"""A rarer value is no class that could be learned."""
SHOWN = 6
MOST_SLIPS, FEW_SLIPS = 2, 0.01
"""Different numbers beside 0 and 1, and their share of the rows, that are slips; more are counts."""


class Label(NamedTuple):
    """The column that tells clicks, and the SQL that makes 0 or 1 of it."""

    column: Column
    expression: str
    note: str
    doubt: str = ""
    """What a person should look at."""
    odd: tuple[str, ...] = ()
    """Values that are no answer: slips beside 0 and 1, whose rows are left out."""
    columns: tuple[Column, ...] = ()
    """All columns that the SQL reads, where it is the person's own."""

    @property
    def answers(self) -> list[str]:
        """The values that are not `odd`."""
        return [value for value in self.column.values if value not in self.odd]

    @property
    def read(self) -> tuple[Column, ...]:
        """The columns that the label is made of, which cannot be features."""
        return self.columns or (self.column,)


def named(columns: Sequence[Column], wanted: str) -> Column | None:
    """The column of that name, whatever its case if there is only one."""
    exact = next((c for c in columns if c.name == wanted), None)
    return exact or next((c for c in columns if c.name.lower() == wanted.lower()), None)


def _unknown(columns: Sequence[Column], wanted: str, file: str) -> UsageError:
    """The error for a label that is no column."""
    names = [c.name for c in columns]
    hint = did_you_mean(wanted, names) or f"it has {', '.join(f'`{name}`' for name in names)}"
    return UsageError(f"`{file}` has no column `{wanted}`", hint=hint)


def of_column(column: Column, positive: Sequence[str]) -> Label:
    """The label that a person named; UsageError if the column cannot be one."""
    made = _as_given(column, positive) if positive else _as_label(column, sure=True)
    if made is None:
        raise UsageError(
            f"`{column.name}` cannot be a label: it holds {_held(column)}",
            hint="name a column of two values or of numbers with `--label`; or say which values are "
            "positive, as in `--label answer --positive yes`",
        )
    return made


def of_sql(engine: Engine, columns: Sequence[Column], text: str, positive: Sequence[str], file: str) -> Label:
    """The label by SQL over columns; UsageError where it names none."""
    ((parsed,),) = engine.rows(f"SELECT json_serialize_sql({sql.literal(f'SELECT {text}')})")
    statement = json.loads(str(parsed))
    read = [named(columns, name) for name in _column_names(statement)]
    known = tuple(dict.fromkeys(column for column in read if column is not None))
    if not known:
        raise _unknown(columns, text, file)
    if positive:
        raise UsageError(
            "`--positive` is for a label that is a column",
            hint="write the comparison into the SQL of `--label`",
        )
    return Label(known[0], text, "", columns=known)


def _column_names(node: object) -> Iterator[str]:
    """Names of columns in a parsed statement."""
    if isinstance(node, list):
        for part in node:
            yield from _column_names(part)
    elif isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][-1]
        for part in node.values():
            yield from _column_names(part)


def require_both(engine: Engine, label: Label, query: str) -> None:
    """UsageError unless the label is 1 in some rows of `query`, and 0 in the others."""
    values = f"SELECT CAST(({label.expression}) AS DOUBLE) AS y FROM (\n{query}\n)"
    try:
        found = engine.rows(f"SELECT y, count(*) FROM ({values}) WHERE y IS NOT NULL GROUP BY y ORDER BY y")
    except WukongError as error:
        raise UsageError(f"`--label {label.expression}`: {error.message}", hint=error.hint) from None
    if [value for value, _ in found] != [0, 1]:
        shown = ", ".join(f"{value:g} in {rows:,} rows" for value, rows in found[:SHOWN]) or "always missing"
        raise UsageError(
            f"`--label {label.expression}` is {shown}", hint="it must be 1 in some rows and 0 in the others"
        )


def guessed(columns: Sequence[Column], positive: Sequence[str], file: str) -> Label:
    """The label by names and values; UsageError where nothing can be one."""
    for column, sure in _likely(columns):
        made = _as_label(column, sure=sure)
        if made is None:
            continue
        given = _as_given(column, positive, guessed=True) if positive else made
        if given is not None:
            return given
    raise UsageError(
        f"no column of `{file}` looks like a label, such as one of 0 and 1",
        hint=f"name it with `--label`, a column or SQL{_example(columns)}; "
        f"the columns are {', '.join(f'`{c.name}`' for c in columns)}",
    )


def _example(columns: Sequence[Column]) -> str:
    """SQL that would be a label, of grades if there are any."""
    grades = [c for c in columns if c.is_integer and 3 <= c.distinct <= 11 and c.low >= 0 and c.high <= 10]
    if not grades:
        return ""
    return f" such as `--label '{page.sql_name(grades[0].name)} >= {_number(0.8 * grades[0].high)}'`"


def _likely(columns: Sequence[Column]) -> Iterable[tuple[Column, bool]]:
    """Columns by how much they look like the label, and whether their name or place says so."""
    ends = [*columns[-1:], *columns[:1]]
    yield from ((c, True) for name in LABELS for c in columns if snake(c.name) == name)
    outcomes = {c: snake(c.name) for c in columns if c.distinct <= MOST_CLASSES or snake(c.name) in COUNTED}
    yield from ((c, True) for c in ends if outcomes.get(c) in OUTCOMES)
    yield from ((c, True) for name in OUTCOMES for c in outcomes if outcomes[c] == name)
    yield from ((c, True) for c in columns if snake(c.name).rpartition("_")[2] in LABELS)
    # Click logs put the label first, tables made for learning put it last.
    last = columns[-1] if columns else None
    for column in [*columns[:1], *reversed(columns[1:])]:
        two_texts = column.distinct == 2 and not column.is_number and not CODES.search(snake(column.name))
        yield column, column is last and two_texts


def _as_given(column: Column, positive: Sequence[str], *, guessed: bool = False) -> Label | None:
    """The label that is 1 for the values that a person gave."""
    listed = list(dict.fromkeys(value.strip() for value in positive))
    absent = [value for value in listed if value not in column.values and column.distinct <= FEW]
    if absent:
        label = "the label column `{}`, as guessed," if guessed else "`{}`"
        other = "; name another column with `--label`" if guessed else ""
        raise UsageError(
            f"{label.format(column.name)} has no value `{absent[0]}`",
            hint=f"it has {_shown(column.values)}{other}",
        )
    if column.distinct < 2 or column.is_nested or column.is_list:
        return None
    name, texts = sql.identifier(column.name), [sql.literal(value) for value in listed]
    text = f"trim({name})" if column.type == "VARCHAR" else f"CAST({name} AS VARCHAR)"
    if column.is_number and column.type != "BOOLEAN":
        text, texts = name, listed
    compared = f"= {texts[0]}" if len(texts) == 1 else f"IN ({', '.join(texts)})"
    return Label(column, f"{text} {compared}", "")


def _as_label(column: Column, *, sure: bool) -> Label | None:
    """How `column` becomes 0 or 1; None if it cannot, or if it takes more trust than its name earns."""
    name = sql.identifier(column.name)
    if column.type == "BOOLEAN":
        return Label(column, name, "true is a click") if column.distinct == 2 else None
    if column.is_number and column.distinct >= 2:
        return _of_numbers(column, name, sure=sure)
    if not 2 <= column.distinct <= MOST_CLASSES or len(column.values) != column.distinct:
        return None
    return _of_texts(column, name, sure=sure)


def _of_texts(column: Column, name: str, *, sure: bool) -> Label | None:
    plain = _plain(column)
    if plain is not None:
        no, yes = plain
        odd = tuple(value for value in column.values if value not in plain)
        expression = name if (no, yes) == ("0", "1") else f"trim({name}) = {sql.literal(yes)}"
        return Label(column, expression, "", odd=odd)
    known = [value for value in column.values if value.lower() in POSITIVE]
    if len(known) == 1 and (sure or column.distinct == 2):
        doubt = _taken(column, known[0], "by its meaning")
        return Label(column, f"trim({name}) = {sql.literal(known[0])}", "", doubt)
    if not sure or 3 * column.distinct > column.filled:
        return None
    positive, why = _positive(column)
    return Label(
        column,
        f"trim({name}) = {sql.literal(positive)}",
        f"a guess: {why} value is positive",
        _taken(column, positive, why),
    )


def _taken(column: Column, positive: str, why: str) -> str:
    """What a person should check of a value that is taken for the event."""
    others = _shown([value for value in column.values if value != positive])
    return (
        f"`{column.name}`: {why} `{positive}` is taken as positive, {others} as negative; "
        "`--positive` says otherwise"
    )


def _plain(column: Column) -> tuple[str, str] | None:
    """The two values of a column that plainly say no and yes, if nearly every row has one of them."""
    for no, yes in PLAIN:
        pair = {value.lower(): value for value in column.values if value.lower() in (no, yes)}
        rows = sum(n for v, n in zip(column.values, column.frequencies, strict=True) if v in pair.values())
        if len(pair) == 2 and rows >= (1 - FEW_ODD) * column.filled:
            return pair[no], pair[yes]
    return None


def _positive(column: Column) -> tuple[str, str]:
    """The value that most likely stands for the event, and in a word why."""
    values = column.values
    if len(values) == 2:
        other = [value for value in values if not NEGATIVE.fullmatch(value)]
        above = [value for value in values if value.startswith((">", "+"))]
        for found, why in ((other, "the other"), (above, "the larger")):
            if len(found) == 1:
                return found[0], why
        return values[1], "the rarer"
    large = [value for value, rows in zip(values, column.frequencies, strict=True) if rows >= LEAST_ROWS]
    return (large or values)[-1], "the rarest"


def _of_numbers(column: Column, name: str, *, sure: bool) -> Label | None:
    if (column.distinct, column.low, column.high) == (2, 0, 1):
        return Label(column, name, "")
    slips = _slips(column)
    if slips:
        return Label(column, name, "", odd=slips)
    made = _by_rule(column, name, sure=sure)
    if made is None:
        return None
    rule = made.expression.replace(name, page.sql_name(column.name))
    return made._replace(doubt=f"{made.note}; `{rule}` is taken as positive; `--label` says otherwise")


def _slips(column: Column) -> tuple[str, ...]:
    """Numbers in a label of 0 and 1 that are so few that they are mistakes rather than counts."""
    if len(column.values) != column.distinct or set(column.values[:2]) != {"0", "1"}:
        return ()
    rows = sum(column.frequencies[2:])
    return (
        column.values[2:] if column.distinct <= 2 + MOST_SLIPS and rows <= FEW_SLIPS * column.filled else ()
    )


def _by_rule(column: Column, name: str, *, sure: bool) -> Label | None:
    """A comparison that most likely makes 0 or 1 of numbers."""
    if column.distinct == 2:
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


def _held(column: Column) -> str:
    if column.is_nested or column.is_list:
        return column.type
    if column.distinct <= 1:
        return "one value only" if column.distinct else "nothing"
    return f"{column.distinct:,} different texts"


def _shown(values: Sequence[str]) -> str:
    more = f", and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(f"`{value}`" for value in values[:SHOWN]) + more


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
