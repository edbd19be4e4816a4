"""Paired comparison of two models on the same held-out rows.

A difference has two sources of variance: the sample of rows, and the seeds of training. Rows are paired, so
the variance that both models share cancels. All seeds are evaluated on the same rows, so more seeds are no
larger sample of rows: per-example values are averaged over seeds, never pooled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wukongctl.decisions import student_quantile, student_tail
from wukongctl.training.contributions import Contributions


@dataclass(frozen=True, slots=True)
class Difference:
    """Metric of the first model minus metric of the second, with its variance by source."""

    value: float
    sampling_variance: float
    """From the sample of rows, given the seeds."""
    seed_variance: float | None
    """Of the mean over seeds; None when both models have a single seed."""
    df: float
    """Degrees of freedom of the sum, by Satterthwaite."""

    @property
    def standard_error(self) -> float:
        """Standard error of `value`; without the variance over seeds when there is one seed."""
        return float(np.sqrt(self.sampling_variance + (self.seed_variance or 0.0)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval by Student's t."""
        half = student_quantile(0.5 + level / 2, self.df) * self.standard_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided p value of no difference."""
        if self.standard_error == 0:
            return 1.0 if self.value == 0 else 0.0
        return 2 * student_tail(abs(self.value) / self.standard_error, self.df)


def compare(first: dict[int, Contributions], second: dict[int, Contributions]) -> Difference:
    """The difference of the means over seeds; both map seed → contributions on the same rows.

    With the same seeds on both sides runs are paired by seed; otherwise the sides are independent (Welch),
    and a single seed is assumed to have the variance of the other side. Degrees of freedom by Satterthwaite,
    with infinitely many for the rows.
    """
    mean_first, mean_second = _mean(list(first.values())), _mean(list(second.values()))
    apart = [a - b for a, b in zip(mean_first.parts, mean_second.parts, strict=True)]
    value = mean_first.value - mean_second.value
    # DeLong's variance has full weight on both parts: each is half of the value but all of its own error.
    sampling = float(sum(part.var(ddof=1) / len(part) for part in apart))
    seeds = _seed_variance(first, second)
    if seeds is None:
        return Difference(value, sampling, None, np.inf)
    variance, df = seeds
    total = sampling + variance
    return Difference(value, sampling, variance, df * (total / variance) ** 2 if variance > 0 else np.inf)


def _mean(runs: Sequence[Contributions]) -> Contributions:
    parts = (np.mean(part, axis=0) for part in zip(*(run.parts for run in runs), strict=True))
    return Contributions(tuple(parts), runs[0].weights)


def _seed_variance(
    first: dict[int, Contributions], second: dict[int, Contributions]
) -> tuple[float, float] | None:
    """Variance of the difference of the means over seeds and its degrees of freedom."""
    if first.keys() == second.keys():
        pairs = np.array([first[seed].value - second[seed].value for seed in first])
        return _variance_of_mean(pairs)
    sides = [_variance_of_mean(np.array([run.value for run in side.values()])) for side in (first, second)]
    known = [side for side in sides if side is not None]
    if not known:
        return None
    if len(known) == 1:  # assume the variance of the other side
        ((variance, df),) = known
        return variance * (1 + df + 1), df
    total = sum(variance for variance, _ in known)
    spread = sum(variance**2 / df for variance, df in known)
    return total, total**2 / spread if spread > 0 else np.inf


def _variance_of_mean(values: NDArray[np.float64]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    return float(values.var(ddof=1)) / len(values), len(values) - 1
