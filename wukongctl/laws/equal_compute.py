"""Two curves compared: their exponents, and their losses at equal compute, each with an interval.

The interval of a difference combines those of the two laws (MOVER: Zou and Donner 2008,
https://doi.org/10.1002/sim.3095).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wukongctl.decisions import Interval
from wukongctl.laws.bands import Band
from wukongctl.laws.curves import Curve
from wukongctl.laws.notes import CONTRADICTED


@dataclass(frozen=True, slots=True)
class ExponentDifference:
    """Exponent of `curve` minus exponent of `reference`, both with a free floor or both without."""

    curve: str
    reference: str
    difference: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class LossGap:
    """Loss of `curve` minus loss of `reference` at `x`, inside the sizes of both, by their laws."""

    curve: str
    reference: str
    x: float
    difference: float
    interval: Interval


def exponent_differences(pairs: Sequence[tuple[Curve, Curve]]) -> Iterator[ExponentDifference]:
    """One per pair whose laws have exponents of one form, and are not contradicted by their points."""
    for curve, reference in pairs:
        if curve.law is None or reference.law is None or curve.form is not reference.form:
            continue
        if CONTRADICTED & {*curve.notes, *reference.notes}:
            continue
        if "c" in curve.intervals and "c" in reference.intervals:
            ours, theirs = curve.law.parameters["c"], reference.law.parameters["c"]
            ends = difference((ours, curve.intervals["c"]), (theirs, reference.intervals["c"]))
            yield ExponentDifference(curve.name, reference.name, ours - theirs, ends)


def loss_differences(pairs: Sequence[tuple[Curve, Curve]]) -> Iterator[LossGap]:
    """Three per pair: at the ends of the range that both were measured in, and in its middle."""
    for curve, reference in pairs:
        ours, theirs = curve.region, reference.region
        if ours is None or theirs is None:
            continue
        low = max(curve.sizes[0].x, reference.sizes[0].x)
        high = min(curve.sizes[-1].x, reference.sizes[-1].x)
        if high < low:
            continue
        for x in dict.fromkeys((low, float(np.sqrt(low * high)), high)):
            a, b = _value(ours, x), _value(theirs, x)
            ends = difference((a, ours.curve(x)), (b, theirs.curve(x)))
            yield LossGap(curve.name, reference.name, x, a - b, ends)


def pairs_within_groups(curves: Sequence[Curve], most: int) -> list[tuple[Curve, Curve]]:
    """Pairs of curves of one group; none in a group of more than `most` curves."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.group, []).append(curve)
    small = (members for members in groups.values() if len(members) <= most)
    return [pair for members in small for pair in combinations(members, 2)]


def difference(first: tuple[float, Interval], second: tuple[float, Interval]) -> Interval:
    """The interval of first minus second."""
    (a, (a_low, a_high)), (b, (b_low, b_high)) = first, second
    below, above = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    return a - b - float(below), a - b + float(above)


def _value(law: Band, x: float) -> float:
    return float(law.law.predict(np.array([x]))[0])
