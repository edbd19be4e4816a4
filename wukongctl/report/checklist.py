"""What a reader needs to reproduce a law, filled from what the runs know; unknown items are named.

Sections and items follow the checklist of Li, Kudugunta and Zettlemoyer 2025, https://arxiv.org/abs/2502.18969.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE, PARAMETERS
from wukongctl.report.evidence import axes_of, over_x
from wukongctl.report.numbers import compute, listed, number


@dataclass(frozen=True, slots=True)
class Item:
    """One question of the checklist; `answer` is None where the runs do not say."""

    section: str
    question: str
    answer: str | None


def checklist(report: Report) -> tuple[Item, ...]:
    """Every item in order."""
    return (*_hypothesis(report), *_training(report), *_collection(report), *_fitting(report))


def _hypothesis(report: Report) -> Iterator[Item]:
    section = "Hypothesis"
    forms = sorted({curve.form.equation for curve in report.curves if curve.law is not None})
    laws = {"E + A D^-c" for _ in report.data_laws} | {
        "E + A N^-a + B D^-b" for one in report.joint_laws if one.law
    }
    yield Item(section, "Form of the law", "; ".join([*forms, *sorted(laws)]) or "none fitted")
    axis = "training FLOP per example" if report.source.axis is COMPUTE else report.source.axis.base
    axis += f", {report.source.convention}" if report.source.convention else ""
    varied = [] if report.is_data_study else [f"x: {axis}"]
    varied += [f"D: training {report.source.data.base}"] if report.data_laws else []
    yield Item(section, "Variables and their definition", "; ".join(varied))
    yield Item(section, "What is predicted", report.source.metric)
    yield Item(section, "Split", report.source.split)
    is_known = any(curve.form.floor == "known" for curve in report.curves)
    floor = f"known: {number(report.floor)}" if is_known else "fitted"
    yield Item(section, "Irreducible loss", floor)


def _training(report: Report) -> Iterator[Item]:
    section, points = "Training setup", report.source.points
    yield Item(section, "Number of runs", f"{len(points)} fitted, {len(report.excluded)} not fitted")
    low, high = report.x_range
    yield Item(
        section,
        report.source.axis.places.capitalize(),
        f"{compute(low, report.unit)} to {compute(high, report.unit)}",
    )
    yield Item(section, "Parameters", _parameters(report))
    along_data = report.source.axis.name == "data"
    amounts = [round(point.x) if along_data else point.examples for point in points]
    examples = sorted({amount for amount in amounts if amount})
    yield Item(section, "Training data per run", _range(examples, report.source.data.base))
    yield from _equal_data(section, report)
    known = [point.passes for point in points if point.passes is not None]
    yield Item(section, "Epochs", f"at most {number(max(known))}" if known else None)
    yield Item(section, "Dataset", report.source.dataset)
    yield Item(section, "Data fingerprint", report.source.fingerprint)
    yield Item(section, "Hyperparameters: which, and how chosen", None)
    yield Item(section, "Learning-rate schedule matched to the length of the run", None)


def _parameters(report: Report) -> str | None:
    if report.source.axis is PARAMETERS:
        low, high = report.x_range
        return f"{low:,.0f} to {high:,.0f}; whether embeddings are counted is unknown"
    params = sorted({point.dense_params for point in report.source.points if point.dense_params})
    return f"{params[0]:,} to {params[-1]:,} dense parameters, embeddings excluded" if params else None


def _equal_data(section: str, report: Report) -> Iterator[Item]:
    """Whether the runs of a curve are comparable: they may differ in x, not in data."""
    curves = [] if report.source.axis.name == "data" else [one for _, one in over_x(report)]
    if not curves:
        return
    known = all(point.examples for one in curves for point in one.points)
    unequal = [one.name for one in curves if "unequal_data" in one.notes]
    answer = f"no, see unequal_data: {listed(unequal)}" if unequal else "yes" if known else None
    yield Item(section, "Same amount of data for all runs of a curve", answer)


def _collection(report: Report) -> Iterator[Item]:
    section, points = "Data collection", report.source.points
    runs = sorted({size.runs for curve in report.curves for size in curve.sizes})
    yield Item(
        section, f"Seeds per {report.source.axis.place}", _range(runs, "run" if runs == [1] else "runs")
    )
    selected = sorted({point.selected_on for point in points if point.selected_on})
    yield Item(section, "Checkpoints selected on", ", ".join(selected) or None)
    reasons = sorted({run.reason for run in report.excluded})
    yield Item(section, "Runs left out, and why", ", ".join(reasons) or "none")
    yield Item(section, "Intermediate checkpoints used as points", None if points[0].run is None else "no")


def _fitting(report: Report) -> Iterator[Item]:
    section = "Fitting"
    loss = "squares of mean losses, weighted by runs"
    if report.delta is not None:
        loss = f"Huber loss of log residuals of runs, threshold {number(report.delta)}"
    yield Item(section, "Objective", loss)
    search = "grid of exponents and a bracketed root; E and A by NNLS"
    if report.delta is not None:
        search = "thirteen starts at once, then least_squares from the best"
    yield Item(section, "Optimizer and initialization", search)
    yield Item(section, "Uncertainty", f"{report.level * 100:g} % intervals")
    curves = [*report.curves, *(law.analysis for law in report.data_laws)]
    tested = [one for curve in curves for one in curve.extrapolation[:1]]
    places = " or ".join(axis.places for axis in axes_of(report))
    yield Item(section, f"Validated on held-out {places}", f"{len(tested)} laws" if tested else "no")
    yield Item(section, "Points and code published", None)


def _range(values: list[int], what: str) -> str | None:
    if not values:
        return None
    return f"{values[0]:,}{'' if len(values) == 1 else f' to {values[-1]:,}'} {what}"
