"""A report in words: rounded numbers, and sentences on what a curve shows."""

from collections.abc import Iterator

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE, Unit
from wukongctl.laws.comparisons import ComputeToMatch
from wukongctl.laws.curves import GAIN_FACTOR, Curve, Plateau
from wukongctl.laws.fit import Fit
from wukongctl.laws.intervals import HiddenSize
from wukongctl.laws.notes import ADVISED_DECADES, ADVISED_SEEDS, ADVISED_SIZES
from wukongctl.laws.points import LossMetric

METRIC_NAMES: dict[LossMetric, str] = {
    "logloss": "LogLoss",
    "excess_logloss": "Excess LogLoss over the Bayes optimum",
    "relative_logloss": "LogLoss relative to the baseline, in percent",
}
DESCRIPTIVE = (
    f"A law worth extrapolating needs at least {ADVISED_SIZES} sizes, {ADVISED_DECADES:g} decades of compute "
    f"and {ADVISED_SEEDS} seeds per size, and no lack_of_fit; "
    "otherwise read the curve as a description of these runs."
)
NOTHING = 1e-15
"""Smaller numbers are rounding errors of zero."""
FIXED_FLOORS = {"known": "known", "zero": "zero loss"}
VERDICTS = {
    "improving": "improving up to its largest size",
    "plateau": "on a plateau",
    "undecided": "undecided",
}


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits and a true minus sign; a dash for None."""
    if value is None:
        return "–"
    size = abs(value) if abs(value) >= NOTHING else 0.0
    value = value if size else 0.0
    text = f"{value:.{digits - 1}e}" if size and (size < 1e-4 or size >= 1e7) else f"{value:.{digits}g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def interval(ends: tuple[float | None, float | None] | None, digits: int = 3) -> str:
    """`low to high`; an open end reads as `…`."""
    if ends is None:
        return "–"
    low, high = ("…" if end is None else number(end, digits) for end in ends)
    return f"{low} to {high}"


def compute(gflop: float, unit: Unit) -> str:
    """Compute per example in the report's unit, or in a larger one from 1000: `1.25 GFLOP`."""
    units = COMPUTE.units
    if gflop >= 1000 * unit.size * (1 - 1e-4) and unit in units[1:]:
        return compute(gflop, units[units.index(unit) - 1])
    return f"{number(gflop / unit.size)} {unit.name}"


def loss(value: float, report: Report) -> str:
    """A loss, with its percent sign where it is relative."""
    return (
        f"{number(value)}\N{NO-BREAK SPACE}%" if report.source.metric == "relative_logloss" else number(value)
    )


def headline(report: Report) -> str:
    """The main result in one sentence."""
    descriptive = not report.is_data_study and all(curve.descriptive for curve in report.curves)
    leader = min(report.curves, key=lambda curve: curve.best.loss)
    best = f"{leader.name} reaches the lowest loss, {loss(leader.best.loss, report)}"
    at = f"at {compute(leader.best.x, report.unit)} per example"
    if report.is_data_study and leader.points[0].examples:
        at += f" and {leader.points[0].examples:,} examples"
    sentence = (
        f"{best}, {at}."
        if len(report.curves) > 1
        else f"Lowest loss: {loss(leader.best.loss, report)}, {at}."
    )
    return f"{sentence} Descriptive only: see the notes." if descriptive else sentence


def sentences(curve: Curve, report: Report) -> Iterator[str]:
    """The results for one curve, in order of importance."""
    if curve.law is None:
        yield f"Too few sizes ({len(curve.sizes)}) to fit {curve.form.equation}."
        return
    yield _law(curve, curve.law, report)
    if curve.gain is None:
        yield (
            f"The sizes span a factor of {number(curve.span, 3)} in compute: "
            f"the loss saved by the last {GAIN_FACTOR:g}x was not measured."
        )
    else:
        gained = f"saved {number(curve.gain.gain, 3)}{_within(curve.gain.interval, report)}"
        at = compute(curve.gain.x, report.unit)
        yield f"Under this law, the last 4x in compute, up to {at}, {gained}."
        yield _plateau(curve.plateau, open_end="curvature_undecided" in curve.notes)
    if curve.extrapolation:
        yield _prediction(curve.extrapolation[0].sizes[0], report)


def _law(curve: Curve, law: Fit, report: Report) -> str:
    values = [
        f"{name} = {number(value)}{_within(curve.intervals.get(name), report)}"
        for name, value in law.parameters.items()
        if name != "A"  # an amplitude has no meaning without its exponent
    ]
    if curve.form.floor in FIXED_FLOORS:
        values.insert(0, f"E = {number(law.level)} ({FIXED_FLOORS[curve.form.floor]})")
    return f"{curve.form.equation}, with {'; '.join(values)}."


def _within(ends: tuple[float, float] | None, report: Report) -> str:
    return f" ({report.level * 100:g}\N{NO-BREAK SPACE}%: {interval(ends)})" if ends else " (no interval)"


def _plateau(plateau: Plateau, *, open_end: bool) -> str:
    margin = f"the smallest relevant gain is {number(plateau.margin, 2)}"
    match plateau.verdict:
        case "improving":
            beyond = "; the points do not tell whether this continues" if open_end else ""
            return f"With a free floor, the last 4x in compute clearly reduced the loss ({margin}){beyond}."
        case "plateau":
            return f"With a free floor, the last 4x in compute did not clearly reduce the loss ({margin})."
        case "undecided":
            return f"The points do not distinguish improvement from a plateau ({margin})."


def _prediction(size: HiddenSize, report: Report) -> str:
    message = f"Fitted without its largest size, the law predicts {loss(size.predicted, report)} there; "
    message += f"observed: {loss(size.observed, report)}"
    if size.inside is None:
        return f"{message} (too few sizes for an interval)."
    where = "inside" if size.inside else "outside"
    ends = interval(size.interval)
    return (
        f"{message}, {where} the {report.level * 100:g}\N{NO-BREAK SPACE}% interval for a new run ({ends})."
    )


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
        f"{found.curve} needs {least}{number(found.ratio, 3)} times the compute of {found.reference} "
        f"for a loss of {loss(found.loss, report)} ({compute(found.x, report.unit)} against "
        f"{compute(found.reference_x, report.unit)}), "
        f"interpolated between measured sizes.{law}"
    )
