"""The keys in which recipes differ."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import WukongError
from wukongctl.training.run_folder import RunFolder

ABSENT = object()


def differing_values(recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe, dotted key → value of the keys that are not equal in all; missing keys are omitted."""
    flat = [flattened(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for leaves in flat for key in leaves)
    differing = [key for key in keys if any(_differ(leaves, flat[0], key) for leaves in flat)]
    return [{key: leaves[key] for key in differing if key in leaves} for leaves in flat]


def flattened(recipe: dict[str, Any]) -> dict[str, Any]:
    """Dotted key → value, in order."""
    return dict(_leaves(recipe))


def edited_keys(run: Path) -> list[str]:
    """Keys of a run's `recipe.yaml` that do not have the values it was trained with."""
    try:
        info, written = RunFolder(run).info(), load(run / "recipe.yaml", TrainingSpec)
    except WukongError:  # missing, or of another version; the run does not need it
        return []
    if info is None:
        return []
    return list(differing_values([info.training_spec().to_dict(), written.to_dict()])[0])


def _differ(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    return one.get(key, ABSENT) != other.get(key, ABSENT)


def _leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
