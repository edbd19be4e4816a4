"""Curves against each other: who is best at which compute, and how much compute matches whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize

from wukongctl.scaling.curves import Curve
from wukongctl.scaling.intervals import Interval, Region

Reached: TypeAlias = Literal["matched", "at least"]


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A size that no other size beats with less or equal compute."""

    model: str
    gflop_per_example: float
    loss: float


@dataclass(frozen=True, slots=True)
class ComputeToMatch:
    """How many times more compute `model` needs for its best loss than `reference` needs for the same loss.

    The ratio interpolates the reference's mean losses linearly in ln x; `at least` when its smallest size is
    already better. The interval comes from the reference's 95 % band, an open end is None; the target loss is
    taken as measured.
    """

    reference: str
    model: str
    loss: float
    gflop_per_example: float
    reference_gflop_per_example: float
    ratio: float
    reached: Reached
    interval: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All comparisons of a report."""

    pareto: tuple[FrontierPoint, ...]
    compute_to_match: tuple[ComputeToMatch, ...]


def compare(curves: Sequence[Curve]) -> Comparisons:
    """The Pareto frontier of mean losses, and every match of one curve's best loss by another curve."""
    matches = (match(reference, curve) for reference in curves for curve in curves if curve is not reference)
    return Comparisons(frontier(curves), tuple(found for found in matches if found is not None))


def frontier(curves: Sequence[Curve]) -> tuple[FrontierPoint, ...]:
    """Sizes in order of compute, each strictly better than every smaller or equal one."""
    sizes = [(size.gflop_per_example, size.loss, curve.model) for curve in curves for size in curve.sizes]
    best, found = np.inf, []
    for x, loss, model in sorted(sizes):
        if loss < best:
            best = loss
            found.append(FrontierPoint(model, x, loss))
    return tuple(found)


def match(reference: Curve, curve: Curve) -> ComputeToMatch | None:
    """Compute to match `curve`'s best loss; None when `reference` never reaches it."""
    target = curve.best
    x = np.log([size.gflop_per_example for size in reference.sizes])
    y = np.array([size.loss for size in reference.sizes])
    reached = np.flatnonzero(y <= target.loss)
    if not len(reached):
        return None
    first = int(reached[0])
    share = 0.0 if first == 0 else (y[first - 1] - target.loss) / (y[first - 1] - y[first])
    at = float(np.exp(x[0] if first == 0 else x[first - 1] + share * (x[first] - x[first - 1])))
    beyond = first == 0 and y[0] < target.loss
    return ComputeToMatch(
        reference=reference.model,
        model=curve.model,
        loss=target.loss,
        gflop_per_example=target.gflop_per_example,
        reference_gflop_per_example=at,
        ratio=target.gflop_per_example / at,
        reached="at least" if beyond else "matched",
        interval=_ratio_interval(reference.region, target.gflop_per_example, target.loss),
    )


def _ratio_interval(laws: Region | None, gflop: float, target: float) -> tuple[float | None, float | None]:
    if laws is None:
        return None, None
    early, late = (_crossing(laws, target, edge) for edge in (0, 1))
    return None if late is None else gflop / late, None if early is None else gflop / early


def _crossing(laws: Region, target: float, edge: Literal[0, 1]) -> float | None:
    """Where the lower (0) or upper (1) edge of the band falls to `target` within the sizes measured."""
    low, high = np.log(laws.sizes.x[[0, -1]])

    def above(log_x: float) -> float:
        band: Interval = laws.curve(float(np.exp(log_x)))
        return band[edge] - target

    if above(low) <= 0 or above(high) > 0:
        return None
    return float(np.exp(optimize.brentq(above, low, high)))
