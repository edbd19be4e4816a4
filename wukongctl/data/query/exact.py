"""Which DuckDB type holds the values of several others exactly."""

import re
from collections.abc import Iterator, Sequence

INTEGERS = {
    "BOOLEAN": (0, 1),
    **{
        f"{name}": (-(1 << bits - 1), (1 << bits - 1) - 1)
        for name, bits in (
            ("TINYINT", 8),
            ("SMALLINT", 16),
            ("INTEGER", 32),
            ("BIGINT", 64),
            ("HUGEINT", 128),
        )
    },
    **{
        f"U{name}": (0, (1 << bits) - 1)
        for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("INTEGER", 32), ("BIGINT", 64))
    },
}
"""Least and largest value, the type that is tried first in front."""
FLOATS = frozenset({"FLOAT", "DOUBLE"})
TIMES = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
"""From coarse to fine."""
TEXTS = frozenset({"VARCHAR", "UUID", *INTEGERS}) - {"BOOLEAN"}
"""Types that have one spelling for each value."""
DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
WHOLE = 1 << 53
"""Integers beyond it are rounded in a double already."""
MOST_DIGITS = 38
NOTHING = "NULL"
"""The type of a column that never had a value."""


def candidates(kinds: Sequence[str]) -> Iterator[str]:
    """Types that may hold all values of `kinds`, the best first; which do, `holds` tells from the values."""
    numbers = [kind for kind in kinds if kind in INTEGERS or DECIMAL.fullmatch(kind)]
    floats = [kind for kind in kinds if kind in FLOATS]
    if all(kind.endswith("[]") for kind in kinds):
        items = [kind.removesuffix("[]") for kind in kinds]
        known = list(dict.fromkeys(kind for kind in items if kind != NOTHING))
        yield from (f"{kind}[]" for kind in (known if len(known) == 1 else candidates(known)))
    elif all(kind in TIMES for kind in kinds):
        yield max(kinds, key=TIMES.index)
    elif "VARCHAR" in kinds and TEXTS.issuperset(kinds):
        yield "VARCHAR"
    elif len(numbers) + len(floats) == len(kinds):
        if numbers and (number := _number(numbers)):
            yield number
        if floats:
            yield "DOUBLE"


def _number(kinds: Sequence[str]) -> str | None:
    """The smallest type that holds all integers and decimals of `kinds`."""
    decimals = [tuple(map(int, found.groups())) for kind in kinds if (found := DECIMAL.fullmatch(kind))]
    ranges = [INTEGERS[kind] for kind in kinds if kind in INTEGERS]
    least, most = min((r[0] for r in ranges), default=0), max((r[1] for r in ranges), default=0)
    if decimals:
        scale = max(scale for _, scale in decimals)
        digits = max(len(str(max(most, -least))), *(width - places for width, places in decimals))
        return f"DECIMAL({digits + scale},{scale})" if digits + scale <= MOST_DIGITS else None
    fits = (kind for kind, (low, high) in INTEGERS.items() if low <= least and most <= high)
    return next(fits, None)


def is_wider(target: str, kind: str) -> bool:
    """Whether `target` holds all values of `kind` whatever they are."""
    if kind.endswith("[]"):
        return is_wider(target.removesuffix("[]"), kind.removesuffix("[]"))
    if kind not in INTEGERS:
        return kind in (target, NOTHING) or (kind, target) == ("FLOAT", "DOUBLE") or target == "VARCHAR"
    low, high = INTEGERS[kind]
    if target in INTEGERS:
        return INTEGERS[target][0] <= low and high <= INTEGERS[target][1]
    return target not in FLOATS or high <= WHOLE


def value(column: str, kind: str) -> str:
    """`column` without NaN, which pandas writes for a missing value."""
    return f"NULLIF({column}, 'nan'::{kind})" if kind in FLOATS else column


def filled(table: str, column: str, kind: str) -> str:
    """A query that gives a row where a column of `table` holds any value."""
    return f"SELECT 1 FROM {table} WHERE {value(column, kind)} IS NOT NULL LIMIT 1"


def lost(table: str, column: str, kind: str, target: str) -> str:
    """A query that gives a row where a value of the column does not come back the same from `target`."""
    known = value(column, kind)
    changed = f"{known} IS DISTINCT FROM TRY_CAST(TRY_CAST({known} AS {target}) AS {kind})"
    if kind in FLOATS and target not in FLOATS:
        changed += f" OR abs({known}) > {WHOLE}"
    return f"SELECT 1 FROM {table} WHERE {changed} LIMIT 1"
