"""Screening of features: duplicates of other columns, label leakage, and sentinels among numbers."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from wukongctl.data.drafting.counting import MEASURED, TEXT, ValueCounts
from wukongctl.data.drafting.guess import Role, snake
from wukongctl.data.drafting.profile import Column, without
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

MEASURED_LABELS = "measured_labels"
"""Table of `y`, the label of each row of MEASURED or NULL, and of `half`, 0 or 1, at random."""
BATCH_ROWS = 1 << 16
FEW_ROWS = 100
FEW_EACH = 10
"""With fewer rows, or fewer of either label, a column may predict the label by chance."""
PERFECT, HIGH, FAIR = 0.9995, 0.98, 0.6
"""AUC of one feature: as good as the label itself; too good to be true; suspicious with a telling name."""
AFTERWARDS = re.compile(
    r"(^|_)(duration|dwell|watch(ed)?|play(ed)?_time|read(ing)?_time|time_spent|scroll(ed)?|conversions?|converted"
    r"|purchased?|revenue|refund(ed)?|returned|outcome|response|paid|closed|cancell?ed)(_|$)"
)
ALIKE = 0.9999
"""Correlation of numbers that differ only in unit and rounding."""
UNIQUE = 0.9
"""Share of distinct values from which too few are equal to compare columns."""
CHANCE = 1e-6
"""Largest probability that `only where the label is 1` is chance."""
SENTINEL = re.compile(r"9{2,}(\.[09]+)?|8{3,}(\.0+)?|-(1|9+|8{2,})(\.0+)?")
LEAST_SENTINEL = 5
MOST_SENTINELS = 4
"""At each end of the range."""
APART, PEAK = 2.0, 30
"""A high sentinel is at least APART times the highest other value, or has PEAK times its rows."""
_Value = tuple[str, float, int]
"""A value as text and as a number, and its rows."""


def duplicates(engine: Engine, roles: Iterable[Role]) -> tuple[dict[str, str], dict[str, str]]:
    """Features that map one-to-one to an earlier one: those to leave out, and those to remark on → why.

    A number is kept beside a category, and beside another number unless they are proportional: their order is
    information of its own. Nearly unique columns are one-to-one whatever they mean, and are not compared.
    """
    out: dict[str, str] = {}
    remarks: dict[str, str] = {}
    first: dict[tuple[str, int, int, int], Column] = {}
    for kind, column in (
        (role.kind, role.column) for role in roles if role.kind in ("categorical", "numeric")
    ):
        if kind == "categorical" and column.distinct >= UNIQUE * column.filled:
            continue
        earlier = first.setdefault((kind, column.pattern, column.distinct, column.filled), column)
        if earlier is column or column.distinct < 2 or not _is_one_to_one(engine, earlier, column):
            continue
        if kind == "categorical" or _is_proportional(engine, earlier, column):
            out[column.name] = f"duplicates `{earlier.name}`, one-to-one"
        else:
            remarks[column.name] = f"one-to-one with `{earlier.name}`"
    return out, remarks


def _is_proportional(engine: Engine, one: Column, other: Column) -> bool:
    """Whether numbers differ only in their unit."""
    a, b = (f"TRY_CAST({sql.identifier(column.name)} AS DOUBLE)" for column in (one, other))
    ((correlation,),) = engine.rows(f"SELECT abs(corr({a}, {b})) FROM {MEASURED}")
    return correlation is not None and correlation > ALIKE


def _is_one_to_one(engine: Engine, one: Column, other: Column) -> bool:
    a, b = (TEXT.format(sql.identifier(column.name)) for column in (one, other))
    pairs = f"SELECT DISTINCT {a} AS a, {b} AS b FROM {MEASURED}"
    query = f"SELECT count(DISTINCT a), count(DISTINCT b), count(*) FROM ({pairs}) WHERE a IS NOT NULL"
    ((of_one, of_other, of_both),) = engine.rows(query)
    return of_one == of_other == of_both


class LabelEvidence(NamedTuple):
    """How well one column alone predicts the label."""

    auc: float
    """The highest on half of the rows: of the positive rate of each value in the other half, of whether a
    value is missing, and of the number itself."""
    filled: tuple[int, int]
    """Rows with a value, and their positives."""
    nonzero: tuple[int, int]
    """Rows with a nonzero number, and their positives."""


def measure_labels(engine: Engine, query: str) -> tuple[int, int]:
    """Create the table MEASURED_LABELS from a `query` for the label `y` of each measured row.

    Returns the positives, and the rows with a label.
    """
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE {MEASURED_LABELS} AS "
        f"SELECT CAST(CASE y WHEN 1 THEN 1 WHEN 0 THEN 0 END AS TINYINT) AS y, "
        f"CAST(hash(row_number() OVER ()) % 2 AS TINYINT) AS half FROM ({query})"
    )
    ((positives, rows),) = engine.rows(f"SELECT coalesce(sum(y), 0), count(y) FROM {MEASURED_LABELS}")
    return int(positives), int(rows)


def evidence(engine: Engine, column: Column, expression: str) -> LabelEvidence:
    """How well `column`, read by `expression`, predicts the label."""
    rows = (
        f"SELECT r, y, half FROM (SELECT {expression} AS r FROM {MEASURED}) POSITIONAL JOIN {MEASURED_LABELS}"
    )
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
    positive, negative, test_positive, test_negative = counts
    # Half a row of the overall rate keeps values that occur once near the middle.
    rate = positive.sum() / max((positive + negative).sum(), 1)
    rates = (positive + rate / 2) / (positive + negative + 0.5)
    aucs = [_auc(rates, test_positive, test_negative)]
    for score in (is_filled, number) if column.is_number else (is_filled,):
        known = ~np.isnan(score)
        auc = _auc(score[known], test_positive[known], test_negative[known])
        aucs.append(max(auc, 1 - auc))
    positives = positive + test_positive
    rows_each = positives + negative + test_negative
    filled, nonzero = is_filled > 0, ~np.isnan(number) & (number != 0)
    return LabelEvidence(
        max(aucs),
        (int(rows_each[filled].sum()), int(positives[filled].sum())),
        (int(rows_each[nonzero].sum()), int(positives[nonzero].sum())),
    )


def _auc(score: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float:
    """AUC of values by score, with their positives and negatives, (values,) each."""
    _, group = np.unique(score, return_inverse=True)
    positive, negative = np.bincount(group, positives), np.bincount(group, negatives)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else 0.5


def leakage(
    column: Column, evidence: LabelEvidence, positives: int, rows: int
) -> tuple[str | None, str | None]:
    """The reason to leave the column out, and the remark on it if it stays."""
    if rows < FEW_ROWS or min(positives, rows - positives) < FEW_EACH:
        return None, None
    only = _only_one_label(column, evidence, positives, rows)
    if only is not None:
        return only, None
    auc, name = evidence.auc, f"`{column.name}`"
    if auc >= PERFECT:
        return "leaks the label: a copy of it, or known only after it", None
    if auc >= HIGH:
        return None, f"{name} alone predicts the label (AUC {auc:.3f}): is it known before the label?"
    if auc >= FAIR and AFTERWARDS.search(snake(column.name)):
        return None, f"{name} (AUC {auc:.3f} alone) may be known only after the label: if so, leave it out"
    return None, None


def _only_one_label(column: Column, evidence: LabelEvidence, positives: int, rows: int) -> str | None:
    """The reason to leave out a column that is filled, or nonzero, only for one label."""
    states = [("filled", evidence.filled)] if column.filled < column.rows else []
    if column.is_number and column.low == 0:
        states.append(("nonzero", evidence.nonzero))
    for state, (count, hits) in states:
        for value, share, agreeing in (
            (1, positives / rows, hits),
            (0, 1 - positives / rows, count - hits),
        ):
            if count == agreeing and count < rows and share**count < CHANCE:
                return f"{state} only where the label is {value}: known only after the label"
    return None


class Sentinels(NamedTuple):
    """Numbers such as 999 or -1 that are far from the others, with their rows."""

    values: tuple[tuple[str, int], ...]
    others: Column
    """The column without them."""

    def remark(self, column: Column, text: str) -> str:
        """The remark on them; `text` is SQL of the column."""
        shown = [f"{value} in {rows / column.rows:.1%}" for value, rows in self.values]
        are, mean = ("are", "they mean") if len(shown) > 1 else ("is", "it means")
        missing = text
        for value, _ in self.values:
            missing = f"NULLIF({missing}, {value if column.type != 'VARCHAR' else sql.literal(value)})"
        return (
            f"{' and '.join(shown)} of `{column.name}` {are} far from the other values "
            f"({self.others.low:g} to {self.others.high:g}): if {mean} missing, "
            f"select `{missing} AS {sql.identifier(column.name)}`"
        )


def sentinels(counts: ValueCounts, column: Column) -> Sentinels | None:
    """The sentinels at both ends of a column of numbers."""
    if not column.is_number or column.distinct < 4:
        return None
    number = f"SELECT v, TRY_CAST(v AS DOUBLE) AS x, n FROM {counts.tables[column.name]} WHERE v IS NOT NULL"
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


def _leading(ordered: list[_Value], is_far: Callable[[_Value, _Value], bool]) -> list[_Value]:
    """The leading sentinels of `ordered`, as many as are far from the value after them."""
    matches = [
        SENTINEL.fullmatch(v) is not None and n >= LEAST_SENTINEL and abs(x) >= 1 for v, x, n in ordered
    ]
    count = min(([*matches, False]).index(False), len(ordered) - 1)
    while count and not is_far(ordered[count - 1], ordered[count]):
        count -= 1
    return ordered[:count]
