"""The first sentences of a report: what the laws say about scaling, then which curve is lowest."""

from collections.abc import Iterator, Sequence

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import Axis
from wukongctl.laws.curves import Curve
from wukongctl.laws.joint_laws import JointLaw
from wukongctl.laws.measure import MEASURES
from wukongctl.laws.notes import CONTRADICTED
from wukongctl.laws.verdict import Trend
from wukongctl.report.evidence import analyses, held_out, is_dots, over_data, over_x
from wukongctl.report.numbers import compute, interval, listed, number
from wukongctl.report.wording import limits, loss, value

NOTES = "see the notes"
MOST_NAMED = 4
"""Curves that are named; more are counted."""


def headline(report: Report) -> str:
    """The main results in a few sentences."""
    said = [*_scaling(report), *held_out(report), *_lowest(report)]
    descriptive = all(one.descriptive for _, one in analyses(report))
    return " ".join([*said, f"Descriptive only: {NOTES}."] if descriptive else said)


def _scaling(report: Report) -> Iterator[str]:
    """What more of each axis does to the loss."""
    sized = [] if is_dots(report) else over_x(report)
    for curves, axis in ((sized, report.source.axis), (over_data(report), report.source.data)):
        if curves:
            yield _trend(curves, axis)
            yield from _slopes(curves, axis)
    yield from _joint([found for found in report.joint_laws if found.law is not None])


def _trend(curves: Sequence[tuple[str, Curve]], axis: Axis) -> str:
    if all(one.law is None for _, one in curves):
        return f"Too few {axis.places} to fit a law."
    groups: dict[Trend, list[str]] = {"improving": [], "plateau": [], "rising": [], "undecided": []}
    for name, one in curves:
        groups[one.plateau.verdict].append(name)
    if not (groups["improving"] or groups["plateau"] or groups["rising"]):
        return f"The runs do not tell whether the loss still falls with more {axis.name}."
    named = {verdict: _subject(names, len(curves)) for verdict, names in groups.items() if names}
    said = [_clause(verdict, who, axis, many=len(groups[verdict]) > 1) for verdict, who in named.items()]
    return "; ".join(said) + "."


def _subject(names: list[str], total: int) -> str:
    if total <= MOST_NAMED or len(names) < MOST_NAMED:
        return listed(names)
    return f"All {total} curves" if len(names) == total else f"{len(names)} of {total} curves"


def _clause(verdict: Trend, who: str, axis: Axis, *, many: bool) -> str:
    s, are = ("", "are") if many else ("s", "is")
    match verdict:
        case "improving":
            return f"{who} still improve{s} with more {axis.name}, up to the {axis.largest} measured"
        case "plateau":
            return f"{who} {are} on a plateau"
        case "rising":
            return f"{who} get{s} worse with more {axis.name}"
        case "undecided":
            return f"{who} {are} undecided"


def _slopes(curves: Sequence[tuple[str, Curve]], axis: Axis) -> Iterator[str]:
    """How fast the loss falls, for curves whose exponent can be quoted."""
    known = [(name, one, c) for name, one in curves if (c := _exponent(one)) is not None]
    if not known or len(known) > MOST_NAMED:
        return
    floored = all(one.form.floor != "zero" for _, one, _ in known)
    what = "the loss above its floor" if floored else "the loss"
    by = [
        f"{number(10**c, 2)}{f' for {name}' if len(curves) > 1 else ''} "
        f"(c = {number(c, 3)}; {interval(limits(one.law, 'c', one.intervals.get('c')))})"
        for name, one, c in known
    ]
    yield f"With ten times the {axis.name}, {what} is divided by {listed(by)}."


def _exponent(one: Curve) -> float | None:
    """The exponent of a curve that improves, unless its notes say not to quote it."""
    if one.law is None or "c" not in one.law.parameters or one.plateau.verdict != "improving":
        return None
    doubtful = (CONTRADICTED | {"exponent_weak", "bound_hit"}) & set(one.notes)
    return None if doubtful else one.law.parameters["c"]


def _joint(found: Sequence[JointLaw]) -> Iterator[str]:
    if len(found) > MOST_NAMED:
        return
    for one in found:
        law = one.quoted
        if law is None:
            continue
        exponents = [
            f"{name} = {value(law, name, 3)} ({interval(limits(law, name, law.intervals.get(name)))})"
            for name in ("a", "b")
        ]
        whose = f" of {one.curve}" if len(found) > 1 else ""
        by = " (Huber fit)" if one.differs else ""
        found_by = f"{' and '.join(exponents)}{by}"
        yield f"With size N and data D, the loss{whose} is E + A N^−a + B D^−b: {found_by}."


def _lowest(report: Report) -> Iterator[str]:
    """Which curve reaches the lowest loss; nothing for several tasks, whose losses are not alike."""
    if len({curve.group for curve in report.curves}) > 1:
        return
    leader = min(report.curves, key=lambda curve: curve.best.loss)
    what = "loss" if report.source.metric in MEASURES else report.source.measure.title
    whose = f"{leader.name}, " if len(report.curves) > 1 else ""
    at = f"at {compute(leader.best.x, report.unit)}{report.source.axis.per}"
    if report.is_data_study and leader.points[0].examples:
        at += f" and {leader.points[0].examples:,} {report.source.data.units[-1].after}"
    yield f"Lowest {what}: {whose}{loss(leader.best.loss, report)}, {at}."
