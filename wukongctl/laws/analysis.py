"""From a point set to a report: every curve analyzed, curves compared, what was left out said."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wukongctl.config.report import FormName, StatedLaw
from wukongctl.decisions import Finding, Verdict, overall
from wukongctl.errors import UsageError
from wukongctl.laws.axis import DATA, PARAMETERS, Axis, Unit
from wukongctl.laws.comparisons import Comparisons, compare
from wukongctl.laws.curves import Curve, Method, analyze
from wukongctl.laws.data_scaling import DataLaw, JointLaw, data_laws, joint_laws
from wukongctl.laws.forms import form_named
from wukongctl.laws.points import Excluded, Point, PointSet
from wukongctl.runs.warning_groups import WarningGroup, group_warnings

EXTRAPOLATE = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything `scale-report` found; `level` is the confidence of all intervals."""

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
        """What the gates say together; `pass` when none was asked for."""
        return overall(self.findings)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        """Runs that entered no fit."""
        return self.source.excluded

    def warnings(self, curve: str | None = None) -> tuple[WarningGroup, ...]:
        """Warnings of the runs of one curve, or of all, grouped by code."""
        return group_warnings(each for each in self.source.warnings if curve in (None, each.name))

    @property
    def of_data(self) -> bool:
        """Whether data alone was varied: laws of data, and no curve over size."""
        return bool(self.data_laws) and all(len(curve.sizes) == 1 for curve in self.curves)

    @property
    def x_range(self) -> tuple[float, float]:
        """Smallest and largest x, diverged runs included."""
        diverged = [run.x for run in self.excluded if run.reason == "diverged"]
        every = [point.x for point in self.source.points] + diverged
        return min(every), max(every)

    @property
    def unit(self) -> Unit:
        """The largest unit that the middle of the axis reaches."""
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
) -> Report:
    """Analyze a point set; `delta` asks for a robust fit, `stated` laws are drawn.

    `draws` are those of the joint laws' bootstrap.

    `floor` is the irreducible loss in the unit of the metric; given, it is fitted as known. The form is
    `power` otherwise, even where the data set records its Bayes loss: with a fixed number of examples no
    size comes down to that, so each curve has a floor of its own above it. Raises `UsageError` for a floor
    that is missing or not below every point.
    """
    lowest = min(point.loss for point in source.points)
    if floor is not None and not source.zero_loss <= floor < lowest:
        raise UsageError(
            f"the floor {floor:g} is not between zero loss and the lowest loss, {lowest:g}",
            hint="a floor is a loss that no model can go below",
        )
    form = form or ("power" if floor is None else "power-known-floor")
    if floor is None and source.floor is not None and source.floor < lowest:
        floor = source.floor
    if form == "power-known-floor" and floor is None:
        raise UsageError("form `power-known-floor` needs a floor", hint="give it, or use form `power`")
    draw_to = EXTRAPOLATE * max(point.x for point in source.points)
    names = sorted({point.curve for point in source.points}, key=_wukong_first)
    method = Method(form_named(form), floor, level, delta)
    curves = tuple(analyze(name, source, method, draw_to=draw_to) for name in names)
    return Report(
        source=source,
        floor=floor,
        level=level,
        curves=curves,
        comparisons=compare(curves),
        remarks=tuple(_remarks(source, curves)),
        stated=tuple(stated),
        data_laws=tuple(data_laws(source, level=level)),
        joint_laws=tuple(joint_laws(source, delta=delta, draws=draws, level=level)),
        delta=delta,
        draws=draws,
    )


def by_parameters(report: Report) -> Report | None:
    """The same runs against dense parameters; None where those are not known.

    Embedding tables are left out on purpose: they dwarf what is scaled, so that loss against all parameters
    is a vertical line.
    """
    points = report.source.points
    if any(not point.dense_params for point in points) or len({point.dense_params for point in points}) < 3:
        return None
    moved = tuple(replace(point, x=(point.dense_params or 0) / 1e9) for point in points)
    return _along(report, moved, PARAMETERS)


def by_data(report: Report) -> Report | None:
    """The runs of every size with a law of data, against examples; None without such a law."""
    studied = {
        (law.curve, law.gflop_per_example): f"{float(f'{law.gflop_per_example / report.unit.size:.3g}'):g}"
        for law in report.data_laws
    }
    many = len({law.curve for law in report.data_laws}) > 1
    moved = tuple(
        replace(
            point,
            curve=f"{point.curve + ' ' if many else ''}{studied[key]} {report.unit.name}",
            x=point.examples / 1e9,
            examples=None,
        )
        for point in report.source.points
        if (key := (point.curve, point.x)) in studied and point.examples
    )
    if not moved:
        return None
    return _along(report, moved, DATA)


def along_other_axes(report: Report) -> list[Report]:
    """The same runs along other axes than compute, where those were varied and are known."""
    found = (None if report.of_data else by_parameters(report), by_data(report))
    return [moved for moved in found if moved is not None]


def _along(report: Report, points: tuple[Point, ...], axis: Axis) -> Report:
    source = replace(report.source, points=points, excluded=(), convention=None, axis=axis)
    return build(source, level=report.level)


def _wukong_first(name: str) -> tuple[bool, str]:
    return not name.lower().startswith("wukong"), name


def _remarks(source: PointSet, curves: Sequence[Curve]) -> Iterator[str]:
    """What a reader must know about the whole set, one sentence each."""
    drawn = [point for curve in curves for point in curve.points]
    examples = sorted({point.examples for point in drawn if point.examples is not None})
    if left := len(source.points) - len(drawn):
        yield f"Curves over size use one amount of data each; {left} other runs serve the laws of data alone."
    if len(examples) > 1:
        yield f"Runs saw between {examples[0]:,} and {examples[-1]:,} examples."
    elif examples:
        yield f"Every statement is about runs of {examples[0]:,} examples; more data may change the picture."
    if any("auc" in (point.selected_on or "").lower() for point in source.points):
        yield "Checkpoints were selected by AUC, so their LogLoss need not be the best these models reach."
    for reason in ("diverged", "unfinished"):
        runs = [excluded for excluded in source.excluded if excluded.reason == reason]
        if runs:
            yield f"{len(runs)} {reason} {'run is' if len(runs) == 1 else 'runs are'} listed and not fitted."
