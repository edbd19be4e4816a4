"""Scaling laws fitted by variable projection.

For a fixed exponent c, the floor E and the amplitude A of `y = E + A g(x; c)` solve a non-negative least
squares problem with a unique solution; only c is searched, on a grid and then by a bracketed root of the
gradient. There are no initial values and no optimizer tolerances to choose.

All numbers are in the unit of the metric. `zero` is the value of y at which the loss is 0 (-100 for a
relative LogLoss in percent): E >= zero and A >= 0 mean that the loss is positive and falls with compute.

Golub and Pereyra 1973, https://doi.org/10.1137/0710036; why not gradient descent on all of E, A, c:
Besiroglu et al. 2024, https://arxiv.org/abs/2404.10102.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from wukongctl.laws.form import Array, Form
from wukongctl.laws.power import POWER

SolverStatus: TypeAlias = Literal["converged", "bound hit", "iteration limit"]

ROUNDING = 1e-12
LACK_OF_FIT_RATIO = 4.0
EXACT = 1e-9
"""Relative deviations up to which points lie exactly on a law: tests of chance say nothing about them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """One curve: distinct sizes `x` (GFLOP per example, ascending), mean losses `y` and `runs`, all (k,).

    `spread_ss` is the sum of squares of single runs around the mean of their size, with `spread_df` degrees
    of freedom: the seed noise, pooled over sizes. `every` holds x and loss of the single runs, (n,) each,
    where they are known.
    """

    x: Array
    y: Array
    runs: Array
    spread_ss: float = 0.0
    spread_df: int = 0
    zero: float = 0.0
    every: tuple[Array, Array] | None = None

    @property
    def seed_variance(self) -> float | None:
        """Variance of a single run around its size's mean; None without repeated sizes."""
        return self.spread_ss / self.spread_df if self.spread_df else None

    @property
    def decades(self) -> float:
        """Range of the sizes in decades."""
        return float(np.log10(self.x[-1] / self.x[0]))

    def smallest(self, count: int) -> "Sizes":
        """The `count` smallest sizes; the pooled seed noise is kept, as it does not depend on size."""
        return self.where(np.arange(len(self.x)) < count)

    def where(self, kept: NDArray[np.bool_]) -> "Sizes":
        """The sizes marked in `kept`, (k,), with the seed noise of all."""
        x, y, runs = self.x[kept], self.y[kept], self.runs[kept]
        every = None
        if self.every is not None:
            single = np.isin(self.every[0], x)
            every = self.every[0][single], self.every[1][single]
        return Sizes(x, y, runs, self.spread_ss, self.spread_df, self.zero, every)

    @property
    def single_runs(self) -> tuple[Array, Array]:
        """x and loss of every run; means stand for runs that are not known singly."""
        if self.every is not None:
            return self.every
        counts = self.runs.astype(int)
        return np.repeat(self.x, counts), np.repeat(self.y, counts)


@dataclass(frozen=True, slots=True)
class Fit:
    """A law y = level + amplitude g(x; exponent) fitted to `sizes`; `rss` is weighted by runs.

    `parameters` are named by the form and exclude a fixed level.
    """

    sizes: Sizes
    form: Form
    level: float
    amplitude: float
    exponent: float
    status: SolverStatus
    at_bound: tuple[str, ...]
    rss: float
    delta: float | None = None
    """Threshold of the Huber loss that was minimized; None for least squares."""

    @property
    def parameters(self) -> dict[str, float]:
        """Name → value, for x in the unit of its axis."""
        if self.form.exponents is None:
            return {"p": self.level, "q": -self.amplitude}
        named = {"E": self.level, "A": self.amplitude, "c": self.exponent}
        return {name: named[name] for name in self.form.parameters}

    @property
    def df(self) -> int:
        """Degrees of freedom: sizes minus parameters."""
        return len(self.sizes.x) - len(self.form.parameters)

    @property
    def rmse(self) -> float:
        """Weighted root mean square of the residuals, in the unit of the metric."""
        return float(np.sqrt(self.rss / np.sum(self.sizes.runs)))

    @property
    def aicc(self) -> float | None:
        """AICc with the variance counted as a parameter; None when there are too few sizes.

        Hurvich and Tsai 1989, https://doi.org/10.1093/biomet/76.2.297. The RMSE is at least the rounding
        error.
        """
        count, free = len(self.sizes.x), len(self.form.parameters) + 1
        if count - free - 1 <= 0:
            return None
        rounding = float(np.finfo(float).eps) * float(np.max(np.abs(self.sizes.y - self.sizes.zero)))
        penalty = 2 * free + 2 * free * (free + 1) / (count - free - 1)
        return float(2 * count * np.log(max(self.rmse, rounding or 1e-300)) + penalty)

    def predict(self, x: Array) -> Array:
        """Loss at x, same shape."""
        return self.level + self.amplitude * self.form.basis(x, self.exponent)


def sizes_of(x: Sequence[float], y: Sequence[float], *, zero: float = 0.0) -> Sizes:
    """Group single runs, any order, into sizes."""
    every, losses = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    distinct, index, runs = np.unique(every, return_inverse=True, return_counts=True)
    means = np.bincount(index, losses) / runs
    spread_ss = float(np.sum((losses - means[index]) ** 2))
    order = np.lexsort((losses, every))
    single = every[order], losses[order]
    return Sizes(distinct, means, runs.astype(float), spread_ss, len(every) - len(distinct), zero, single)


def fit(sizes: Sizes, form: Form = POWER, *, floor: float | None = None) -> Fit | None:
    """Fit one form to a curve; None when there are fewer sizes than parameters.

    `floor` is the floor of a form with a known floor, by default zero loss.
    """
    if len(sizes.x) < len(form.parameters):
        return None
    if form.exponents is None:
        return _fit_line(sizes, form)
    known = {"free": None, "zero": sizes.zero, "known": sizes.zero if floor is None else floor}
    return _fit_decay(sizes, form, form.exponents, known[form.floor or "free"])


@dataclass(frozen=True, slots=True)
class Projection:
    """The best E and A for one exponent; `amplitude` is for x divided by the center."""

    floor: float
    amplitude: float
    rss: float
    slope: float  # d rss / d c, by the envelope theorem


def project(sizes: Sizes, form: Form, exponent: float, floor: float | None) -> Projection:
    """Solve for E (when `floor` is None) and A by non-negative least squares."""
    scaled = sizes.x / form.center(sizes.x)
    basis, weights = form.basis(scaled, exponent), np.sqrt(sizes.runs)
    columns = [basis] if floor is not None else [np.ones_like(basis), basis]
    base = sizes.zero if floor is None else floor
    solution, _ = optimize.nnls(np.stack(columns, axis=1) * weights[:, None], (sizes.y - base) * weights)
    level = base if floor is not None else base + float(solution[0])
    amplitude = float(solution[-1])
    residual = sizes.y - level - amplitude * basis
    slope = 2 * amplitude * np.sum(sizes.runs * residual * basis * form.decay(scaled, exponent))
    return Projection(level, amplitude, float(np.sum(sizes.runs * residual**2)), float(slope))


def squares_on_grid(sizes: Sizes, form: Form, grid: Array, floor: float | None) -> Array:
    """The smallest sum of squares at every exponent of `grid`, as `project` finds it: (C,)."""
    basis = form.basis_at_log(np.log(sizes.x / form.center(sizes.x)), grid[:, None])
    target = sizes.y - (sizes.zero if floor is None else floor)
    weights = sizes.runs
    square, moment = basis**2 @ weights, basis @ (weights * target)
    alone = np.maximum(moment / square, 0.0)  # the floor at its bound, or known
    best = np.sum(weights[None] * (target - alone[:, None] * basis) ** 2, axis=1)
    if floor is not None:
        return best
    mean, level = basis @ weights / weights.sum(), float(np.average(target, weights=weights))
    deviation = basis - mean[:, None]
    amplitude = deviation @ (weights * (target - level)) / np.maximum(deviation**2 @ weights, 1e-300)
    both = np.sum(weights[None] * (target - level - amplitude[:, None] * deviation) ** 2, axis=1)
    feasible = (amplitude >= 0) & (level - amplitude * mean >= 0)
    flat = float(np.sum(weights * (target - level) ** 2)) if level >= 0 else np.inf
    return np.where(feasible, both, np.minimum(best, flat))


def _fit_decay(sizes: Sizes, form: Form, grid: Array, floor: float | None) -> Fit:
    best = int(np.argmin(squares_on_grid(sizes, form, grid, floor)))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    exponent, converged = _polish(sizes, form, (low, high), floor)
    found = project(sizes, form, exponent, floor)
    bounds = {
        "E": floor is None and found.floor - sizes.zero <= ROUNDING * float(np.max(sizes.y - sizes.zero)),
        "A": found.amplitude <= 0,
        "c": not grid[0] < exponent < grid[-1],
    }
    at_bound = tuple(name for name, active in bounds.items() if active)
    status: SolverStatus = "bound hit" if at_bound else "converged" if converged else "iteration limit"
    amplitude = float(found.amplitude * form.scale(exponent, form.center(sizes.x)))
    return Fit(sizes, form, found.floor, amplitude, exponent, status, at_bound, found.rss)


def _polish(sizes: Sizes, form: Form, ends: tuple[float, float], floor: float | None) -> tuple[float, bool]:
    """The exponent between the ends where the gradient vanishes, or the end it points to."""
    low, high = ends

    def slope(c: float) -> float:
        return project(sizes, form, c, floor).slope

    if slope(low) < 0 < slope(high):
        root, info = optimize.brentq(slope, low, high, xtol=1e-15, full_output=True)
        return float(root), info.converged
    found = optimize.minimize_scalar(
        lambda c: project(sizes, form, c, floor).rss, bounds=ends, method="bounded"
    )
    candidates = (low, float(found.x), high)
    return min(candidates, key=lambda c: project(sizes, form, c, floor).rss), bool(found.success)


def _fit_line(sizes: Sizes, form: Form) -> Fit:
    """Weighted least squares for a form without an exponent."""
    x = -form.basis(sizes.x, 1.0)
    mean_x, mean_y = np.average(x, weights=sizes.runs), np.average(sizes.y, weights=sizes.runs)
    deviation = sizes.runs * (x - mean_x)
    slope = float(np.sum(deviation * (sizes.y - mean_y)) / np.sum(deviation * (x - mean_x)))
    level = float(mean_y - slope * mean_x)
    rss = float(np.sum(sizes.runs * (sizes.y - level - slope * x) ** 2))
    return Fit(sizes, form, level, -slope, 1.0, "converged", (), rss)


def f_test(simple: Fit, full: Fit) -> float | None:
    """p value of the extra parameters of `full` over the nested `simple`; None without degrees of freedom.

    With repeated seeds every run counts, not only the mean of its size, unless sizes scatter around `full`
    far more than seeds do.
    """
    extra = simple.df - full.df
    rss, df = full.rss, full.df
    if full.sizes.spread_df and not lacks_fit(full):
        rss, df = rss + full.sizes.spread_ss, df + full.sizes.spread_df
    if df <= 0 or extra <= 0 or rss <= 0:
        return None
    statistic = (simple.rss - full.rss) / extra / (rss / df)
    return float(stats.f.sf(max(statistic, 0.0), extra, df))


def lacks_fit(law: Fit) -> bool:
    """Whether the residual variance exceeds four times the seed variance, and rounding."""
    seeds = law.sizes.seed_variance
    if seeds is None or law.df <= 0:
        return False
    rounding = (EXACT * float(np.mean(law.sizes.y - law.sizes.zero))) ** 2
    return law.rss / law.df > max(LACK_OF_FIT_RATIO * seeds, rounding)
