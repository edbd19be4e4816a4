"""From a point set to a report: the analysis of every curve, comparisons, exclusions and remarks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wukongctl.config.report import FormName, StatedLaw
from wukongctl.decisions import Finding, Verdict, overall
from wukongctl.errors import UsageError
from wukongctl.laws.axis import DENSE_PARAMETERS, PARAMETERS, Axis, Unit
from wukongctl.laws.comparisons import Comparisons, compare
from wukongctl.laws.curves import Curve, Method, analyze
from wukongctl.laws.data_laws import DataLaw, data_laws
from wukongctl.laws.data_scaling import one_amount
from wukongctl.laws.forms import form_named
from wukongctl.laws.grouping import grouped
from wukongctl.laws.joint_laws import JointLaw, joint_laws
from wukongctl.laws.points import Excluded, Point, PointSet
from wukongctl.runs.warning_groups import WarningGroup, group_warnings

EXTRAPOLATE = 2.0
NO_PREDICTION = "No prediction for "


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `scale-report`; `level` is the confidence level of all intervals."""

    source: PointSet
    floor: float | None
    level: float
    curves: tuple[Curve, ...]
    comparisons: Comparisons
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    stated: tuple[StatedLaw, ...] = ()
    data_laws: tuple[DataLaw, ...] = ()
    joint_laws: tuple[JointLaw, ...] = ()
    delta: float | None = None
    draws: int = 0

    @property
    def verdict(self) -> Verdict:
        """The verdict over all gates; `pass` when there are none."""
        return overall(self.findings)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        """Runs that are not fitted."""
        return self.source.excluded

    def warnings(self, curve: str | None = None) -> tuple[WarningGroup, ...]:
        """Warnings of the runs of one curve, or of all, grouped by code."""
        return group_warnings(each for each in self.source.warnings if curve in (None, each.name))

    @property
    def is_data_study(self) -> bool:
        """Whether only the amount of data varies: data laws, and no curve over size."""
        return bool(self.data_laws) and all(len(curve.sizes) == 1 for curve in self.curves)

    @property
    def x_range(self) -> tuple[float, float]:
        """Smallest and largest x, diverged runs included."""
        diverged = [run.x for run in self.excluded if run.reason == "diverged"]
        every = [point.x for point in self.source.points] + diverged
        return min(every), max(every)

    @property
    def unit(self) -> Unit:
        """The largest unit not above the middle of the axis."""
        return self.source.axis.unit_for(math.sqrt(math.prod(self.x_range)))


def build(
    source: PointSet,
    *,
    form: FormName | None = None,
    floor: float | None = None,
    level: float = 0.95,
    delta: float | None = None,
    draws: int = 0,
    stated: Sequence[StatedLaw] = (),
    at: Sequence[float] = (),
    compare_all: bool = False,
    thorough: bool = True,
) -> Report:
    """Analyze a point set.

    `delta` is the threshold of a robust fit, `draws` the number of bootstrap draws for joint laws; `stated`
    laws are drawn but not fitted. The loss is predicted `at` these values of x, in a study of data at these
    numbers of examples. `compare_all` compares every pair of curves, however many; a report that is not
    `thorough` leaves out rival forms and sensitivity.

    `floor` is the irreducible loss in the unit of the metric; when set, it is not fitted. Otherwise the form
    is `power` with a free floor, even where the Bayes loss is known: trained on a fixed number of examples,
    models of any size stay above it. Raises `UsageError` for a floor that is
    missing or not below every point, and for `delta` with a loss that has no logarithm.
    """
    source, merged = grouped(source)
    lowest = min(point.loss for point in source.points)
    if floor is not None and not source.zero_loss <= floor < lowest:
        raise UsageError(
            f"the floor {floor:g} is not between zero loss and the lowest loss, {lowest:g}",
            hint="the floor is the loss that no model can go below",
        )
    if delta is not None and lowest <= source.zero_loss:
        raise UsageError(
            f"`loss: huber-log` takes logarithms, and the lowest loss is {lowest:g}",
            hint="leave out `loss`, or exclude that run",
        )
    form = form or ("power" if floor is None else "power-known-floor")
    if floor is None and source.floor is not None and source.floor < lowest:
        floor = source.floor
    if form == "power-known-floor" and floor is None:
        raise UsageError("form `power-known-floor` needs a floor", hint="set `floor`, or use form `power`")
    draw_to = EXTRAPOLATE * max(point.x for point in source.points)
    names = sorted({point.curve for point in source.points}, key=_wukong_first)
    method = Method(form_named(form), floor, level, delta, thorough, tuple(at))
    points = {name: one_amount([point for point in source.points if point.curve == name]) for name in names}
    curves = tuple(analyze(name, points[name], source, method, draw_to=draw_to) for name in names)
    comparisons = compare(curves, everything=compare_all)
    only_data = all(len({point.x for point in each}) == 1 for each in points.values())
    laws_of_data = tuple(data_laws(source, method if only_data else replace(method, at=())))
    return Report(
        source=source,
        floor=floor,
        level=level,
        curves=curves,
        comparisons=comparisons,
        remarks=(
            *_remarks(source, curves, laws_of_data, comparisons),
            *merged,
            *(
                _unpredicted([law.analysis for law in laws_of_data] if only_data and laws_of_data else curves)
                if at
                else ()
            ),
        ),
        stated=tuple(stated),
        data_laws=laws_of_data,
        joint_laws=tuple(joint_laws(source, delta=delta, draws=draws, level=level)),
        delta=delta,
        draws=draws,
    )


def _unpredicted(curves: Sequence[Curve]) -> Iterator[str]:
    names = [f"`{curve.name}`" for curve in curves if not curve.forecasts]
    if names:
        places = curves[0].axis.places
        yield f"{NO_PREDICTION}{', '.join(names)}: it takes four {places} with losses above zero."


def by_parameters(report: Report) -> Report | None:
    """The same runs against dense parameters; None where they are unknown.

    Embedding tables are excluded: they dwarf the parameters that are scaled, so that loss against all
    parameters would be a vertical line.
    """
    points = report.source.points
    if any(not point.dense_params for point in points) or len({point.dense_params for point in points}) < 3:
        return None
    shifted = tuple(replace(point, x=float(point.dense_params or 0)) for point in points)
    return _along(report, shifted, DENSE_PARAMETERS)


def by_data(report: Report) -> Report | None:
    """The runs of every size with a data law, against examples; None without such a law."""
    labels = {
        (law.curve, law.gflop_per_example): f"{float(f'{law.gflop_per_example / report.unit.size:.3g}'):g}"
        for law in report.data_laws
    }
    many = len({law.curve for law in report.data_laws}) > 1
    shifted = tuple(
        replace(
            point,
            curve=f"{point.curve + ' ' if many else ''}{labels[key]} {report.unit.after or report.unit.name}",
            x=float(point.examples),
            examples=None,
        )
        for point in report.source.points
        if (key := (point.curve, point.x)) in labels and point.examples
    )
    if not shifted:
        return None
    return _along(report, shifted, report.source.data)


def along_other_axes(report: Report) -> list[Report]:
    """The same runs along other axes than compute, where these vary and are known."""
    sized = not report.is_data_study and report.source.axis is not PARAMETERS
    found = (by_parameters(report) if sized else None, by_data(report))
    return [shifted for shifted in found if shifted is not None]


def _along(report: Report, points: tuple[Point, ...], axis: Axis) -> Report:
    source = replace(report.source, points=points, excluded=(), convention=None, axis=axis, remarks=())
    return build(source, level=report.level, delta=report.delta, thorough=False)


def _wukong_first(name: str) -> tuple[bool, str]:
    return not name.lower().startswith("wukong"), name


def _remarks(
    source: PointSet, curves: Sequence[Curve], laws_of_data: Sequence[DataLaw], comparisons: Comparisons
) -> Iterator[str]:
    """Remarks on the whole set, one sentence each."""
    yield from source.remarks
    drawn = [point for curve in curves for point in curve.points]
    examples = sorted({point.examples for point in drawn if point.examples is not None})
    only_data = bool(laws_of_data) and all(len(curve.sizes) == 1 for curve in curves)
    if (left := len(source.points) - len(drawn)) and not only_data:
        yield f"Each curve over size uses one amount of data; {left} other runs enter the data laws only."
    if not only_data and len(examples) > 1:
        yield f"Runs were trained on between {examples[0]:,} and {examples[-1]:,} {source.data.base}."
    elif not only_data and examples:
        what = "Laws of size" if laws_of_data else "All results"
        yield f"{what} are for {examples[0]:,} training {source.data.base}; they may differ with more data."
    if any("auc" in (point.selected_on or "").lower() for point in source.points):
        yield "Checkpoints were selected by AUC, so their LogLoss may not be the lowest these models reach."
    if left := comparisons.left_out:
        yield (
            f"{left} curves are not compared pair by pair: name their tasks in a column `group`, or set "
            "`compare: all`."
        )
    for reason in ("diverged", "unfinished"):
        runs = [excluded for excluded in source.excluded if excluded.reason == reason]
        if runs:
            yield f"{len(runs)} {reason} {'run is' if len(runs) == 1 else 'runs are'} listed but not fitted."
