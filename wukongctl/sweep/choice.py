"""The best trial of a search, by its validation metric."""

from collections.abc import Sequence
from dataclasses import dataclass

from wukongctl.config.sweep import Search
from wukongctl.config.training import WatchedMetric
from wukongctl.training.metrics import METRICS


@dataclass(frozen=True)
class Choice:
    """The best trial, its validation metric, and the keys whose best value is at an edge of the grid."""

    index: int
    value: float | None
    why: str
    at_edge: tuple[str, ...]


def choose(search: Search, metric: WatchedMetric, values: Sequence[float | None]) -> Choice | None:
    """The best finished trial, the first of equals; None when none finished.

    `values` has one metric per trial, None where the trial did not finish.
    """
    finished = {index: value for index, value in enumerate(values) if value is not None}
    if not finished:
        return None
    best = METRICS[metric].ranked(finished, finished.__getitem__)[0]
    order = "highest" if METRICS[metric].higher_is_better else "lowest"
    why = f"{order} valid {metric} of {len(values)} trials with seed {search.seed}"
    failed = len(values) - len(finished)
    why += f", {failed} of them without a result" if failed else ""
    return Choice(best, finished[best], why, _at_edge(search, best))


def _at_edge(search: Search, index: int) -> tuple[str, ...]:
    """Numeric keys with three or more values whose best value is the smallest or the largest."""
    best = search.trials[index]
    found = []
    for key, tried in search.grid.items():
        numeric = all(isinstance(value, int | float) for value in tried)
        if numeric and len(tried) >= 3 and best[key] in (min(tried), max(tried)):
            found.append(key)
    return tuple(found)
