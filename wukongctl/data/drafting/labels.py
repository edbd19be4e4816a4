"""The label: a column, and the SQL that makes it 0 or 1, as the user says or by name and values."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.drafting.guess import CODES, FEW_TEXTS, snake
from wukongctl.data.drafting.profile import FEW, Column
from wukongctl.data.drafting.quoting import sql_name
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
NO_YES = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))
"""Pairs of values that are certainly negative and positive."""
GRADES = re.compile(r"(^|_)(rating|stars?|score|grade)s?$")
MOST_CLASSES = 20
"""Largest number of distinct texts in a label."""
LEAST_ROWS = 20
"""Least rows of a value that can be the positive class."""
SHOWN = 6
MOST_ERRORS, ERROR_SHARE = 2, 0.01
"""Most distinct numbers besides 0 and 1, and their largest share of rows, that are errors and not counts."""


class Label(NamedTuple):
    """The label column, and SQL that is 0 or 1."""

    column: Column
    expression: str
    remark: str = ""
    invalid: tuple[str, ...] = ()
    """Values besides the two classes, whose rows are dropped."""
    columns: tuple[Column, ...] = ()
    """All columns of the SQL, if the user wrote it."""

    @property
    def valid(self) -> list[str]:
        """The values of the two classes."""
        return [value for value in self.column.values if value not in self.invalid]

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that the label depends on, which cannot be features."""
        return self.columns or (self.column,)


def named(columns: Sequence[Column], wanted: str) -> Column | None:
    """The column of that name, ignoring case if no name is equal."""
    exact = next((c for c in columns if c.name == wanted), None)
    return exact or next((c for c in columns if c.name.lower() == wanted.lower()), None)


def of_column(column: Column, positive: Sequence[str]) -> Label:
    """The label from a column that the user named; UsageError if it cannot be one."""
    label = _with_positive(column, positive) if positive else _from_values(column, is_named=True)
    if label is None:
        raise UsageError(
            f"`{column.name}` cannot be the label: it has {_contents(column)}",
            hint="choose a column of two values or of numbers with `--label`, or name the positive values, "
            "as in `--label answer --positive yes`",
        )
    return label


def of_sql(engine: Engine, columns: Sequence[Column], text: str, positive: Sequence[str], file: str) -> Label:
    """The label from SQL over columns; UsageError if it names none."""
    ((parsed,),) = engine.rows(f"SELECT json_serialize_sql({sql.literal(f'SELECT {text}')})")
    statement = json.loads(str(parsed))
    found = [named(columns, name) for name in _column_names(statement)]
    inputs = tuple(dict.fromkeys(column for column in found if column is not None))
    if not inputs:
        names = [c.name for c in columns]
        hint = did_you_mean(text, names) or f"it has {', '.join(f'`{name}`' for name in names)}"
        raise UsageError(f"`{file}` has no column `{text}`", hint=hint)
    if positive:
        raise UsageError(
            "`--positive` requires a label that is a column",
            hint="write the comparison into the SQL of `--label`",
        )
    return Label(inputs[0], text, columns=inputs)


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


def require_both_classes(engine: Engine, label: Label, query: str) -> None:
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


def guess(columns: Sequence[Column], positive: Sequence[str], file: str) -> Label:
    """The label by names and values; UsageError if no column can be one."""
    for column, is_named in _likely(columns):
        label = _from_values(column, is_named=is_named)
        if label is not None and positive:
            label = _with_positive(column, positive, is_guess=True)
        if label is not None:
            return label
    constant = next((c for c, is_named in _likely(columns) if is_named and c.distinct == 1), None)
    same = f": `{constant.name}` has the same value in every row" if constant is not None else ""
    raise UsageError(
        f"no column of `{file}` looks like a label{same}",
        hint=f"name a column or SQL with `--label`{_example(columns)}; "
        f"the columns are {', '.join(f'`{c.name}`' for c in columns)}",
    )


def _example(columns: Sequence[Column]) -> str:
    """An example of SQL for a label, if there is a column of grades."""
    grades = [c for c in columns if c.is_integer and 3 <= c.distinct <= 11 and c.low >= 0 and c.high <= 10]
    if not grades:
        return ""
    return f", for example `--label '{sql_name(grades[0].name)} >= {_number(0.8 * grades[0].high)}'`"


def _likely(columns: Sequence[Column]) -> Iterable[tuple[Column, bool]]:
    """Columns, the most likely label first, and whether name or position says so."""
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


def _with_positive(column: Column, positive: Sequence[str], *, is_guess: bool = False) -> Label | None:
    """The label that is 1 for the values `positive`."""
    listed = list(dict.fromkeys(value.strip() for value in positive))
    absent = [value for value in listed if value not in column.values and column.distinct <= FEW]
    if absent:
        inferred = "the inferred label column " if is_guess else ""
        other = "; name another column with `--label`" if is_guess else ""
        raise UsageError(
            f"{inferred}`{column.name}` has no value `{absent[0]}`",
            hint=f"it has {_listed(column.values)}{other}",
        )
    if column.distinct < 2 or column.is_nested or column.is_list:
        return None
    name, texts = sql.identifier(column.name), [sql.literal(value) for value in listed]
    text = f"trim({name})" if column.type == "VARCHAR" else f"CAST({name} AS VARCHAR)"
    if column.is_number and column.type != "BOOLEAN":
        text, texts = name, listed
    compared = f"= {texts[0]}" if len(texts) == 1 else f"IN ({', '.join(texts)})"
    return Label(column, f"{text} {compared}")


def _from_values(column: Column, *, is_named: bool) -> Label | None:
    """The label by the values of `column`; None if these, with `is_named`, are not evidence enough."""
    name = sql.identifier(column.name)
    if column.type == "BOOLEAN":
        return Label(column, name) if column.distinct == 2 else None
    if column.is_number and column.distinct >= 2:
        return _of_numbers(column, name, is_named=is_named)
    if not 2 <= column.distinct <= MOST_CLASSES or len(column.values) != column.distinct:
        return None
    return _of_texts(column, name, is_named=is_named)


def _of_texts(column: Column, name: str, *, is_named: bool) -> Label | None:
    pair = _no_and_yes(column)
    if pair is not None:
        no, yes = pair
        invalid = tuple(value for value in column.values if value not in pair)
        expression = name if (no, yes) == ("0", "1") else f"trim({name}) = {sql.literal(yes)}"
        return Label(column, expression, invalid=invalid)
    known = [value for value in column.values if value.lower() in POSITIVE]
    if len(known) == 1 and (is_named or column.distinct == 2):
        positive, why = known[0], "by its meaning"
    elif not is_named or 3 * column.distinct > column.filled:
        return None
    else:
        positive, why = _positive(column)
    others = _listed([value for value in column.values if value != positive])
    remark = (
        f"`{column.name}`: assuming that `{positive}` ({why}) is positive and {others} negative; "
        "change it with `--positive`"
    )
    return Label(column, f"trim({name}) = {sql.literal(positive)}", remark)


def _no_and_yes(column: Column) -> tuple[str, str] | None:
    """The values that certainly mean no and yes, if nearly every row has one of them."""
    for no, yes in NO_YES:
        pair = {value.lower(): value for value in column.values if value.lower() in (no, yes)}
        rows = sum(n for v, n in zip(column.values, column.frequencies, strict=True) if v in pair.values())
        if len(pair) == 2 and rows >= (1 - FEW_TEXTS) * column.filled:
            return pair[no], pair[yes]
    return None


def _positive(column: Column) -> tuple[str, str]:
    """The value that is most likely positive, and why."""
    values = column.values
    if len(values) == 2:
        other = [value for value in values if not NEGATIVE.fullmatch(value)]
        above = [value for value in values if value.startswith((">", "+"))]
        for found, why in ((other, "the only one that is not negative"), (above, "the larger one")):
            if len(found) == 1:
                return found[0], why
        return values[1], "the rarer one"
    large = [value for value, rows in zip(values, column.frequencies, strict=True) if rows >= LEAST_ROWS]
    return (large or values)[-1], "the rarest one"


def _of_numbers(column: Column, name: str, *, is_named: bool) -> Label | None:
    if (column.distinct, column.low, column.high) == (2, 0, 1):
        return Label(column, name)
    if errors := _errors(column):
        return Label(column, name, invalid=errors)
    rule = _comparison(column, is_named=is_named)
    if rule is None:
        return None
    comparison, why = rule
    remark = (
        f"assuming that `{sql_name(column.name)} {comparison}` is positive ({why}); change it with `--label`"
    )
    return Label(column, f"{name} {comparison}", remark)


def _errors(column: Column) -> tuple[str, ...]:
    """Numbers in a label of 0 and 1 that are so few that they are errors rather than counts."""
    if len(column.values) != column.distinct or set(column.values[:2]) != {"0", "1"}:
        return ()
    rows = sum(column.frequencies[2:])
    return (
        column.values[2:]
        if column.distinct <= 2 + MOST_ERRORS and rows <= ERROR_SHARE * column.filled
        else ()
    )


def _comparison(column: Column, *, is_named: bool) -> tuple[str, str] | None:
    """The comparison that most likely holds for positives, and why."""
    if column.distinct == 2 and (is_named or column.low == -1):
        return f"= {_number(column.high)}", "the larger of two values"
    if column.distinct == 2 or not is_named:
        return None
    if GRADES.search(snake(column.name)) or (
        column.is_integer and 3 <= column.high <= 10 and column.low >= 0
    ):
        return f">= {_number(0.8 * column.high)}", f"grades from {column.low:g} to {column.high:g}"
    if column.low == 0 and column.median == 0:
        return "> 0", "most values are 0"
    if column.low == 0 and column.is_integer and set(column.values[:2]) == {"0", "1"}:
        others = ", ".join(f"`{value}`" for value in column.values[2:5])
        return "> 0", f"most values are 0 or 1, others are {others}"
    return f"> {_number(column.median)}", "above the median"


def _contents(column: Column) -> str:
    if column.is_nested or column.is_list:
        return column.type
    if column.distinct <= 1:
        return "only one value" if column.distinct else "no values"
    return f"{column.distinct:,} distinct texts"


def _listed(values: Sequence[str]) -> str:
    more = f", and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(f"`{value}`" for value in values[:SHOWN]) + more


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
