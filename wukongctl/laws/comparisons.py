"""Comparison of curves: the Pareto frontier, and the compute that matches another curve's best loss."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize

from wukongctl.laws.bands import Band
from wukongctl.laws.curves import Curve
from wukongctl.laws.equal_compute import (
    ExponentDifference,
    LossGap,
    exponent_differences,
    loss_differences,
    pairs_within_groups,
)

MOST_COMPARED = 12
Reached: TypeAlias = Literal["matched", "at least"]


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A size that no other size beats at equal or less compute."""

    curve: str
    x: float
    loss: float


@dataclass(frozen=True, slots=True)
class ComputeToMatch:
    """How many times more compute `curve` needs for its best loss than `reference` needs for the same loss.

    `ratio` interpolates the reference's mean losses linearly in ln x and has no interval; it is a lower bound
    (`at least`) when the reference's smallest size is already better. `law` is the same ratio by the fitted
    laws.
    """

    reference: str
    curve: str
    loss: float
    x: float
    reference_x: float
    ratio: float
    reached: Reached
    law: "LawRatio | None"


@dataclass(frozen=True, slots=True)
class LawRatio:
    """Compute to match by the fitted laws: the loss by `curve`'s law, the compute by `reference`'s.

    The interval contains the ratios at which the laws do not differ significantly, combining their 95 % bands
    (MOVER: Zou and Donner 2008, https://doi.org/10.1002/sim.3095). An end outside the reference's sizes is
    None.
    """

    loss: float
    ratio: float
    interval: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All comparisons of a report; `left_out` curves are in groups too large to compare unasked."""

    pareto: tuple[FrontierPoint, ...]
    compute_to_match: tuple[ComputeToMatch, ...]
    exponents: tuple[ExponentDifference, ...] = ()
    equal_compute: tuple[LossGap, ...] = ()
    left_out: int = 0


def compare(curves: Sequence[Curve], *, everything: bool = False) -> Comparisons:
    """The Pareto frontier of mean losses, and comparisons of the curves of each group, pair by pair.

    A group of more than a dozen curves is compared only if `everything` is: there are n (n - 1) / 2 pairs.
    """
    most = len(curves) if everything else MOST_COMPARED
    pairs = pairs_within_groups(curves, most)
    both = sorted([*pairs, *((b, a) for a, b in pairs)], key=lambda pair: _position(curves, pair))
    matches = (match(reference, curve) for reference, curve in both)
    compared = {curve.name for pair in pairs for curve in pair}
    sizes = Counter(curve.group for curve in curves)
    return Comparisons(
        pareto=tuple(point for group in sizes for point in frontier([c for c in curves if c.group == group])),
        compute_to_match=tuple(found for found in matches if found is not None),
        exponents=tuple(exponent_differences(pairs)),
        equal_compute=tuple(loss_differences(pairs)),
        left_out=sum(sizes[curve.group] > 1 and curve.name not in compared for curve in curves),
    )


def _position(curves: Sequence[Curve], pair: tuple[Curve, Curve]) -> tuple[int, int]:
    names = [curve.name for curve in curves]
    return names.index(pair[0].name), names.index(pair[1].name)


def frontier(curves: Sequence[Curve]) -> tuple[FrontierPoint, ...]:
    """Sizes in order of compute, each strictly better than every smaller or equal one."""
    sizes = [(size.x, size.loss, curve.name) for curve in curves for size in curve.sizes]
    best, found = np.inf, []
    for x, loss, name in sorted(sizes):
        if loss < best:
            best = loss
            found.append(FrontierPoint(name, x, loss))
    return tuple(found)


def match(reference: Curve, curve: Curve) -> ComputeToMatch | None:
    """Compute to match `curve`'s best loss; None when `reference` never reaches it, or has one size only."""
    if len(reference.sizes) < 2:
        return None
    target = curve.best
    x = np.log([size.x for size in reference.sizes])
    y = np.array([size.loss for size in reference.sizes])
    reached = np.flatnonzero(y <= target.loss)
    if not len(reached):
        return None
    first = int(reached[0])
    fraction = 0.0 if first == 0 else (y[first - 1] - target.loss) / (y[first - 1] - y[first])
    at = float(np.exp(x[0] if first == 0 else x[first - 1] + fraction * (x[first] - x[first - 1])))
    beyond = first == 0 and y[0] < target.loss
    return ComputeToMatch(
        reference=reference.name,
        curve=curve.name,
        loss=target.loss,
        x=target.x,
        reference_x=at,
        ratio=target.x / at,
        reached="at least" if beyond else "matched",
        law=_by_laws(reference.region, curve.region, target.x),
    )


def _by_laws(reference: Band | None, other: Band | None, largest: float) -> LawRatio | None:
    """The ratio by the fitted laws; None without both bands, or without a crossing in the measured range."""
    if reference is None or other is None:
        return None
    target, (low, high) = _value(other, largest), other.curve(largest)

    def excess(x: float) -> float:
        return _value(reference, x) - target

    def least(x: float) -> float:
        return excess(x) - float(np.hypot(_value(reference, x) - reference.curve(x)[0], high - target))

    def most(x: float) -> float:
        return excess(x) + float(np.hypot(reference.curve(x)[1] - _value(reference, x), target - low))

    at, early, late = (_crossing(reference, difference) for difference in (excess, least, most))
    if at is None:
        return None
    ends = None if late is None else largest / late, None if early is None else largest / early
    return LawRatio(target, largest / at, ends)


def _value(laws: Band, x: float) -> float:
    return float(laws.law.predict(np.array([x]))[0])


def _crossing(laws: Band, difference: Callable[[float], float]) -> float | None:
    """The compute at which a decreasing difference reaches zero, within the measured sizes."""
    low, high = np.log(laws.sizes.x[[0, -1]])

    def at(log_x: float) -> float:
        return difference(float(np.exp(log_x)))

    if at(low) <= 0 or at(high) > 0:
        return None
    return float(np.exp(optimize.brentq(at, low, high)))
