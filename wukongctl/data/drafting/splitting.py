"""How rows are divided into train, valid and test, and what a person should know of it.

Never by anything that depends on the label: a hash of the whole row sends all rows (x, 1) to one split and
may send all rows (x, 0) to another, so that what train says of x is the opposite of what test says.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wukongctl.data.drafting import page
from wukongctl.data.drafting.counting import LOOKED_AT, ValueCounts
from wukongctl.data.drafting.guess import Role, is_named_like_time, snake
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.selecting import ROW
from wukongctl.data.drafting.suspects import LABELS
from wukongctl.data.query import sql

RATIO = {"train": 8, "valid": 1, "test": 1}
SESSIONS = re.compile(
    r"(^|_)(session|visit)(_?(id|nbr|no|key|hash))?$|"
    r"(^|_)(query|search|request|auction|trip|basket|cart|stay|hadm|encounter|impression|order)_?(id|nbr|no|key)$"
)
"""What ends: its rows belong together, and it does not come again."""
PEOPLE = re.compile(
    r"(^|_)(user|uid|customer|client|patient|subject|member|visitor|person|account|household|subscriber"
    r"|student|passenger|employee|borrower|applicant|cookie)(_?(id|nbr|no|key|hash|number))?$"
)
FEW_ROWS_EACH = 5
"""A person of fewer rows is hardly learned as such."""
LEAST_GROUPS = 30
MOST_MISSING = 0.01
FEW_NAMED = 6
"""Up to so many columns are named in a key."""
DIFFERENT = 0.5
"""Share of different rows from which a hash of the features divides rows well."""
SAME = 0.1
"""Equal features are copies of one row if their labels differ at most so often as labels at random would…"""
LEAST_EXPECTED = 5.0
"""… where those would differ in so many rows."""
MOVED = 0.3
"""Share of the last fifth of the rows that would need other values to be like the rest: then it is sorted."""


Names = Mapping[str, Sequence[str]]
"""Column → its names in the SELECT: several for a vector."""


class SplitGuess(NamedTuple):
    """A `split`, and why, as lines of comment."""

    split: dict[str, Any]
    said: tuple[str, ...]
    grouped: str = ""
    """The column whose every value is in one split only."""
    numbered: bool = False
    """Whether it needs the number of the row in the SELECT."""
    doubts: tuple[str, ...] = ()
    """What a person should decide, also as comments."""


def group(columns: Sequence[Column]) -> Column | None:
    """A session, or a person of few rows: the rows of one must not be in train and in test."""
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


def person(columns: Sequence[Column]) -> Column | None:
    """A column of people who come again often enough to be learned as such."""
    known = (c for c in columns if PEOPLE.search(snake(c.name)) and not c.is_list)
    return next(
        (c for c in known if c.distinct >= LEAST_GROUPS and c.filled >= FEW_ROWS_EACH * c.distinct), None
    )


def rules(
    counts: ValueCounts,
    columns: Sequence[Column],
    roles: Sequence[Role],
    names: Names,
    time: Column | None,
    partial: Column | None,
) -> Iterator[SplitGuess]:
    """Ways to divide the rows, the best first. `columns` are those that may decide it: not the label's, nor
    what is known afterwards.
    """
    if time is not None:
        yield SplitGuess(
            {"by": "time", "column": names[time.name][0], "ratio": RATIO},
            ("the earliest rows train, the latest test",),
        )
    late = ()
    if partial is not None:
        late = (
            f"`{partial.name}` is a time, but {partial.missing:.1%} of the rows lack it: "
            "leave these out in the SELECT to split by time, which tests what a model meets in use",
        )
    apart = group(columns)
    if apart is not None:
        known = (
            f"by a hash of `{apart.name}`: all rows of one are in the same split ({apart.distinct:,} of them)"
        )
        yield SplitGuess(_hashed(page.sql_name(names[apart.name][0])), (known,), apart.name, doubts=late)
    yield from _ungrouped(counts, columns, roles, names, late)


def _ungrouped(
    counts: ValueCounts, columns: Sequence[Column], roles: Sequence[Role], names: Names, late: tuple[str, ...]
) -> Iterator[SplitGuess]:
    used = [role.column for role in roles if role.kind != "left out"]
    rows, different = used[0].rows, _different(counts, used)
    again = person(columns)
    doubts = late
    if again is not None:
        key = page.scalar(page.sql_name(names[again.name][0]))
        doubts = (
            f"each `{again.name}` is in several splits; with `key: {key}` the test would be on new ones",
            *late,
        )
    by_features = SplitGuess(
        _hashed(_key(used, names)),
        ("by a hash of the features, so that equal rows stay together",),
        doubts=doubts,
    )
    by_order = SplitGuess(
        {"by": "order", "ratio": RATIO}, ("the first rows train, the last test",), doubts=doubts
    )
    by_number = SplitGuess(
        _hashed(ROW), ("at random, by a hash of the number of the row",), numbered=True, doubts=doubts
    )
    if different >= DIFFERENT * rows:
        yield from (by_features, by_number, by_order)
        return
    if _are_copies(counts, used):
        copies = f"{1 - different / rows:.0%} of the rows repeat another one, its label included"
        leaking = f"{copies}: {_with_a_copy(counts, used):.0%} of the test rows are copies of train rows"
        yield by_features._replace(said=(*by_features.said, copies))
        yield by_number._replace(doubts=(*by_number.doubts, leaking))
        yield by_order._replace(said=(*by_order.said, copies))
        return
    few = (
        f"{rows:,} rows have {different:,} different features: a hash of these would test on other ones only"
    )
    by_order, by_number = (rule._replace(said=(*rule.said, few)) for rule in (by_order, by_number))
    yield from (by_number, by_features) if _is_sorted(counts, used) else (by_order, by_number, by_features)


def _hashed(key: str) -> dict[str, Any]:
    return {"by": "hash", "key": key, "seed": 0, "ratio": RATIO}


def _key(used: Sequence[Column], names: Names) -> str:
    """SQL of all features as one text. Not `concat_ws`, which refuses nested lists."""
    parts = [page.sql_name(part) for column in used for part in names[column.name]]
    if len(parts) <= FEW_NAMED:
        return f"CAST(row({', '.join(parts)}) AS VARCHAR)"
    known = {column.name for column in used}
    others = [page.sql_name(part) for column, parts in names.items() if column not in known for part in parts]
    return f"CAST(row(*COLUMNS(* EXCLUDE ({', '.join(others)}))) AS VARCHAR)"


def _different(counts: ValueCounts, used: Sequence[Column]) -> int:
    listed = ", ".join(sql.identifier(column.name) for column in used)
    ((different,),) = counts.engine.rows(f"SELECT count(DISTINCT hash({listed})) FROM {LOOKED_AT}")
    return int(different)


def _are_copies(counts: ValueCounts, used: Sequence[Column]) -> bool:
    """Whether rows of equal features have equal labels far more often than chance would give them."""
    each = f"SELECT count(y) AS n, sum(y) AS p FROM ({_labelled(used)}) GROUP BY h HAVING count(y) > 1"
    ((differing, repeated, share),) = counts.engine.rows(
        f"SELECT sum(2.0 * p * (n - p) / (n - 1)), sum(n), (SELECT avg(y) FROM {LABELS}) FROM ({each})"
    )
    by_chance = 2 * (share or 0) * (1 - (share or 0)) * int(repeated or 0)
    return by_chance >= LEAST_EXPECTED and float(differing) <= SAME * by_chance


def _with_a_copy(counts: ValueCounts, used: Sequence[Column]) -> float:
    """The share of test rows that have a copy in train, where each row goes its own way."""
    other = 1 - RATIO["train"] / sum(RATIO.values())
    each = f"SELECT count(*) AS n FROM ({_labelled(used)}) GROUP BY h"
    ((share,),) = counts.engine.rows(f"SELECT sum(n * (1 - pow({other}, n - 1))) / sum(n) FROM ({each})")
    return float(share)


def _labelled(used: Sequence[Column]) -> str:
    """SQL of a hash of the features, `h`, and the label, `y`, of each row."""
    listed = ", ".join(sql.identifier(column.name) for column in used)
    return f"SELECT h, y FROM (SELECT hash({listed}) AS h FROM {LOOKED_AT}) POSITIONAL JOIN {LABELS}"


def _is_sorted(counts: ValueCounts, used: Sequence[Column]) -> bool:
    """Whether the last rows hold other values than the first, as in a file that is sorted by some column."""
    for column in used:
        if column.distinct > 0.1 * column.rows or column.is_list or is_named_like_time(column):
            continue
        late = f"rowid >= {0.8 * column.rows}"
        each = f"count(*) FILTER (NOT {late}) AS a, count(*) FILTER ({late}) AS b"
        values = f"SELECT {each} FROM {LOOKED_AT} GROUP BY {sql.identifier(column.name)}"
        shares = f"SELECT a / sum(a) OVER () AS a, b / sum(b) OVER () AS b FROM ({values})"
        ((moved,),) = counts.engine.rows(f"SELECT sum(abs(a - b)) / 2 FROM ({shares})")
        if moved > MOVED:
            return True
    return False
