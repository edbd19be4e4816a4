"""Columns that are not what a feature should be: another one once more, the label by another name, something
that is known only afterwards; and numbers that stand for something else than their amount.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from wukongctl.data.drafting.counting import LOOKED_AT, TEXT, ValueCounts
from wukongctl.data.drafting.guess import Role, snake
from wukongctl.data.drafting.profile import Column
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
CHANCE = 1e-6
"""How unlikely one label by chance must be before `only where the label is 1` means something."""
SENTINEL = re.compile(r"9{2,}(\.[09]+)?|8{3,}(\.0+)?|-(1|9+|8{2,})(\.0+)?")
LEAST_SENTINEL = 5
APART = 2.0
"""A high sentinel is at least this many times the highest other value."""


def doubles(engine: Engine, roles: Iterable[Role]) -> tuple[dict[str, str], dict[str, str]]:
    """Features that go with an earlier one value by value: those to leave out and those to remark → why.

    Equal values stand in the same rows of both. An amount says more than the code of its item, and of two
    amounts each has an order of its own, unless they are in proportion.
    """
    out: dict[str, str] = {}
    said: dict[str, str] = {}
    first: dict[tuple[str, int, int, int], Column] = {}
    for kind, column in (
        (role.kind, role.column) for role in roles if role.kind in ("categorical", "numeric")
    ):
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


def sentinels(counts: ValueCounts, column: Column, text: str) -> str | None:
    """What to say of a number such as 999 or -1 that stands apart from the others.

    `text` is SQL of the column.
    """
    if not column.is_number or column.distinct < 4:
        return None
    number = f"SELECT v, TRY_CAST(v AS DOUBLE) AS x, n FROM {counts.table(column.name)} WHERE v IS NOT NULL"
    ends = [f"SELECT * FROM ({number}) ORDER BY x {order} LIMIT 2" for order in ("", "DESC")]
    lowest, highest = ([(str(v), float(x), int(n)) for v, x, n in counts.engine.rows(end)] for end in ends)
    for (value, number_, rows), others, apart in (
        (highest[0], (column.low, highest[1][1]), highest[0][1] >= APART * max(highest[1][1], 1)),
        (lowest[0], (lowest[1][1], column.high), lowest[0][1] < 0 <= lowest[1][1]),
    ):
        if apart and rows >= LEAST_SENTINEL and SENTINEL.fullmatch(value) and abs(number_) >= 1:
            missing = f"NULLIF({text}, {value if column.type != 'VARCHAR' else sql.literal(value)})"
            return (
                f"{value} in {rows / column.rows:.1%} of `{column.name}` stands apart from the others "
                f"({others[0]:g} to {others[1]:g}); if it means missing, select "
                f"`{missing} AS {sql.identifier(column.name)}`"
            )
    return None
