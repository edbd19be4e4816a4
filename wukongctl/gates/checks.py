"""The gates G0 to G7: tests of a report, alone or against a baseline."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from wukongctl.config.report import AaNoise, CurveGate, GatesSpec
from wukongctl.decisions import Evidence, Finding, GateName, GateTest, Interval, Verdict, decide
from wukongctl.errors import UsageError
from wukongctl.gates.paired import LossDifference, differences, pooled
from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE, Axis
from wukongctl.laws.bands import Band, band
from wukongctl.laws.curves import Curve
from wukongctl.laws.measure import Measure
from wukongctl.laws.points import Point

AA_SDS = 2.0
SHOWN_SIZES = 3
NOT_IDENTIFIED = {"exponent_weak", "bound_hit", "floor_not_identified"}


def check(
    report: Report, gates: GatesSpec, *, base: Report | None, noise: AaNoise | None
) -> tuple[Finding, ...]:
    """The findings of the configured gates, in order of gate number."""
    if base is None and gates.need_baseline:
        names = ", ".join(f"`{name}`" for name in gates.need_baseline)
        raise UsageError(
            f"gates without a baseline to compare with: {names}",
            hint="add `--baseline` with a report.json or a folder of runs",
        )
    tests: list[Finding | GateTest] = [*_validity(report, base)]
    if base is not None:
        tests += _cost(report, base) if gates.cost else ()
        tests += _against_baseline(report, base, gates, noise)
    tests += _of_report(report, gates)
    tests.sort(key=lambda one: one.gate)
    decided = iter(decide([one for one in tests if isinstance(one, GateTest)], level=report.level))
    return tuple(next(decided) if isinstance(one, GateTest) else one for one in tests)


def margin_of(configured: float | None, measure: Measure, noise: AaNoise | None) -> float:
    """The configured margin, or else twice the A/A noise, at least the smallest relevant difference."""
    if configured is not None:
        return configured
    return max(measure.smallest_difference, AA_SDS * noise.sd if noise else 0.0)


def _against_baseline(
    report: Report, base: Report, gates: GatesSpec, noise: AaNoise | None
) -> Iterator[GateTest | Finding]:
    measure = report.source.measure
    if gates.quality:
        margin = margin_of(gates.quality.margin, measure, noise)
        axis = report.source.axis
        yield from quality(report.source.points, base.source.points, margin=margin, noise=noise, axis=axis)
    for curve, old in _pairs(report, base):
        if gates.curve:
            yield from _curve(
                curve, old, gates.curve, margin_of(gates.curve.margin, measure, noise), report.level
            )
        if gates.exponent:
            yield _exponent(curve, old, gates.exponent.margin, report.level)
        if gates.prediction:
            yield from _prediction(curve, old, report.level)


def _of_report(report: Report, gates: GatesSpec) -> Iterator[GateTest | Finding]:
    for curve in report.curves:
        if gates.monotone:
            yield from _monotone(curve)
        if gates.recovery:
            yield _recovery(curve, gates.recovery.max_excess, report)


def _pairs(report: Report, base: Report) -> Iterator[tuple[Curve, Curve]]:
    before = {curve.name: curve for curve in base.curves}
    return ((curve, before[curve.name]) for curve in report.curves if curve.name in before)


# --- G0, G1: exact -----------------------------------------------------------------------------------------


def _validity(report: Report, base: Report | None) -> Iterator[Finding]:
    gate: GateName = "G0 validity"
    known = {(run.curve, run.x) for run in base.excluded} if base else set()
    message = "the run diverged; none of this size did in the baseline" if base else "the run diverged"
    explained = set()
    for run in report.excluded:
        item, size = run.run or run.curve, (run.curve, run.x)
        if run.reason == "diverged" and size not in known:
            yield _finding(gate, item, "fail", message)
            explained.add(size)
        elif run.reason == "unfinished":
            yield _finding(gate, item, "inconclusive", "the run is unfinished")
            explained.add(size)
    if base is not None:
        yield from _missing(report, base, explained)
    yield _finding(gate, "inputs", "pass", "all runs have the same metric, split, data and FLOP convention")


def _missing(report: Report, base: Report, explained: set[tuple[str, float]]) -> Iterator[Finding]:
    """Curves and sizes that only the baseline has, and that were therefore not compared."""
    measured = _measured(report) | explained
    curves = {name for name, _ in measured}
    for curve in base.curves:
        missing = [x for name, x in sorted(_measured(base) - measured) if name == curve.name]
        if curve.name not in curves:
            message = "the curve is only in the baseline"
            yield _finding("G0 validity", curve.name, "fail", message)
        elif missing:
            message = f"only in the baseline: {_listed([f'{x!r} {curve.axis.unit_name}' for x in missing])}"
            yield _finding("G0 validity", curve.name, "fail", message)


def _measured(report: Report) -> set[tuple[str, float]]:
    return {(point.curve, point.x) for point in report.source.points}


def _cost(report: Report, base: Report) -> Iterator[Finding]:
    for curve, old in _pairs(report, base):
        new, known = ({(size.x, size.dense_params) for size in one.sizes} for one in (curve, old))
        missing, added = sorted(known - new, key=str), sorted(new - known, key=str)
        if missing and added:
            message = f"{_costs(missing, curve.axis)} changed to {_costs(added, curve.axis)}"
            yield _finding("G1 cost", curve.name, "fail", message)
        elif missing:
            message = f"only in the baseline: {_costs(missing, curve.axis)}"
            yield _finding("G1 cost", curve.name, "inconclusive", message)
        else:
            yield _finding("G1 cost", curve.name, "pass", f"{len(known)} sizes have unchanged cost")


def _costs(sizes: list[tuple[float, int | None]], axis: Axis) -> str:
    return _listed(
        [
            f"{x!r} {axis.unit_name}" + (f" ({dense:,} dense parameters)" if dense is not None else "")
            for x, dense in sizes
        ]
    )


def _listed(words: Sequence[str]) -> str:
    """Such as `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _finding(gate: GateName, item: str, verdict: Verdict, message: str, statistic: str = "") -> Finding:
    return Finding(gate, item, statistic, verdict, message)


# --- G2 to G5: against a baseline ---------------------------------------------------------------------------


def quality(
    new: Sequence[Point],
    old: Sequence[Point],
    *,
    margin: float,
    noise: AaNoise | None,
    axis: Axis = COMPUTE,
) -> Iterator[GateTest | Finding]:
    """G2: one test per configuration that both sets of runs have.

    Raises UsageError when all sizes in common were trained on different amounts of data.
    """
    found = differences(new, old)
    yield from _unequal_data(new, old, found, axis)
    variance = pooled(found, sd=noise.sd if noise else 0.0, df=noise.df if noise else 0)
    if not found:
        message = (
            f"no configuration is in both: these runs have {_sizes(new, axis)}; "
            f"the baseline has {_sizes(old, axis)}"
        )
        yield _finding("G2 quality", "all", "inconclusive", message)
    for one in found:
        item = one.configuration.described(axis.unit_name)
        if variance is None:
            message = f"mean difference {one.mean:+.3g}: one run each, and no A/A noise estimate"
            yield _finding("G2 quality", item, "inconclusive", message)
        else:
            error = float(np.sqrt(variance[0] * one.scale))
            evidence = Evidence(one.mean, error, variance[1])
            yield GateTest("G2 quality", item, "mean difference", margin, evidence)


def _sizes(points: Sequence[Point], axis: Axis) -> str:
    """What configurations differ by: such as `wukong at 0.1 GFLOP (240 dense parameters)`."""
    sizes = sorted({(point.curve, point.x, point.dense_params) for point in points}, key=str)
    shown = [f"{curve} at {_costs([(x, dense)], axis)}" for curve, x, dense in sizes[:SHOWN_SIZES]]
    left = len(sizes) - len(shown)
    return _listed([*shown, *([f"{left} more"] if left else [])]) if sizes else "no finished run"


def _unequal_data(
    new: Sequence[Point], old: Sequence[Point], found: Sequence[LossDifference], axis: Axis
) -> Iterator[Finding]:
    """Sizes that differ in their examples alone; raises UsageError when these are all sizes in common."""
    seen, known = (
        {(point.curve, point.x): point.examples for point in points if point.examples}
        for points in (new, old)
    )
    compared = {(one.configuration.curve, one.configuration.x) for one in found}
    for curve, x in sorted(seen.keys() & known.keys() - compared):
        if seen[curve, x] == known[curve, x]:  # the parameters differ
            continue
        message = f"trained on {seen[curve, x]:,} examples, the baseline on {known[curve, x]:,}"
        if not found:
            raise UsageError(
                f"no size can be compared: {message}",
                hint="use a baseline trained with the same `epochs` and `max_examples`",
            )
        yield _finding("G2 quality", f"{curve} at {x:.4g} {axis.unit_name}", "inconclusive", message)


def _curve(
    curve: Curve, old: Curve, gate: CurveGate, margin: float, level: float
) -> Iterator[GateTest | Finding]:
    laws = [None if one.law is None else band(one.law, 2 * level - 1) for one in (curve, old)]
    for x in gate.at:
        item = f"{curve.name} at {x:.4g} {curve.axis.unit_name}"
        if not all(_within(one, x) for one in (curve, old)):
            yield _finding("G3 curve", item, "inconclusive", "outside the range measured in both reports")
        elif laws[0] is None or laws[1] is None:
            yield _finding("G3 curve", item, "inconclusive", "too few sizes or runs for a confidence band")
        else:
            values = [float(one.law.predict(np.array([x]))[0]) for one in laws if one]
            evidence = _difference((values[0], laws[0].curve(x)), (values[1], laws[1].curve(x)), laws, level)
            yield GateTest("G3 curve", item, "difference of the laws", margin, evidence)


def _within(curve: Curve, x: float) -> bool:
    low, high = curve.sizes[0].x, curve.sizes[-1].x
    return low * (1 - 1e-9) <= x <= high * (1 + 1e-9)


def _exponent(curve: Curve, old: Curve, margin: float, level: float) -> GateTest | Finding:
    if any(NOT_IDENTIFIED & set(one.notes) or "c" not in one.intervals for one in (curve, old)):
        message = "the exponent is not identified in both reports"
        return _finding("G4 exponent", curve.name, "inconclusive", message)
    laws = [None if one.law is None else band(one.law, 2 * level - 1) for one in (curve, old)]
    if laws[0] is None or laws[1] is None:
        return _finding("G4 exponent", curve.name, "inconclusive", "no confidence interval")
    new, known = ((one.law.parameters["c"], one.parameters()["c"]) for one in laws if one)
    evidence = _difference(known, new, laws, level)
    return GateTest("G4 exponent", curve.name, "decrease of the exponent", margin, evidence)


def _difference(
    first: tuple[float, Interval], second: tuple[float, Interval], laws: list[Band | None], level: float
) -> Evidence:
    """First minus second from their one-sided bounds, by recovering variances from intervals (MOVER).

    Zou and Donner 2008, https://doi.org/10.1002/sim.3095.
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = first, second
    df = min(one.noise.df for one in laws if one)
    quantile = float(stats.t.ppf(level, df))
    below, above = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    return Evidence(a - b, float(below) / quantile, df, float(above) / quantile)


def _prediction(curve: Curve, old: Curve, level: float) -> Iterator[GateTest | Finding]:
    last = old.sizes[-1].x
    beyond = [size for size in curve.sizes if size.x > last * (1 + 1e-9)]
    laws = None if old.law is None else band(old.law, level)
    if not beyond or laws is None:
        message = "no size beyond the baseline's largest" if laws else "no interval in the baseline"
        yield _finding("G5 prediction", curve.name, "inconclusive", message)
        return
    size = beyond[-1]
    middle = float(laws.law.predict(np.array([size.x]))[0])
    low, high = laws.prediction(size.x, size.runs)
    reach = high - middle if size.loss > middle else middle - low
    error = reach / float(stats.t.ppf(0.5 + level / 2, laws.noise.df))
    evidence = Evidence(abs(size.loss - middle), error, laws.noise.df)
    item = f"{curve.name} at {size.x:.4g} {curve.axis.unit_name}"
    message = (
        f"observed {size.loss:.5g}, predicted {middle:.5g} "
        f"({100 * level:g} % of new runs: {low:.5g} to {high:.5g})"
    )
    yield GateTest("G5 prediction", item, message, 0.0, evidence, lenient=True, two_sided=True)


# --- G6, G7: without a baseline ---------------------------------------------------------------------------


def _monotone(curve: Curve) -> Iterator[GateTest | Finding]:
    noise = curve.seed_noise
    for small, large in zip(curve.sizes, curve.sizes[1:], strict=False):
        rise = large.loss - small.loss
        item = f"{curve.name} from {small.x:.4g} to {large.x:.4g} {curve.axis.unit_name}"
        if noise is not None:
            error = float(np.sqrt(noise.variance * (1 / small.runs + 1 / large.runs)))
            yield GateTest("G6 monotone", item, "rise", 0.0, Evidence(rise, error, noise.df), lenient=True)
        elif rise > 0:
            message = f"the loss rises by {rise:.3g}; one run per size is too few to rule out noise"
            yield _finding("G6 monotone", item, "inconclusive", message)
        else:
            yield _finding("G6 monotone", item, "pass", f"the loss falls by {-rise:.3g}")


def _recovery(curve: Curve, bound: float, report: Report) -> GateTest | Finding:
    best, noise = curve.best, curve.seed_noise
    if report.source.metric != "excess_logloss":
        raise UsageError("gate `recovery` needs excess LogLoss", hint="remove it, or train on synthetic data")
    if noise is not None:
        evidence = Evidence(best.loss, float(np.sqrt(noise.variance / best.runs)), noise.df)
        return GateTest("G7 recovery", curve.name, "lowest excess LogLoss", bound, evidence)
    verdict: Verdict = "pass" if best.loss <= bound else "fail"
    message = f"lowest excess LogLoss {best.loss:.4g}, bound {bound:.4g}"
    return _finding("G7 recovery", curve.name, verdict, message)
