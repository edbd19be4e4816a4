"""Columns that are not what a feature should be: another one once more, the label by another name, something
that is known only afterwards; and numbers that stand for something else than their amount.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from wukongctl.data.drafting.counting import LOOKED_AT, TEXT, ValueCounts
from wukongctl.data.drafting.guess import Role, snake
from wukongctl.data.drafting.profile import Column, without
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

LABELS = "looked_at_labels"
"""A table of `y`, the label of each row of LOOKED_AT, NULL where there is none, and in which `half` it is."""
BATCH_ROWS = 1 << 16
FEW_ROWS = 100
FEW_EACH = 10
"""Of fewer rows, or fewer of either label, a column may go with the label by chance."""
PERFECT, HIGH, FAIR = 0.9995, 0.98, 0.6
"""AUC of a single feature: as good as the label itself; too good to be true; worth a question by its name."""
AFTERWARDS = re.compile(
    r"(^|_)(duration|dwell|watch(ed)?|play(ed)?_time|read(ing)?_time|time_spent|scroll(ed)?|conversions?|converted"
    r"|purchased?|revenue|refund(ed)?|returned|outcome|response|paid|closed|cancell?ed)(_|$)"
)
ALIKE = 0.9999
"""Correlation of numbers that are the same but for unit and rounding."""
UNIQUE = 0.9
"""Share of different values from which equal ones are too few to compare columns by."""
CHANCE = 1e-6
"""How unlikely one label by chance must be before `only where the label is 1` means something."""
SENTINEL = re.compile(r"9{2,}(\.[09]+)?|8{3,}(\.0+)?|-(1|9+|8{2,})(\.0+)?")
LEAST_SENTINEL = 5
MOST_SENTINELS = 4
"""At each end of a column."""
APART, PEAK = 2.0, 30
"""A high sentinel is at least this many times the highest other value, or has so many times its rows."""
_Value = tuple[str, float, int]
"""A value as text and as a number, and its rows."""


def doubles(engine: Engine, roles: Iterable[Role]) -> tuple[dict[str, str], dict[str, str]]:
    """Features that go with an earlier one value by value: those to leave out and those to remark → why.

    Equal values stand in the same rows of both. An amount says more than the code of its item, and of two
    amounts each has an order of its own, unless they are in proportion. Codes of which nearly every row has
    another one go together whatever they mean.
    """
    out: dict[str, str] = {}
    said: dict[str, str] = {}
    first: dict[tuple[str, int, int, int], Column] = {}
    for kind, column in (
        (role.kind, role.column) for role in roles if role.kind in ("categorical", "numeric")
    ):
        if kind == "categorical" and column.distinct >= UNIQUE * column.filled:
            continue
        earlier = first.setdefault((kind, column.pattern, column.distinct, column.filled), column)
        if earlier is column or column.distinct < 2 or not _goes_with(engine, earlier, column):
            continue
        if kind == "categorical" or _is_in_proportion(engine, earlier, column):
            out[column.name] = f"it tells the same as `{earlier.name}`, value by value"
        else:
            said[column.name] = f"goes with `{earlier.name}` value by value"
    return out, said


def _is_in_proportion(engine: Engine, one: Column, other: Column) -> bool:
    """Whether amounts are the same but for their unit."""
    a, b = (f"TRY_CAST({sql.identifier(column.name)} AS DOUBLE)" for column in (one, other))
    ((likeness,),) = engine.rows(f"SELECT abs(corr({a}, {b})) FROM {LOOKED_AT}")
    return likeness is not None and likeness > ALIKE


def _goes_with(engine: Engine, one: Column, other: Column) -> bool:
    a, b = (TEXT.format(sql.identifier(column.name)) for column in (one, other))
    pairs = f"SELECT DISTINCT {a} AS a, {b} AS b FROM {LOOKED_AT}"
    query = f"SELECT count(DISTINCT a), count(DISTINCT b), count(*) FROM ({pairs}) WHERE a IS NOT NULL"
    ((of_one, of_other, of_both),) = engine.rows(query)
    return of_one == of_other == of_both


class Telling(NamedTuple):
    """How much one column alone tells of the label."""

    auc: float
    """On half of the rows, of the share of positives that its values have in the others; of numbers also
    of the numbers themselves, and of whether there is a value at all."""
    filled: tuple[int, int]
    """Rows with a value, and positives among them."""
    nonzero: tuple[int, int]
    """Rows with a number other than 0, and positives among them."""


def answer(engine: Engine, query: str) -> tuple[int, int]:
    """Make the table LABELS of `y`, 0 or 1 or NULL, that `query` gives for each row looked at.

    Gives the positives, and the rows that have a label.
    """
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE {LABELS} AS "
        f"SELECT CAST(CASE y WHEN 1 THEN 1 WHEN 0 THEN 0 END AS TINYINT) AS y, "
        f"CAST(hash(row_number() OVER ()) % 2 AS TINYINT) AS half FROM ({query})"
    )
    ((positives, rows),) = engine.rows(f"SELECT coalesce(sum(y), 0), count(y) FROM {LABELS}")
    return int(positives), int(rows)


def telling(engine: Engine, column: Column, expression: str) -> Telling:
    """How much `column`, read by `expression`, tells of the label."""
    rows = f"SELECT r, y, half FROM (SELECT {expression} AS r FROM {LOOKED_AT}) POSITIONAL JOIN {LABELS}"
    halves = ", ".join(
        f"count(*) FILTER (half = {half} AND y = {y})" for half, y in ((0, 1), (0, 0), (1, 1), (1, 0))
    )
    text = TEXT.format("r")
    query = (
        f"SELECT {text} IS NOT NULL, TRY_CAST({text} AS DOUBLE), {halves} "
        f"FROM ({rows}) WHERE y IS NOT NULL GROUP BY r"
    )
    with engine.reader(query, BATCH_ROWS) as reader:
        parts = [part.to_numpy(zero_copy_only=False) for part in reader.read_all().combine_chunks().columns]
    is_filled, number, *counts = (part.astype(np.float64) for part in parts)
    clicks, others, later_clicks, later_others = counts
    # Half a row of the general share keeps values that are seen once near the middle.
    share = clicks.sum() / max((clicks + others).sum(), 1)
    shares = (clicks + share / 2) / (clicks + others + 0.5)
    aucs = [_auc(shares, later_clicks, later_others)]
    for score in (is_filled, number) if column.is_number else (is_filled,):
        known = ~np.isnan(score)
        auc = _auc(score[known], later_clicks[known], later_others[known])
        aucs.append(max(auc, 1 - auc))
    positives = clicks + later_clicks
    rows_each = positives + others + later_others
    there, other = is_filled > 0, ~np.isnan(number) & (number != 0)
    return Telling(
        max(aucs),
        (int(rows_each[there].sum()), int(positives[there].sum())),
        (int(rows_each[other].sum()), int(positives[other].sum())),
    )


def _auc(score: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float:
    """AUC of values with these scores, each of so many positives and negatives: (values)."""
    _, group = np.unique(score, return_inverse=True)
    positive, negative = np.bincount(group, positives), np.bincount(group, negatives)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else 0.5


def told(column: Column, known: Telling, positives: int, rows: int) -> tuple[str | None, str | None]:
    """Why the column should be left out, and what should be said of it if it stays."""
    if rows < FEW_ROWS or min(positives, rows - positives) < FEW_EACH:
        return None, None
    only = _only(column, known, positives, rows)
    if only is not None:
        return only, None
    if known.auc >= PERFECT:
        return "it tells the label: known only afterwards, or the label by another name", None
    if known.auc >= HIGH:
        return (
            None,
            f"`{column.name}` alone nearly tells the label (AUC {known.auc:.3f}): is it known before?",
        )
    if known.auc >= FAIR and AFTERWARDS.search(snake(column.name)):
        return None, (
            f"`{column.name}` (AUC {known.auc:.3f} by itself) may be known only afterwards: leave it out then"
        )
    return None, None


def _only(column: Column, known: Telling, positives: int, rows: int) -> str | None:
    """Whether it is there, or other than 0, only where the label is the one or the other."""
    ways = [("filled", known.filled)] if column.filled < column.rows else []
    if column.is_number and column.low == 0:
        ways.append(("other than 0", known.nonzero))
    for way, (count, clicks) in ways:
        for value, share, agreeing in (
            (1, positives / rows, clicks),
            (0, 1 - positives / rows, count - clicks),
        ):
            if count == agreeing and count < rows and share**count < CHANCE:
                return f"it is {way} only where the label is {value}: known only afterwards"
    return None


class Sentinels(NamedTuple):
    """Numbers such as 999 or -1 that stand apart from the others, with the rows that hold them."""

    values: tuple[tuple[str, int], ...]
    others: Column
    """The column as it is without them."""

    def remark(self, column: Column, text: str) -> str:
        """What to say of them; `text` is SQL of the column."""
        shown = [f"{value} in {rows / column.rows:.1%}" for value, rows in self.values]
        stand, mean = ("stand", "they mean") if len(shown) > 1 else ("stands", "it means")
        missing = text
        for value, _ in self.values:
            missing = f"NULLIF({missing}, {value if column.type != 'VARCHAR' else sql.literal(value)})"
        return (
            f"{' and '.join(shown)} of `{column.name}` {stand} apart from the "
            f"others ({self.others.low:g} to {self.others.high:g}); if {mean} "
            f"missing, select `{missing} AS {sql.identifier(column.name)}`"
        )


def sentinels(counts: ValueCounts, column: Column) -> Sentinels | None:
    """The sentinels at both ends of a column of numbers."""
    if not column.is_number or column.distinct < 4:
        return None
    number = f"SELECT v, TRY_CAST(v AS DOUBLE) AS x, n FROM {counts.table(column.name)} WHERE v IS NOT NULL"
    ends = [
        f"SELECT * FROM ({number}) ORDER BY x {order} LIMIT {MOST_SENTINELS + 1}" for order in ("", "DESC")
    ]
    lowest, highest = ([(str(v), float(x), int(n)) for v, x, n in counts.engine.rows(end)] for end in ends)
    low = _leading(lowest, lambda last, other: last[1] < 0 <= other[1])
    high = _leading(
        highest, lambda last, other: last[1] >= APART * max(other[1], 1) or last[2] >= PEAK * other[2]
    )
    if (not low and not high) or len(low) + len(high) > column.distinct - 2:
        return None
    values = tuple((value, rows) for value, _, rows in (*high, *low))
    return Sentinels(values, without(counts, column, [value for value, _ in values]))


def _leading(ordered: list[_Value], stands_apart: Callable[[_Value, _Value], bool]) -> list[_Value]:
    """The first values that may be sentinels, as many as stand apart from the next one."""
    likely = [
        SENTINEL.fullmatch(v) is not None and n >= LEAST_SENTINEL and abs(x) >= 1 for v, x, n in ordered
    ]
    count = min(([*likely, False]).index(False), len(ordered) - 1)
    while count and not stands_apart(ordered[count - 1], ordered[count]):
        count -= 1
    return ordered[:count]
