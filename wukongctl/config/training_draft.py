"""A first training recipe for a prepared dataset: what the default rules choose, and why, key by key."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from wukongctl.config.completion import complete
from wukongctl.config.defaults import ChosenDefault, DatasetFacts, choices
from wukongctl.config.loading import Override
from wukongctl.config.positions import Position, parse


def draft(dataset: str, model: str, facts: DatasetFacts) -> tuple[ChosenDefault, ...]:
    """What the rules choose for a `model` on `dataset`; raises RecipeError when there is no such model."""
    place: Position = (f"--model {model}", 0, 0)
    named = (Override("data", dataset, place), Override("model.name", model, place))
    complete(parse("{}", place[0]), lambda _: facts, named)  # raises
    return choices({"data": dataset, "model": {"name": model}}, facts)


def to_text(dataset: str, model: str, chosen: Sequence[ChosenDefault], header: Sequence[str]) -> str:
    """The recipe as a file: `header` as comments, then the keys, those of a group together."""
    lines = [*(f"# {line}" for line in header), f"data: {dataset}"]
    keys = [("model.name", model, ""), *chosen]
    opened: list[str] = []
    for key, value, reason in keys:
        *groups, last = key.split(".")
        lines += _opening(groups, opened)
        opened = groups
        said = f"{'  ' * len(groups)}{last}: {_written(value)}"
        lines.append(f"{said}  # {reason}" if reason else said)
    return "\n".join(lines) + "\n"


def _opening(groups: list[str], opened: list[str]) -> Iterator[str]:
    """The lines of the groups that are not open yet."""
    for depth, group in enumerate(groups):
        if opened[: depth + 1] != groups[: depth + 1]:
            yield f"{'  ' * depth}{group}:"


def _written(value: Any) -> str:
    """A value as YAML 1.2 reads it back: JSON, but for plain words."""
    return value if isinstance(value, str) and value.replace("_", "").isalpha() else json.dumps(value)
