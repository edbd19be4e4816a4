"""What speaks for or against the laws of a report: held-out tests and joint fits, in words."""

from collections.abc import Iterator

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE, Axis
from wukongctl.laws.contest import Contest
from wukongctl.laws.curves import Curve
from wukongctl.laws.holdout import HiddenSize
from wukongctl.laws.joint_laws import JointLaw
from wukongctl.laws.notes import CONTRADICTED
from wukongctl.report.numbers import compute, interval, listed, number

LEAST_SIZES = 3
"""Sizes that make a curve to look at."""


def over_x(report: Report) -> list[tuple[str, Curve]]:
    """The curves along the report's axis, with their names; none in a study of data."""
    return [] if report.is_data_study else [(curve.name, curve) for curve in report.curves]


def over_data(report: Report) -> list[tuple[str, Curve]]:
    """The curves over data at a fixed size, with their names."""
    return [
        (f"{law.curve} at {compute(law.gflop_per_example, report.unit)}", law.analysis)
        for law in report.data_laws
    ]


def analyses(report: Report) -> list[tuple[str, Curve]]:
    """Every curve that is reported, over size and over data, with its name."""
    return [*over_x(report), *over_data(report)]


def axes_of(report: Report) -> list[Axis]:
    """The axes of the curves that are reported, each once."""
    return list(dict.fromkeys(one.axis for _, one in analyses(report)))


def has_joint_law(report: Report) -> bool:
    """Whether some curve has a joint law of size and data."""
    return any(found.law is not None for found in report.joint_laws)


def is_dots(report: Report) -> bool:
    """Whether the curves over size are single dots, as in a set of sizes and data without a grid."""
    return has_joint_law(report) and all(len(curve.sizes) < LEAST_SIZES for curve in report.curves)


def held_out(report: Report) -> Iterator[str]:
    """How many laws predicted their held-out largest size, or most data; nothing without tests.

    Where the points contradict the law there is none to praise, or to blame.
    """
    tested = [
        (name, one.extrapolation[0].sizes[0])
        for name, one in analyses(report)
        if one.extrapolation and not CONTRADICTED & set(one.notes)
    ]
    decided = [(name, size) for name, size in tested if size.inside is not None and size.informative]
    what = " or ".join(axis.largest for axis in axes_of(report))
    held = f"the loss at the {what}, held out" if what.startswith("most") else f"its held-out {what}"
    if not decided:
        if tested:
            laws = "The law's prediction" if len(tested) == 1 else "Every law's prediction"
            yield f"{laws} of {held.removesuffix(', held out')} is too uncertain to test it."
        return
    missed = [name for name, size in decided if size.failed]
    beaten = [name for name, size in decided if not size.failed and size.no_gain_is_better]
    if len(decided) == 1:
        name = f"of {decided[0][0]} " if len(tested) > 1 else ""
        worse = ", but worse than the guess of no further gain" if beaten else ""
        yield f"The law {name}{'failed to predict' if missed else 'predicted'} {held}{worse}."
        return
    testable = " that could be tested" if len(decided) < len(tested) else ""
    every = "Both laws" if len(decided) == 2 else f"All {len(decided)} laws"
    hit = f"{len(decided) - len(missed)} of {len(decided)} laws"
    failures = f"; missed by {listed(missed)}" if missed else ""
    worse = f"; the guess of no further gain was better for {listed(beaten)}" if beaten else ""
    yield f"{hit if missed else every}{testable} predicted {held.replace('its ', 'their ')}{failures}{worse}."


def tested(report: Report) -> Iterator[tuple[str, str, HiddenSize]]:
    """Name, place and result of every test on a held-out largest size, or most data."""
    for name, one in analyses(report):
        if not one.extrapolation:
            continue
        size = one.extrapolation[0].sizes[0]
        is_size = any(one is curve for curve in report.curves)
        at = compute(size.x, report.unit) if is_size else f"{round(size.x):,} {one.axis.units[-1].after}"
        yield name, at, size


def inside(size: HiddenSize) -> str:
    """Whether the observed loss is inside the interval, for a table."""
    if size.inside is None:
        return "–"
    return ("yes" if size.inside else "no") if size.informative else "interval too wide"


def contest_sentence(name: str, found: Contest, axis: Axis) -> str:
    """Which form the points of one curve prefer, and which one predicts."""
    if not found.is_decisive:
        preferred = "too few points to compare forms"
    elif found.preferred is not None:
        preferred = f"the points prefer {found.preferred}"
    else:
        preferred = f"the points do not tell {listed(sorted(found.alike))} apart"
    tested = ""
    if found.held_out_error is not None:
        count = found.held_out_sizes
        largest = axis.largest if count == 1 else f"{count} largest {axis.places}"
        error = number(found.held_out_error, 3)
        tested = f"; it predicted the {largest} from the others with an RMS log error of {error}"
    return f"{name}: {preferred}. Predictions are by {found.chosen.rival.name}{tested}."


def sensitivity(one: Curve) -> str | None:
    """How far leaving out one size moves the exponent; None where it was not measured."""
    if one.law is None or "c" not in one.law.parameters or not one.left_out:
        return None
    exponents = [left.parameters["c"] for left in one.left_out]
    what = one.axis.place if len(one.left_out) == len(one.sizes) else f"tenth of the {one.axis.places}"
    boot = one.bootstrap.intervals["c"] if one.bootstrap else None
    also = f"; bootstrap over runs: {interval(boot)}" if boot else ""
    return f"Without any one {what}, c is {interval((min(exponents), max(exponents)))}{also}."


def total_unit(report: Report) -> str:
    """The unit of size times data: compute of the whole training where size is compute per example."""
    axis = report.source.axis
    return "total GFLOP" if axis is COMPUTE else f"{axis.base} × {report.source.data.base}"


def joint_sentences(found: JointLaw, report: Report) -> Iterator[str]:
    """What the table of joint laws does not say."""
    law = found.quoted
    if law is None or found.other is None:
        return
    if found.differs:
        names = listed(list(found.differs))
        yield (
            f"{found.curve}: the two losses differ in {names} by more than their intervals. "
            "A few points decide the fit by least squares, so what follows is by the Huber fit."
        )
    if found.outliers:
        yield f"{found.curve}, far from the law: {'; '.join(found.outliers)}."
    if (test := found.hold_out) is not None:
        yield (
            f"{found.curve}: fitted without the {test.points} points of most compute, the law predicts them "
            f"with an RMS log error of {number(test.rmsle, 3)} (mean of predicted minus observed loss: "
            f"{number(test.error, 2)}); the guess of no further gain has {number(test.no_gain_rmsle, 3)}."
        )
    if found.optima:
        exponent = law.parameters["b"] / (law.parameters["a"] + law.parameters["b"])
        yield (
            f"{found.curve}, compute-optimal: {report.source.axis.base} grow as {total_unit(report)} to the "
            f"power of {number(exponent, 3)}, {report.source.data.base} to the power of "
            f"{number(1 - exponent, 3)}."
        )
