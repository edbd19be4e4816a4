"""Two sets of runs of the same configurations, compared run by run.

Runs of one configuration are paired by seed where both sets have the same seeds, which removes what the
seeds share; otherwise their means are compared. The variance is pooled over configurations, since three
seeds say little about their own, and with A/A runs where those were measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wukongctl.laws.data_scaling import varies_data
from wukongctl.laws.points import Point


@dataclass(frozen=True, slots=True)
class Configuration:
    """What two runs must share to be compared: the curve, the size and, in a study of data, its amount."""

    curve: str
    x: float
    dense_params: int | None
    examples: int | None

    def __str__(self) -> str:
        data = "" if self.examples is None else f", {self.examples:,} examples"
        return f"{self.curve} at {self.x:.4g} GFLOP{data}"


@dataclass(frozen=True, slots=True)
class LossDifference:
    """Loss of the new runs minus loss of the old ones, positive when worse.

    `squares` and `df` estimate the variance of the difference of two single runs; `scale` times that is the
    variance of `mean`.
    """

    configuration: Configuration
    mean: float
    scale: float
    squares: float
    df: int


def by_configuration(points: Sequence[Point], *, amounts: bool) -> dict[Configuration, list[Point]]:
    """Runs grouped by configuration, in the order of their first run; by amount of data only if `amounts`.

    Runs that stop early see a few examples more or less, which does not make them different.
    """
    groups: dict[Configuration, list[Point]] = {}
    for point in points:
        examples = point.examples if amounts else None
        key = Configuration(point.curve, point.x, point.dense_params, examples)
        groups.setdefault(key, []).append(point)
    return groups


def differences(new: Sequence[Point], old: Sequence[Point]) -> tuple[LossDifference, ...]:
    """One difference per configuration that both sets have."""
    amounts = varies_data([*new, *old])
    before = by_configuration(old, amounts=amounts)
    return tuple(
        _difference(configuration, runs, before[configuration])
        for configuration, runs in by_configuration(new, amounts=amounts).items()
        if configuration in before
    )


def _difference(configuration: Configuration, new: Sequence[Point], old: Sequence[Point]) -> LossDifference:
    fresh, known = ({run.seed: run.loss for run in runs if run.seed is not None} for runs in (new, old))
    if fresh.keys() == known.keys() and len(fresh) == len(new) == len(old):
        pairs = np.array([fresh[seed] - known[seed] for seed in sorted(fresh)])
        squares = float(np.sum((pairs - pairs.mean()) ** 2))
        return LossDifference(configuration, float(pairs.mean()), 1 / len(pairs), squares, len(pairs) - 1)
    a, b = (np.array([run.loss for run in runs]) for runs in (new, old))
    squares = 2 * float(np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2))
    scale = (1 / len(a) + 1 / len(b)) / 2
    return LossDifference(configuration, float(a.mean() - b.mean()), scale, squares, len(a) + len(b) - 2)


def pooled(found: Sequence[LossDifference], *, sd: float = 0.0, df: int = 0) -> tuple[float, int] | None:
    """Variance of the difference of two single runs and its degrees of freedom, None when unknown.

    `sd` and `df` come from A/A runs.
    """
    total = df + sum(one.df for one in found)
    if total == 0:
        return None
    return (df * sd**2 + sum(one.squares for one in found)) / total, total
