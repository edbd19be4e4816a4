"""Split rules tried on the rows looked at, before one of them is written."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wukongctl.config.dataset import ByOrder, DatasetSpec
from wukongctl.data.drafting.counting import LOOKED_AT
from wukongctl.data.drafting.splitting import RATIO, SplitGuess
from wukongctl.data.pipeline import splits
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

FEW_ROWS = 20_000
"""Rows that a split by a hash is tried on first."""
DRIFT = 0.25
"""Relative difference between the shares of positives of first and last rows that says the file is sorted…"""
LIKELY = 4.0
"""… if it is so many standard errors."""


class SplitTrial(NamedTuple):
    """A recipe with a rule, and its SELECT over another FROM item."""

    spec: DatasetSpec
    select: Callable[[str], str]


def first_good(
    engine: Engine, rows: int, rules: Iterable[SplitGuess], trial: Callable[[SplitGuess], SplitTrial]
) -> SplitGuess | None:
    """The first rule that gives three splits with clicks and others in each; else with rows in each."""
    fallback = None
    for rule in rules:
        counts = _divided(engine, trial(rule), rows)
        if len(counts) < len(RATIO):
            continue
        one_class = any(positives in (0, rows) for rows, positives in counts)
        if not one_class and not _drifts(rule, counts):
            return rule
        if fallback is None:
            fallback = (
                rule._replace(doubts=(*rule.doubts, "some split has only one class")) if one_class else rule
            )
    return fallback


def _divided(engine: Engine, trial: SplitTrial, rows: int) -> list[tuple[int, int]]:
    """Rows and positives of each split that has rows; by a hash, some rows are enough to see both."""
    if not isinstance(trial.spec.split, ByOrder) and trial.spec.split is not None and rows > FEW_ROWS:
        counts = _counted(engine, trial, f"(FROM {LOOKED_AT} LIMIT {FEW_ROWS})")
        if len(counts) == len(RATIO) and all(0 < positives < rows for rows, positives in counts):
            return counts
    return _counted(engine, trial, LOOKED_AT)


def _counted(engine: Engine, trial: SplitTrial, source: str) -> list[tuple[int, int]]:
    spec, query = trial.spec, sql.source(trial.select(source))
    assert spec.split is not None
    which = splits.route(spec.split, engine, query).expression
    if isinstance(spec.split, ByOrder):
        ((rows,),) = engine.rows(f"SELECT count(*) FROM (\n{query}\n)")
        ends = splits.boundaries(rows, spec.split.ratio)
        query = f"SELECT *, row_number() OVER () AS wukongctl_row FROM (\n{query}\n)"
        which = f"(wukongctl_row > {ends[0]})::INT + (wukongctl_row > {ends[1]})::INT"
    clicks = f"count(*) FILTER (TRY_CAST(({spec.label}) AS DOUBLE) = 1)"
    found = engine.rows(f"SELECT {which}, count(*), {clicks} FROM (\n{query}\n) GROUP BY 1 ORDER BY 1")
    return [(int(rows), int(positives)) for _, rows, positives in found]


def _drifts(rule: SplitGuess, counts: Sequence[tuple[int, int]]) -> bool:
    """Whether clicks are so much more or less frequent in the last rows that the file must be sorted."""
    if rule.split["by"] != "order":
        return False
    (rows, clicks), *rest = counts
    late, late_clicks = sum(n for n, _ in rest), sum(c for _, c in rest)
    share, first, last = (clicks + late_clicks) / (rows + late), clicks / rows, late_clicks / late
    error = (share * (1 - share) * (1 / rows + 1 / late)) ** 0.5
    return abs(first - last) > max(LIKELY * error, DRIFT * share)
