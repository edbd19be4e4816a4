"""Split rules: proposed by what columns hold, and tried on the measured rows.

No rule depends on the label. A hash of the whole row would send all rows (x, 1) to one split and perhaps all
rows (x, 0) to another, so that train and test contradict each other about x.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wukongctl.config.dataset import ByOrder, DatasetSpec
from wukongctl.data.drafting.counting import MEASURED, ValueCounts
from wukongctl.data.drafting.guess import Role, is_named_like_time, snake
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.quoting import sql_name, yaml_text
from wukongctl.data.drafting.screening import MEASURED_LABELS
from wukongctl.data.drafting.selection import ROW
from wukongctl.data.pipeline import splits
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

RATIO = {"train": 8, "valid": 1, "test": 1}
SESSIONS = re.compile(
    r"(^|_)(session|visit)(_?(id|nbr|no|key|hash))?$|"
    r"(^|_)(query|search|request|auction|trip|basket|cart|stay|hadm|encounter|impression|order)_?(id|nbr|no|key)$"
)
"""Things that end: their rows belong together, and they do not recur."""
PEOPLE = re.compile(
    r"(^|_)(user|uid|customer|client|patient|subject|member|visitor|person|account|household|subscriber"
    r"|student|passenger|employee|borrower|applicant|cookie)(_?(id|nbr|no|key|hash|number))?$"
)
FEW_ROWS_EACH = 5
"""Rows of a person from which an embedding can be learned."""
LEAST_GROUPS = 30
MOST_MISSING = 0.01
FEW_NAMED = 6
"""Most columns named in a key."""
DISTINCT = 0.5
"""Least share of distinct rows for a hash of the features."""
SAME = 0.1
"""Rows of equal features are duplicates if their labels differ at most this share as often as by chance…"""
LEAST_EXPECTED = 5.0
"""… where chance makes at least this many differ."""
MOVED = 0.3
"""Least difference between the values of the last fifth of rows and the others in a sorted file."""
TRIED_ROWS = 20_000
"""Rows on which a split by hash is tried first."""
DRIFT = 0.25
"""Least relative difference between the positive rates of first and last rows in a sorted file…"""
LIKELY = 4.0
"""… if it is this many standard errors."""

Names = Mapping[str, Sequence[str]]
"""Column → its names in the SELECT, several for a vector."""


class SplitGuess(NamedTuple):
    """A `split` with its reasons, and remarks that need attention."""

    split: dict[str, Any]
    reasons: tuple[str, ...]
    group: str = ""
    """The column whose values are each in one split only."""
    needs_row_number: bool = False
    remarks: tuple[str, ...] = ()


class SplitTrial(NamedTuple):
    """A recipe with a rule, and its SELECT over another FROM item."""

    spec: DatasetSpec
    select: Callable[[str], str]


def _group(columns: Sequence[Column]) -> Column | None:
    """A column of persons with few rows each, or of sessions, whose rows belong in one split."""
    usable = [
        column
        for column in columns
        if LEAST_GROUPS <= column.distinct <= 0.95 * column.filled
        and column.missing <= MOST_MISSING
        and not column.is_list
    ]
    sessions = [c for c in usable if SESSIONS.search(snake(c.name))]
    people = [c for c in usable if PEOPLE.search(snake(c.name)) and c.filled < FEW_ROWS_EACH * c.distinct]
    return next(iter([*people, *sessions]), None)


def _person(columns: Sequence[Column]) -> Column | None:
    """A column of persons with enough rows each to learn embeddings."""
    known = (c for c in columns if PEOPLE.search(snake(c.name)) and not c.is_list)
    return next(
        (c for c in known if c.distinct >= LEAST_GROUPS and c.filled >= FEW_ROWS_EACH * c.distinct), None
    )


def proposals(
    counts: ValueCounts,
    columns: Sequence[Column],
    roles: Sequence[Role],
    names: Names,
    time: Column | None,
    partial: Column | None,
) -> Iterator[SplitGuess]:
    """Split rules, the best first. `columns` are those a key may read: not the label, nor what leaks it."""
    if time is not None:
        yield SplitGuess(
            {"by": "time", "column": names[time.name][0], "ratio": RATIO},
            ("train on the earliest rows, test on the latest",),
        )
    remarks = ()
    if partial is not None:
        remarks = (
            f"`{partial.name}` is a time, but missing in {partial.missing:.1%} of rows: filter these out in "
            "the SELECT to split by time, as a deployed model sees the data",
        )
    group = _group(columns)
    if group is not None:
        reason = f"by a hash of `{group.name}`: each of its {group.distinct:,} values is in one split only"
        yield SplitGuess(_by_hash(sql_name(names[group.name][0])), (reason,), group.name, remarks=remarks)
    yield from _without_group(counts, columns, roles, names, remarks)


def _without_group(
    counts: ValueCounts,
    columns: Sequence[Column],
    roles: Sequence[Role],
    names: Names,
    remarks: tuple[str, ...],
) -> Iterator[SplitGuess]:
    used = [role.column for role in roles if role.kind != "left out"]
    rows, distinct = used[0].rows, _distinct_rows(counts, used)
    person = _person(columns)
    if person is not None:
        key = yaml_text(sql_name(names[person.name][0]))
        remark = f"each `{person.name}` is in several splits: to test on new ones, use `key: {key}`"
        remarks = (remark, *remarks)
    by_features = SplitGuess(
        _by_hash(_key(used, names)),
        ("by a hash of the features, so that equal rows stay together",),
        remarks=remarks,
    )
    by_order = SplitGuess(
        {"by": "order", "ratio": RATIO}, ("train on the first rows, test on the last",), remarks=remarks
    )
    by_number = SplitGuess(
        _by_hash(ROW), ("at random, by a hash of the row number",), needs_row_number=True, remarks=remarks
    )
    if distinct >= DISTINCT * rows:
        yield from (by_features, by_number, by_order)
        return
    if _are_duplicates(counts, used):
        duplicates = f"{1 - distinct / rows:.0%} of rows duplicate another one, including the label"
        leaking = f"{duplicates}: {_share_in_train(counts, used):.0%} of test rows have a duplicate in train"
        yield by_features._replace(reasons=(*by_features.reasons, duplicates))
        yield by_number._replace(remarks=(*by_number.remarks, leaking))
        yield by_order._replace(reasons=(*by_order.reasons, duplicates))
        return
    few = f"{rows:,} rows have {distinct:,} feature combinations: a hash would test on unseen ones only"
    by_order, by_number = (rule._replace(reasons=(*rule.reasons, few)) for rule in (by_order, by_number))
    yield from (by_number, by_features) if _is_sorted(counts, used) else (by_order, by_number, by_features)


def _by_hash(key: str) -> dict[str, Any]:
    return {"by": "hash", "key": key, "seed": 0, "ratio": RATIO}


def _key(used: Sequence[Column], names: Names) -> str:
    """SQL of all features as one text; `concat_ws` does not take nested lists."""
    parts = [sql_name(part) for column in used for part in names[column.name]]
    if len(parts) <= FEW_NAMED:
        return f"CAST(row({', '.join(parts)}) AS VARCHAR)"
    known = {column.name for column in used}
    unused = [sql_name(part) for column, parts in names.items() if column not in known for part in parts]
    return f"CAST(row(*COLUMNS(* EXCLUDE ({', '.join(unused)}))) AS VARCHAR)"


def _distinct_rows(counts: ValueCounts, used: Sequence[Column]) -> int:
    ((distinct,),) = counts.engine.rows(f"SELECT count(DISTINCT {_hash(used)}) FROM {MEASURED}")
    return int(distinct)


def _are_duplicates(counts: ValueCounts, used: Sequence[Column]) -> bool:
    """Whether rows of equal features have equal labels far more often than by chance."""
    each = f"SELECT count(y) AS n, sum(y) AS p FROM ({_labelled(used)}) GROUP BY h HAVING count(y) > 1"
    ((differing, repeated, share),) = counts.engine.rows(
        f"SELECT sum(2.0 * p * (n - p) / (n - 1)), sum(n), (SELECT avg(y) FROM {MEASURED_LABELS}) "
        f"FROM ({each})"
    )
    by_chance = 2 * (share or 0) * (1 - (share or 0)) * int(repeated or 0)
    return by_chance >= LEAST_EXPECTED and float(differing) <= SAME * by_chance


def _share_in_train(counts: ValueCounts, used: Sequence[Column]) -> float:
    """The share of test rows with a duplicate in train under a random split."""
    other = 1 - RATIO["train"] / sum(RATIO.values())
    each = f"SELECT count(*) AS n FROM ({_labelled(used)}) GROUP BY h"
    ((share,),) = counts.engine.rows(f"SELECT sum(n * (1 - pow({other}, n - 1))) / sum(n) FROM ({each})")
    return float(share)


def _labelled(used: Sequence[Column]) -> str:
    """SQL of a hash of the features, `h`, and the label, `y`, of each row."""
    return f"SELECT h, y FROM (SELECT {_hash(used)} AS h FROM {MEASURED}) POSITIONAL JOIN {MEASURED_LABELS}"


def _hash(used: Sequence[Column]) -> str:
    return f"hash({', '.join(sql.identifier(column.name) for column in used)})"


def _is_sorted(counts: ValueCounts, used: Sequence[Column]) -> bool:
    """Whether the last rows have other values than the first, as in a file sorted by some column."""
    for column in used:
        if column.distinct > 0.1 * column.rows or column.is_list or is_named_like_time(column):
            continue
        late = f"rowid >= {0.8 * column.rows}"
        each = f"count(*) FILTER (NOT {late}) AS a, count(*) FILTER ({late}) AS b"
        values = f"SELECT {each} FROM {MEASURED} GROUP BY {sql.identifier(column.name)}"
        shares = f"SELECT a / sum(a) OVER () AS a, b / sum(b) OVER () AS b FROM ({values})"
        ((moved,),) = counts.engine.rows(f"SELECT sum(abs(a - b)) / 2 FROM ({shares})")
        if moved > MOVED:
            return True
    return False


def first_good(
    engine: Engine, rows: int, rules: Iterable[SplitGuess], trial: Callable[[SplitGuess], SplitTrial]
) -> SplitGuess | None:
    """The first rule that gives three splits with both classes in each, or else rows in each."""
    fallback = None
    for rule in rules:
        counts = _split_counts(engine, trial(rule), rows)
        if len(counts) < len(RATIO):
            continue
        one_class = any(positives in (0, rows) for rows, positives in counts)
        if not one_class and not _drifts(rule, counts):
            return rule
        if fallback is None:
            remarks = (*rule.remarks, "a split has only one class") if one_class else rule.remarks
            fallback = rule._replace(remarks=remarks)
    return fallback


def _split_counts(engine: Engine, trial: SplitTrial, rows: int) -> list[tuple[int, int]]:
    """Rows and positives of each non-empty split; for a hash, from the first rows if these suffice."""
    if not isinstance(trial.spec.split, ByOrder) and trial.spec.split is not None and rows > TRIED_ROWS:
        counts = _counts(engine, trial, f"(FROM {MEASURED} LIMIT {TRIED_ROWS})")
        if len(counts) == len(RATIO) and all(0 < positives < rows for rows, positives in counts):
            return counts
    return _counts(engine, trial, MEASURED)


def _counts(engine: Engine, trial: SplitTrial, source: str) -> list[tuple[int, int]]:
    spec, query = trial.spec, sql.source(trial.select(source))
    assert spec.split is not None
    split = splits.route(spec.split, engine, query).expression
    if isinstance(spec.split, ByOrder):
        ((rows,),) = engine.rows(f"SELECT count(*) FROM (\n{query}\n)")
        ends = splits.boundaries(rows, spec.split.ratio)
        query = f"SELECT *, row_number() OVER () AS wukongctl_row FROM (\n{query}\n)"
        split = f"(wukongctl_row > {ends[0]})::INT + (wukongctl_row > {ends[1]})::INT"
    positives = f"count(*) FILTER (TRY_CAST(({spec.label}) AS DOUBLE) = 1)"
    found = engine.rows(f"SELECT {split}, count(*), {positives} FROM (\n{query}\n) GROUP BY 1 ORDER BY 1")
    return [(int(rows), int(positives)) for _, rows, positives in found]


def _drifts(rule: SplitGuess, counts: Sequence[tuple[int, int]]) -> bool:
    """Whether the positive rate of the last rows differs so much that the file must be sorted."""
    if rule.split["by"] != "order":
        return False
    (rows, positives), *rest = counts
    late, late_positives = sum(rows for rows, _ in rest), sum(positives for _, positives in rest)
    rate = (positives + late_positives) / (rows + late)
    error = (rate * (1 - rate) * (1 / rows + 1 / late)) ** 0.5
    return abs(positives / rows - late_positives / late) > max(LIKELY * error, DRIFT * rate)
