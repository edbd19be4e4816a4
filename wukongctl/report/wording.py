"""A report in words: rounded numbers, and sentences on what a curve shows."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE, Axis
from wukongctl.laws.comparisons import ComputeToMatch
from wukongctl.laws.curves import Curve
from wukongctl.laws.fit import Fit
from wukongctl.laws.holdout import HiddenSize
from wukongctl.laws.joint import HIGH, LOW, JointFit
from wukongctl.laws.notes import ADVISED_DECADES, ADVISED_SEEDS, ADVISED_SIZES, CONTRADICTED
from wukongctl.laws.verdict import GAIN_FACTOR, Plateau, Trend
from wukongctl.report.numbers import compute, interval, listed, number

Ends: TypeAlias = tuple[float | None, float | None] | None
BOUND = 1e-6
"""How near to a bound of the search a number is that bound."""
FIXED_FLOORS = {"known": "known", "zero": "zero loss"}


def descriptive(axes: Sequence[Axis]) -> str:
    """What `descriptive only` means for curves along these axes."""
    places = " or ".join(axis.places for axis in axes)
    return (
        f"A law worth extrapolating needs at least {ADVISED_SIZES} {places}, "
        f"{ADVISED_DECADES:g} decades and {ADVISED_SEEDS} seeds each, and neither lack_of_fit nor misfit; "
        "otherwise read the curve as a description of these runs."
    )


def verdicts(axis: Axis) -> dict[Trend, str]:
    """Verdict → its words, for curves over this axis."""
    return {
        "improving": f"improving up to {axis.end}",
        "plateau": "on a plateau",
        "rising": "worse with size" if axis is COMPUTE else f"worse with more {axis.name}",
        "undecided": "undecided",
    }


def loss(value: float, report: Report) -> str:
    """A loss, with its percent sign where it is relative."""
    unit = report.source.measure.unit
    return f"{number(value)}\N{NO-BREAK SPACE}{unit}" if unit else number(value)


def exponent(
    law: Fit | None, ends: tuple[float, float] | None, notes: Collection[str], digits: int = 4
) -> str:
    """The exponent with its interval; `no law` where the points contradict the law."""
    if law is None or "c" not in law.parameters:
        return "–"
    if CONTRADICTED & set(notes):
        return "no law"
    return f"{value(law, 'c', digits)} ({interval(limits(law, 'c', ends))})"


def value(law: Fit | JointFit, name: str, digits: int = 4) -> str:
    """A parameter; `≤` or `≥` a bound of the search, where the fit is best there."""
    found = law.parameters[name]
    if name not in law.at_bound:
        return number(found, digits)
    low, _ = searched(law, name)
    return f"{'≤' if found <= low * (1 + BOUND) + BOUND else '≥'} {number(found, digits)}"


def limits(law: Fit | JointFit | None, name: str, ends: tuple[float, float] | None) -> Ends:
    """Confidence limits, with None for an end that is a bound of the search, and so no limit."""
    if law is None or ends is None:
        return ends
    low, high = searched(law, name)
    return (
        None if ends[0] <= low + BOUND * (1 + abs(low)) else ends[0],
        None if ends[1] >= high * (1 - BOUND) else ends[1],
    )


def searched(law: Fit | JointFit, name: str) -> tuple[float, float]:
    """The range in which a parameter is searched: zero loss for a floor, the grid of an exponent."""
    if isinstance(law, JointFit):
        ranges = {"E": (law.grid.zero, math.inf), "a": (LOW, HIGH), "b": (LOW, HIGH)}
    else:
        grid = law.form.exponents
        ranges = {"E": (law.sizes.zero, math.inf)}
        ranges |= {} if grid is None else {"c": (float(grid[0]), float(grid[-1]))}
    return ranges.get(name, (-math.inf, math.inf))


def sentences(curve: Curve, report: Report) -> Iterator[str]:
    """The results for one curve, in order of importance."""
    axis = report.source.axis
    if curve.law is None:
        yield f"Too few {axis.places} ({len(curve.sizes)}) to fit {curve.form.equation}."
        return
    yield _law(curve, curve.law, report)
    if curve.gain is None:
        yield (
            f"The {axis.places} span a factor of {number(curve.span, 3)} in {axis.name}: "
            f"the loss saved by the last {GAIN_FACTOR:g}x was not measured."
        )
    else:
        gained = f"saved {number(curve.gain.gain, 3)}{_within(curve.gain.interval, report)}"
        at = compute(curve.gain.x, report.unit)
        yield f"Under this law, the last 4x in {axis.name}, up to {at}, {gained}."
        yield _plateau(curve.plateau, axis, open_end="curvature_undecided" in curve.notes)
    if curve.extrapolation:
        yield _prediction(curve.extrapolation[0].sizes[0], report)


def _law(curve: Curve, law: Fit, report: Report) -> str:
    values = [
        f"{name} = {value(law, name)}{_within(limits(law, name, curve.intervals.get(name)), report)}"
        for name in law.parameters
        if name != "A"  # an amplitude has no meaning without its exponent
    ]
    if curve.form.floor in FIXED_FLOORS:
        values.insert(0, f"E = {number(law.level)} ({FIXED_FLOORS[curve.form.floor]})")
    return f"{curve.form.equation}, with {'; '.join(values)}."


def _within(ends: Ends, report: Report) -> str:
    return f" ({report.level * 100:g}\N{NO-BREAK SPACE}%: {interval(ends)})" if ends else " (no interval)"


def _plateau(plateau: Plateau, axis: Axis, *, open_end: bool) -> str:
    margin = f"the smallest relevant gain is {number(plateau.margin, 2)}"
    match plateau.verdict:
        case "improving":
            beyond = "; the points do not tell whether this continues" if open_end else ""
            return (
                f"With a free floor, the last 4x in {axis.name} clearly reduced the loss ({margin}){beyond}."
            )
        case "plateau":
            return (
                f"With a free floor, the last 4x in {axis.name} did not clearly reduce the loss ({margin})."
            )
        case "rising":
            return "The loss rises with " + ("size." if axis is COMPUTE else f"{axis.name}.")
        case "undecided":
            if plateau.doubts:
                return f"No verdict, because of {listed(list(plateau.doubts))} ({margin})."
            return f"The points do not distinguish improvement from a plateau ({margin})."


def _prediction(size: HiddenSize, report: Report) -> str:
    axis = report.source.axis
    message = f"Fitted without {axis.end}, the law predicts "
    message += f"{loss(size.predicted, report)} there; observed: {loss(size.observed, report)}"
    if size.inside is None:
        return f"{message} (too few {axis.places} for an interval)."
    where = "inside" if size.inside else "outside"
    ends = interval(size.interval)
    wide = "" if size.informative else ", which is wider than all losses measured and so tests nothing"
    level = f"{report.level * 100:g}\N{NO-BREAK SPACE}%"
    return f"{message}, {where} the {level} interval for a new run ({ends}){wide}."


def matches(report: Report) -> list[ComputeToMatch]:
    """The comparisons to report: those in which the reference needs no more compute."""
    return [found for found in report.comparisons.compute_to_match if found.ratio >= 1]


def match_sentence(found: ComputeToMatch, report: Report) -> str:
    """A compute-to-match comparison in one sentence."""
    least = "at least " if found.reached == "at least" else ""
    law = ""
    if found.law is not None:
        law = f" By the fitted laws: {number(found.law.ratio, 3)} times, {interval(found.law.interval)}."
    return (
        f"{found.curve} needs {least}{number(found.ratio, 3)} times the {report.source.axis.name} of "
        f"{found.reference} for a loss of {loss(found.loss, report)} ({compute(found.x, report.unit)} "
        f"against {compute(found.reference_x, report.unit)}), "
        f"interpolated between measured {report.source.axis.places}.{law}"
    )
