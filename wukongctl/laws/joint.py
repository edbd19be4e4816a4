"""The joint law of size and data: L = E + A N^-a + B D^-b.

For fixed exponents, E, A and B solve a non-negative least squares problem (variable projection), so only two
parameters are searched: on a grid, then by rescaled least squares over all five. A and B have no meaning
without their exponents: compare predicted losses and exponents between fits, never A and B.

Intervals: a wild bootstrap of the points for least squares, a pairs bootstrap for the Huber loss.

Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556; Besiroglu et al. 2024,
https://arxiv.org/abs/2404.10102.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from scipy import optimize

from wukongctl.decisions import Interval
from wukongctl.laws.batch import exponentiated, minimize, power_terms
from wukongctl.laws.fit import ROUNDING, SolverStatus
from wukongctl.laws.form import Array

LOW, HIGH = 1e-3, 3.0
GRID = np.geomspace(LOW, HIGH, 48)
WANTED_POINTS, WANTED_RANGE, HIGHEST_CORRELATION = 8, 10.0, 0.95
SUBSETS = tuple(chain.from_iterable(combinations(range(3), count) for count in (1, 2, 3)))
NAMES = ("E", "A", "a", "B", "b")
OUTLIER_SDS = 6.0
NEGLIGIBLE = 1e-9
REFIT_STEPS = 60


@dataclass(frozen=True, slots=True)
class Grid:
    """Losses `y`, above `zero`, over size `n` and data `d`; `weights` are runs per point. All (k,)."""

    n: Array
    d: Array
    y: Array
    weights: Array
    zero: float = 0.0

    @property
    def scale_n(self) -> float:
        """Geometric mean of the sizes."""
        return float(np.exp(np.mean(np.log(self.n))))

    @property
    def scale_d(self) -> float:
        """Geometric mean of the amounts of data."""
        return float(np.exp(np.mean(np.log(self.d))))


@dataclass(frozen=True, slots=True)
class JointFit:
    """The joint law of one model; `parameters` take N and D in their own units.

    `intervals` are bootstrap percentiles, `outliers` the indices of points far from the law. `draws`, (B, 5),
    are (E, A, a, B, b) of the bootstrap, E above zero loss, with N and D divided by their geometric means;
    `delta` is the threshold of the Huber loss, None for least squares.
    """

    grid: Grid
    parameters: dict[str, float]
    status: SolverStatus
    at_bound: tuple[str, ...]
    rmse: float
    intervals: dict[str, tuple[float, float]]
    outliers: tuple[int, ...]
    draws: Array
    level: float
    delta: float | None = None

    @property
    def loss(self) -> str:
        """The loss that was minimized."""
        return "squares" if self.delta is None else "huber-log"

    @property
    def residuals(self) -> Array:
        """Mean loss minus law, per point."""
        return self.grid.y - self.predict(self.grid.n, self.grid.d)

    def between(self, values: Array) -> Interval | None:
        """The percentile interval of a quantity computed from every draw; None without draws."""
        if not len(values):
            return None
        low, high = np.percentile(values, [50 * (1 - self.level), 50 * (1 + self.level)])
        return float(low), float(high)

    def predict(self, n: Array, d: Array) -> Array:
        """Loss at size `n` with `d` examples, broadcast."""
        p = self.parameters
        return p["E"] + p["A"] * n ** -p["a"] + p["B"] * d ** -p["b"]


def obstacle(grid: Grid) -> str | None:
    """Why a joint law cannot be fitted to these points; None when it can."""
    distinct = len(set(zip(grid.n, grid.d, strict=True)))
    if distinct < WANTED_POINTS:
        return f"{distinct} combinations of size and data, at least {WANTED_POINTS} are needed"
    for values, name in ((grid.n, "sizes"), (grid.d, "amounts of data")):
        if values.max() < WANTED_RANGE * values.min():
            return f"{name} span less than a factor of ten"
    if abs(np.corrcoef(np.log(grid.n), np.log(grid.d))[0, 1]) >= HIGHEST_CORRELATION:
        return "size and data grow together, so their effects cannot be told apart"
    return None


def fit_joint(grid: Grid, *, delta: float | None = None, draws: int = 0, level: float = 0.95) -> JointFit:
    """Fit the law by weighted least squares, or by the Huber loss of log residuals with threshold `delta`.

    `draws` of a bootstrap over the points give percentile intervals.
    """
    theta, converged = _polish(grid, _start(grid), delta)
    parameters = _named(grid, theta)
    negligible = NEGLIGIBLE * float(np.max(grid.y - grid.zero))
    bounds = {
        "E": theta[0] <= negligible,
        "A": theta[1] <= negligible,
        "a": not LOW * 1.001 < theta[2] < HIGH * 0.999,
        "B": theta[3] <= negligible,
        "b": not LOW * 1.001 < theta[4] < HIGH * 0.999,
    }
    at_bound = tuple(name for name, active in bounds.items() if active)
    residual = grid.y - grid.zero - _law(grid, theta)
    drawn = np.zeros((0, 5))
    if draws:
        drawn = _wild(grid, theta, residual, draws) if delta is None else _pairs(grid, theta, delta, draws)
    tails = [50 * (1 - level), 50 * (1 + level)]
    named = [_named(grid, one) for one in drawn]
    return JointFit(
        grid=grid,
        parameters=parameters,
        status="bound hit" if at_bound else "converged" if converged else "iteration limit",
        at_bound=at_bound,
        rmse=float(np.sqrt(np.average(residual**2, weights=grid.weights))),
        intervals={name: _range([one[name] for one in named], tails) for name in NAMES} if named else {},
        outliers=_outliers(grid, theta),
        draws=drawn,
        level=level,
        delta=delta,
    )


def _law(grid: Grid, theta: Array) -> Array:
    """Loss above zero from (E, A, a, B, b), with N and D divided by their geometric means."""
    floor, amplitude, a, data, b = theta
    return floor + amplitude * (grid.n / grid.scale_n) ** -a + data * (grid.d / grid.scale_d) ** -b


def _named(grid: Grid, theta: Array) -> dict[str, float]:
    floor, amplitude, a, data, b = map(float, theta)
    values = (floor + grid.zero, amplitude * grid.scale_n**a, a, data * grid.scale_d**b, b)
    return dict(zip(NAMES, values, strict=True))


def _start(grid: Grid) -> Array:
    a, b = (axis.ravel() for axis in np.meshgrid(GRID, GRID, indexing="ij"))
    coefficients, rss = _project(grid, grid.y[None] - grid.zero, a[None], b[None])
    best = int(np.argmin(rss[0]))
    floor, amplitude, data = coefficients[0, best]
    return np.array([floor, amplitude, a[best], data, b[best]])


def _polish(grid: Grid, start: Array, delta: float | None) -> tuple[Array, bool]:
    target = grid.y - grid.zero
    scale = np.array([target.mean(), np.ptp(target) or 1, 1, np.ptp(target) or 1, 1])
    lower, upper = np.array([0, 0, LOW, 0, LOW]), np.array([np.inf, np.inf, HIGH, np.inf, HIGH])
    root = np.sqrt(grid.weights)

    def residual(theta: Array) -> Array:
        if delta is None:
            return root * (_law(grid, theta) - target) / scale[1]
        return np.repeat(np.log(np.maximum(_law(grid, theta), 1e-300) / target), grid.weights.astype(int))

    found = optimize.least_squares(
        residual, np.clip(start, lower + 1e-12, upper), bounds=(lower, upper), x_scale=scale, jac="3-point",
        loss="linear" if delta is None else "huber", f_scale=delta or 1.0,
        xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=3000,
    )  # fmt: skip
    return found.x, found.status > 0


def _project(grid: Grid, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Best non-negative E, A, B and their sums of squares for losses y: (R, k), exponents a, b: (R, G).

    R = 1 broadcasts in either. All subsets of the three columns are solved; the best feasible one is used.
    """
    n, d = np.log(grid.n / grid.scale_n), np.log(grid.d / grid.scale_d)
    columns = np.stack(
        [np.ones((*a.shape, len(n))), np.exp(-a[..., None] * n), np.exp(-b[..., None] * d)], -1
    )
    weighted = columns * grid.weights[:, None]  # (R, G, k, 3)
    gram = np.swapaxes(columns, -1, -2) @ weighted
    moment = np.swapaxes(weighted, -1, -2) @ y[:, None, :, None]  # (R, G, 3, 1)
    moment = moment[..., 0]
    gram = np.broadcast_to(gram, (*moment.shape, 3))
    total = np.sum(grid.weights * y**2, axis=-1)[:, None]
    best = np.full(moment.shape[:-1], np.inf)
    coefficients = np.zeros_like(moment)
    for subset in SUBSETS:
        index = list(subset)
        part = gram[..., index, :][..., index] + 1e-14 * np.eye(len(index))
        solved = np.linalg.solve(part, moment[..., index, None])[..., 0]
        rss = total - np.sum(solved * moment[..., index], axis=-1)
        better = np.all(solved >= 0, axis=-1) & (rss < best)
        best = np.where(better, rss, best)
        spread = np.zeros_like(moment)
        spread[..., index] = solved
        coefficients = np.where(better[..., None], spread, coefficients)
    return coefficients, best


def _pairs(grid: Grid, theta: Array, delta: float, draws: int) -> Array:
    """Laws by the Huber loss of points drawn with replacement: (draws, 5)."""
    count = len(grid.y)
    counts = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), draws) * grid.weights
    return _refit(grid, theta, np.log(grid.y - grid.zero), counts, delta)


def _wild(grid: Grid, theta: Array, residual: Array, draws: int) -> Array:
    """Laws by least squares of points whose residuals are multiplied by random weights: (draws, 5)."""
    inflated = residual / np.maximum(1 - _leverage(grid, theta), 0.05)
    y = _law(grid, theta) + inflated * webb(draws, len(grid.y))
    return _refit(grid, theta, y, grid.weights[None], None)


def _refit(grid: Grid, theta: Array, target: Array, weights: Array, delta: float | None) -> Array:
    """The law of every draw, all at once, from the law of the points: (draws, 5)."""
    draws = max(len(weights), len(np.atleast_2d(target)))
    axes = np.log(grid.n / grid.scale_n), np.log(grid.d / grid.scale_d)
    logs = power_terms(axes, None)
    model = logs if delta is not None else exponentiated(logs)
    least = np.log(1e-9 * float(np.mean(grid.y - grid.zero)))
    start = theta.copy()
    start[[0, 1, 3]] = np.log(np.maximum(start[[0, 1, 3]], 1e4 * np.exp(least)))
    bounds = np.array([least, least, LOW, least, LOW]), np.array([50.0, 50.0, HIGH, 50.0, HIGH])
    found, _ = minimize(
        model,
        np.broadcast_to(start, (draws, 5)),
        target,
        weights,
        bounds=bounds,
        delta=delta,
        steps=REFIT_STEPS,
    )
    found[:, [0, 1, 3]] = np.exp(found[:, [0, 1, 3]])
    return found


def _leverage(grid: Grid, theta: Array) -> Array:
    """Leverage of each point: residuals are too small by this fraction (HC3)."""
    n, d = np.log(grid.n / grid.scale_n), np.log(grid.d / grid.scale_d)
    size, data = np.exp(-theta[2] * n), np.exp(-theta[4] * d)
    slopes = [np.ones_like(n), size, -theta[1] * size * n, data, -theta[3] * data * d]
    basis, _ = np.linalg.qr(np.stack(slopes, axis=1) * np.sqrt(grid.weights)[:, None])
    return np.sum(basis**2, axis=1)


def _range(values: Sequence[float], tails: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, tails)
    return float(low), float(high)


def webb(draws: int, count: int, *, seed: int = 0) -> Array:
    """Webb's six-point weights, mean 0 and variance 1: (draws, count).

    More accurate than Rademacher weights when there are few clusters. Webb 2023,
    https://doi.org/10.1111/caje.12661.
    """
    points = np.sqrt([1.5, 1.0, 0.5])
    return np.random.default_rng(seed).choice(np.concatenate([-points, points]), (draws, count))


def _outliers(grid: Grid, theta: Array) -> tuple[int, ...]:
    """Indices of points whose log residual exceeds OUTLIER_SDS robust standard deviations."""
    log = np.log(np.maximum(_law(grid, theta), 1e-300) / (grid.y - grid.zero))
    spread = 1.4826 * float(np.median(np.abs(log - np.median(log))))
    if spread <= ROUNDING:
        return ()
    return tuple(int(i) for i in np.flatnonzero(np.abs(log - np.median(log)) > OUTLIER_SDS * spread))
