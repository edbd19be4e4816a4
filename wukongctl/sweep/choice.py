"""Which setting of a search wins, and why: decided by the validation metric of the trials alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wukongctl.config.sweep import Search


@dataclass(frozen=True)
class Choice:
    """The winning trial, its validation metric, and grid keys whose best value is at an end of the grid."""

    index: int
    value: float | None
    why: str
    at_edge: tuple[str, ...]


def choose(
    search: Search, metric: Literal["auc", "logloss"], values: Sequence[float | None]
) -> Choice | None:
    """The best of the trials that finished (None: it did not); the first of equals. None when none did."""
    finished = {index: value for index, value in enumerate(values) if value is not None}
    if not finished:
        return None
    sign = -1 if metric == "auc" else 1
    best = min(finished, key=lambda index: (sign * finished[index], index))
    order = "highest" if metric == "auc" else "lowest"
    why = f"{order} valid {metric} of {len(values)} trials with seed {search.seed}"
    lost = len(values) - len(finished)
    why += f", {lost} of them without a result" if lost else ""
    return Choice(best, finished[best], why, _at_edge(search, best))


def _at_edge(search: Search, index: int) -> tuple[str, ...]:
    """Numeric keys with three values or more whose winner is the smallest or the largest tried."""
    winner = search.trials[index]
    found = []
    for key, tried in search.grid.items():
        numeric = all(isinstance(value, int | float) for value in tried)
        if numeric and len(tried) >= 3 and winner[key] in (min(tried), max(tried)):
            found.append(key)
    return tuple(found)
