"""Which DuckDB type holds the values of several others exactly."""

import re
from collections.abc import Iterator, Sequence

BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
INTEGERS = {
    "BOOLEAN": (0, 1),
    **{name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in {**BITS, "HUGEINT": 128}.items()},
    **{f"U{name}": (0, (1 << bits) - 1) for name, bits in BITS.items()},
}
"""Least and greatest value, in the order in which types are tried."""
FLOATS = frozenset({"FLOAT", "DOUBLE"})
TIMES = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
"""In order of precision."""
TEXTS = frozenset({"VARCHAR", "UUID", *INTEGERS}) - {"BOOLEAN"}
"""Types with one spelling per value."""
DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
LARGEST_EXACT = 1 << 53
"""Doubles round larger integers."""
MAX_DIGITS = 38
NO_TYPE = "NULL"
"""The type of a column without values."""


def candidates(kinds: Sequence[str]) -> Iterator[str]:
    """Types that may hold all values of `kinds`, the best first; `loss` tests the values."""
    numbers = [kind for kind in kinds if kind in INTEGERS or DECIMAL.fullmatch(kind)]
    floats = [kind for kind in kinds if kind in FLOATS]
    if all(kind.endswith("[]") for kind in kinds):
        items = [kind.removesuffix("[]") for kind in kinds]
        known = list(dict.fromkeys(kind for kind in items if kind != NO_TYPE))
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
    """The smallest type for all integers and decimals of `kinds`."""
    decimals = [tuple(map(int, found.groups())) for kind in kinds if (found := DECIMAL.fullmatch(kind))]
    ranges = [INTEGERS[kind] for kind in kinds if kind in INTEGERS]
    least, most = min((r[0] for r in ranges), default=0), max((r[1] for r in ranges), default=0)
    if decimals:
        scale = max(scale for _, scale in decimals)
        digits = max(len(str(max(most, -least))), *(width - places for width, places in decimals))
        return f"DECIMAL({digits + scale},{scale})" if digits + scale <= MAX_DIGITS else None
    return next((kind for kind, (low, high) in INTEGERS.items() if low <= least and most <= high), None)


def is_wider(target: str, kind: str) -> bool:
    """Whether `target` holds every possible value of `kind`."""
    if kind.endswith("[]"):
        return is_wider(target.removesuffix("[]"), kind.removesuffix("[]"))
    if kind not in INTEGERS:
        return kind in (target, NO_TYPE) or (kind, target) == ("FLOAT", "DOUBLE") or target == "VARCHAR"
    low, high = INTEGERS[kind]
    if target in INTEGERS:
        return INTEGERS[target][0] <= low and high <= INTEGERS[target][1]
    return target not in FLOATS or high <= LARGEST_EXACT


def value(column: str, kind: str) -> str:
    """SQL of `column` without NaN, which pandas writes for a missing value."""
    return f"NULLIF({column}, 'nan'::{kind})" if kind in FLOATS else column


def any_value(table: str, column: str, kind: str) -> str:
    """A query that returns a row if a column of `table` holds a value."""
    return f"SELECT 1 FROM {table} WHERE {value(column, kind)} IS NOT NULL LIMIT 1"


def loss(table: str, column: str, kind: str, target: str) -> str:
    """A query that returns a row if a value of the column changes on its way to `target` and back."""
    original = value(column, kind)
    changed = f"{original} IS DISTINCT FROM TRY_CAST(TRY_CAST({original} AS {target}) AS {kind})"
    if kind in FLOATS and target not in FLOATS:
        changed += f" OR abs({original}) > {LARGEST_EXACT}"
    return f"SELECT 1 FROM {table} WHERE {changed} LIMIT 1"
