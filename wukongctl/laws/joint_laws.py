"""Joint laws of a report: both losses side by side, a held-out test, the compute-optimal split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wukongctl.config.report import DEFAULT_DELTA
from wukongctl.decisions import Interval
from wukongctl.laws.axis import Axis
from wukongctl.laws.data_scaling import single_epoch, varies_data
from wukongctl.laws.form import Array
from wukongctl.laws.grouping import TOLERANCE
from wukongctl.laws.holdout import rmsle
from wukongctl.laws.joint import Grid, JointFit, fit_joint, obstacle
from wukongctl.laws.notes import differ_at_one_cost
from wukongctl.laws.points import Point, PointSet

COMPARED = ("E", "a", "b")
HELD_OUT_FRACTION = 4.0
"""Points within this factor of the largest compute are held out."""
LARGEST_HELD_OUT = 1 / 3


@dataclass(frozen=True, slots=True)
class JointHoldOut:
    """The points of most compute, left out of the fit: how well the rest predicts them.

    `error` is the mean of predicted minus observed loss, `no_gain_rmsle` of the guess that they reach the
    lowest loss of the rest.
    """

    points: int
    fitted: int
    rmsle: float | None
    no_gain_rmsle: float | None
    error: float


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best size and data for `compute` GFLOP of training in all, and the loss predicted there."""

    compute: float
    gflop_per_example: float
    examples: float
    loss: float
    gflop_interval: Interval | None
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class IsoFlop:
    """Runs of about equal total compute: the best size, and the minimum of a parabola in ln N.

    `minimum` is None where the parabola has none inside the sizes.
    """

    compute: float
    sizes: int
    best: float
    loss: float
    minimum: float | None


@dataclass(frozen=True, slots=True)
class JointLaw:
    """Loss over GFLOP per example N and examples D for one curve; `law` is None for the stated `reason`.

    `other` is fitted by the other loss, `differs` names the parameters for which one of the two estimates is
    outside the interval of the other.
    """

    curve: str
    law: JointFit | None
    reason: str | None
    outliers: tuple[str, ...] = ()
    other: JointFit | None = None
    differs: tuple[str, ...] = ()
    hold_out: JointHoldOut | None = None
    optima: tuple[Optimum, ...] = ()
    isoflops: tuple[IsoFlop, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def quoted(self) -> JointFit | None:
        """The fit to quote: by the Huber loss where the two differ, since a few points decide the other."""
        return _quoted(self.law, self.other, self.differs)


def joint_laws(source: PointSet, *, delta: float | None, draws: int, level: float) -> Iterator[JointLaw]:
    """A joint law for every curve with varying data, or the reason why there is none."""
    for curve in sorted({point.curve for point in source.points}):
        points = [p for p in single_epoch(source.points) if p.curve == curve and p.examples]
        if not varies_data(points):
            continue
        grid, names = _grid(points, source)
        if reason := _reason(points, grid):
            yield JointLaw(curve, None, reason, isoflops=tuple(isoflops(grid)))
        else:
            yield _fitted(curve, grid, names, delta, draws, level)


def _reason(points: Sequence[Point], grid: Grid) -> str | None:
    """Why no joint law is fitted, if so."""
    if differ_at_one_cost(points):
        return "runs of one size differ in their parameters"
    if float(np.min(grid.y)) <= grid.zero:
        return "a loss of zero has no logarithm"
    return obstacle(grid)


def _fitted(
    curve: str, grid: Grid, names: Sequence[str], delta: float | None, draws: int, level: float
) -> JointLaw:
    law = fit_joint(grid, delta=delta, draws=draws, level=level)
    other = fit_joint(grid, delta=DEFAULT_DELTA if delta is None else None, draws=draws, level=level)
    far = sorted({*law.outliers, *other.outliers})
    differs = tuple(name for name in COMPARED if _differ(law, other, name))
    quoted = _quoted(law, other, differs) or law
    return JointLaw(
        curve=curve,
        law=law,
        reason=None,
        outliers=tuple(names[i] for i in far),
        other=other,
        differs=differs,
        hold_out=hold_out(grid, quoted.delta),
        optima=tuple(optima(quoted)),
        isoflops=tuple(isoflops(grid)),
        names=tuple(names),
    )


def _quoted(law: JointFit | None, other: JointFit | None, differs: Sequence[str]) -> JointFit | None:
    return other if differs and law is not None and law.delta is None else law


def _differ(law: JointFit, other: JointFit, name: str) -> bool:
    def outside(one: JointFit, estimate: float) -> bool:
        low, high = one.intervals.get(name, (-np.inf, np.inf))
        return not low <= estimate <= high

    return outside(law, other.parameters[name]) or outside(other, law.parameters[name])


def hold_out(grid: Grid, delta: float | None) -> JointHoldOut | None:
    """Predict the points of most compute from the others; None when those carry no joint law."""
    compute = grid.n * grid.d
    order = np.argsort(compute)
    near = compute >= compute.max() / HELD_OUT_FRACTION
    most = max(1, int(len(order) * LARGEST_HELD_OUT))
    hidden = np.zeros(len(order), dtype=bool)
    hidden[order[-min(most, int(near.sum())) :]] = True
    rest = _part(grid, ~hidden)
    if obstacle(rest) is not None:
        return None
    law, y = fit_joint(rest, delta=delta), grid.y[hidden]
    predicted = law.predict(grid.n[hidden], grid.d[hidden])
    lowest = np.full(len(y), rest.y.min())
    scores = rmsle(predicted, y, grid.zero), rmsle(lowest, y, grid.zero)
    return JointHoldOut(len(y), len(rest.y), *scores, float(np.mean(predicted - y)))


def _part(grid: Grid, kept: NDArray[np.bool_]) -> Grid:
    return Grid(grid.n[kept], grid.d[kept], grid.y[kept], grid.weights[kept], grid.zero)


def optima(law: JointFit) -> Iterator[Optimum]:
    """The compute-optimal split at the least, middle and most compute measured, and at ten times it."""
    p, grid = law.parameters, law.grid
    if law.at_bound:
        return
    compute = grid.n * grid.d
    low, high = float(compute.min()), float(compute.max())
    for budget in (low, float(np.sqrt(low * high)), high, 10 * high):
        size = _best_size(budget, p["A"], p["a"], p["B"], p["b"])
        drawn = _drawn_sizes(law, budget)
        data = budget / size
        inside = grid.n.min() <= size <= grid.n.max() and grid.d.min() <= data <= grid.d.max()
        loss = float(law.predict(np.array([size]), np.array([data]))[0])
        yield Optimum(budget, size, data, loss, law.between(drawn), not inside)


def _best_size(budget: float, size: float, a: float, data: float, b: float) -> float:
    """N that minimizes A N^-a + B (budget / N)^-b."""
    return float((a * size / (b * data) * budget**b) ** (1 / (a + b)))


def _drawn_sizes(law: JointFit, budget: float) -> Array:
    """The best size of every draw."""
    grid, draws = law.grid, law.draws[np.all(law.draws[:, [1, 3]] > 0, axis=1)]
    size, a, data, b = draws[:, 1], draws[:, 2], draws[:, 3], draws[:, 4]
    scaled = budget / (grid.scale_n * grid.scale_d)
    return grid.scale_n * (a * size / (b * data) * scaled**b) ** (1 / (a + b))


def isoflops(grid: Grid, *, tolerance: float = 0.15, least: int = 3) -> Iterator[IsoFlop]:
    """Groups of points of equal compute, within `tolerance`, that have at least three sizes."""
    compute = grid.n * grid.d
    order = np.argsort(compute)
    cuts = np.flatnonzero(np.diff(np.log(compute[order])) > tolerance) + 1
    for group in np.split(order, cuts):
        n, y = grid.n[group], grid.y[group]
        if len(np.unique(n)) < least or np.ptp(np.log(compute[group])) > 2 * tolerance:
            continue
        best = int(np.argmin(y))
        middle = float(np.exp(np.mean(np.log(compute[group]))))
        yield IsoFlop(middle, len(np.unique(n)), float(n[best]), float(y[best]), _valley(np.log(n), y))


def _valley(log_n: Array, y: Array) -> float | None:
    """The minimum of a parabola through the points, where it has one between them."""
    curvature, slope, _ = np.polyfit(log_n, y, 2)
    if curvature <= 0:
        return None
    at = -slope / (2 * curvature)
    return float(np.exp(at)) if log_n.min() <= at <= log_n.max() else None


def _grid(points: Sequence[Point], source: PointSet) -> tuple[Grid, list[str]]:
    losses: dict[tuple[float, int], list[float]] = {}
    for point in points:
        losses.setdefault((point.x, point.examples or 0), []).append(point.loss)
    n, d = (np.array([key[i] for key in losses], dtype=float) for i in (0, 1))
    y, runs = (np.array([f(found) for found in losses.values()], dtype=float) for f in (np.mean, len))
    names = [f"{_place(x, source.axis)}, {count:,} {source.data.base}" for x, count in losses]
    return Grid(n, d, y, runs, source.zero_loss), names


def _place(x: float, axis: Axis) -> str:
    unit = axis.unit_for(x * (1 + TOLERANCE))
    return f"{x / unit.size:.4g} {unit.name if unit.after is None else unit.after}"
