"""Paired comparison of two sets of runs, one difference per configuration.

Runs of a configuration are paired by seed where both sets have the same seeds, which removes the variance
that they share; otherwise their means are compared. The variance is pooled over configurations, because three
seeds are too few for an estimate of their own, and with that of A/A runs where there are any.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wukongctl.laws.data_scaling import varies_data
from wukongctl.laws.points import Point


@dataclass(frozen=True, slots=True)
class Configuration:
    """What two runs share to be compared: curve, size and, where the data varies, number of examples."""

    curve: str
    x: float
    dense_params: int | None
    examples: int | None

    def described(self, unit: str) -> str:
        """Such as `wukong at 0.1 GFLOP`, for x in `unit`."""
        data = "" if self.examples is None else f", {self.examples:,} examples"
        return f"{self.curve} at {self.x:.4g} {unit}{data}"


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
    paired: bool = False
    """Whether both sets have the same seeds."""


def by_configuration(points: Sequence[Point], *, by_examples: bool) -> dict[Configuration, list[Point]]:
    """Runs grouped by configuration, in order of first appearance; by examples only if `by_examples`.

    Early stopping changes the number of examples a little, which does not make another configuration.
    """
    groups: dict[Configuration, list[Point]] = {}
    for point in points:
        examples = point.examples if by_examples else None
        key = Configuration(point.curve, point.x, point.dense_params, examples)
        groups.setdefault(key, []).append(point)
    return groups


def differences(new: Sequence[Point], old: Sequence[Point]) -> tuple[LossDifference, ...]:
    """One difference per configuration that is in both sets."""
    by_examples = varies_data([*new, *old])
    before = by_configuration(old, by_examples=by_examples)
    return tuple(
        _difference(configuration, runs, before[configuration])
        for configuration, runs in by_configuration(new, by_examples=by_examples).items()
        if configuration in before
    )


def _difference(configuration: Configuration, new: Sequence[Point], old: Sequence[Point]) -> LossDifference:
    new_losses, old_losses = (
        {run.seed: run.loss for run in runs if run.seed is not None} for runs in (new, old)
    )
    if new_losses.keys() == old_losses.keys() and len(new_losses) == len(new) == len(old):
        pairs = np.array([new_losses[seed] - old_losses[seed] for seed in sorted(new_losses)])
        squares = float(np.sum((pairs - pairs.mean()) ** 2))
        mean, count = float(pairs.mean()), len(pairs)
        return LossDifference(configuration, mean, 1 / count, squares, count - 1, paired=True)
    a, b = (np.array([run.loss for run in runs]) for runs in (new, old))
    squares = 2 * float(np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2))
    scale = (1 / len(a) + 1 / len(b)) / 2
    return LossDifference(configuration, float(a.mean() - b.mean()), scale, squares, len(a) + len(b) - 2)


def pooled(found: Sequence[LossDifference], *, sd: float = 0.0, df: int = 0) -> tuple[float, int] | None:
    """Variance of the difference of two single runs and its degrees of freedom; None when unknown.

    `sd` and `df` come from A/A runs.
    """
    total = df + sum(one.df for one in found)
    if total == 0:
        return None
    return (df * sd**2 + sum(one.squares for one in found)) / total, total
