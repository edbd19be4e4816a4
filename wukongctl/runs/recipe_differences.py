"""The keys in which recipes differ."""

from collections.abc import Iterator, Sequence
from typing import Any

ABSENT = object()


def differing_values(recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe, dotted key → value of the keys that are not equal in all; missing keys are omitted."""
    flat = [dict(_leaves(recipe)) for recipe in recipes]
    keys = dict.fromkeys(key for leaves in flat for key in leaves)
    differing = [key for key in keys if any(_differ(leaves, flat[0], key) for leaves in flat)]
    return [{key: leaves[key] for key in differing if key in leaves} for leaves in flat]


def _differ(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    return one.get(key, ABSENT) != other.get(key, ABSENT)


def _leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
