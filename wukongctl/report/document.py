"""The content of report.json and points.csv, with unrounded numbers."""

import csv
import dataclasses
import io
import json
from typing import Any

from wukongctl.config.report import StatedLaw
from wukongctl.laws.analysis import Report, along_other_axes
from wukongctl.laws.axis import COMPUTE
from wukongctl.laws.bands import method_of
from wukongctl.laws.contest import Contest
from wukongctl.laws.curves import Curve
from wukongctl.laws.data_laws import DataLaw
from wukongctl.laws.joint import JointFit
from wukongctl.laws.joint_laws import JointLaw
from wukongctl.laws.measure import Measure
from wukongctl.laws.points import FIELD_KEYS
from wukongctl.report.checklist import checklist
from wukongctl.report.evidence import has_joint_law

FORMAT_VERSION = 1
FILES = {
    "html": "report.html",
    "md": "report.md",
    "svg": "scaling.svg",
    "png": "scaling.png",
    "parameters_svg": "parameters.svg",
    "parameters_png": "parameters.png",
    "joint_svg": "joint.svg",
    "joint_png": "joint.png",
    "data_svg": "data.svg",
    "data_png": "data.png",
    "csv": "points.csv",
    "benchmark": "benchmark.json",
    "json": "report.json",
}
KEYS = {**FIELD_KEYS, "reference_x": "reference_gflop_per_example"}
"""Field → its key in report.json."""


def to_dict(report: Report) -> dict[str, Any]:
    """The content of report.json; losses in the unit of `metric`, x in the unit that its key names."""
    axis = report.source.axis
    return _content(report) if axis is COMPUTE else _rekeyed(_content(report), axis.key)


def _content(report: Report) -> dict[str, Any]:
    source = report.source
    return {
        "format_version": FORMAT_VERSION,
        "dataset": source.dataset,
        "fingerprint": source.fingerprint,
        "split": source.split,
        "metric": source.metric,
        "x": {
            "axis": source.axis.name,
            "key": source.axis.key,
            "title": source.axis.titled(source.axis.units[-1]),
        },
        "y": _measure(source.measure),
        "convention": source.convention,
        "floor": report.floor,
        "bayes_logloss": source.bayes_logloss,
        "level": report.level,
        "interval_method": interval_method(report),
        "loss": "squares" if report.delta is None else "huber-log",
        "delta": report.delta,
        "bootstrap": {"method": _joint_method(report.delta), "draws": report.draws, "seed": 0},
        "curves": [_curve(curve, report) for curve in report.curves],
        "comparisons": {
            **_record(report.comparisons),
            "gain_per_4x": [_named(curve.name, curve.gain) for curve in report.curves if curve.gain],
            "plateau": [_named(curve.name, curve.plateau) for curve in report.curves],
        },
        "data_curves": [_data_law(law) for law in report.data_laws],
        "joint": [_joint_law(law) for law in report.joint_laws],
        "stated": [stated_law(law, report) for law in report.stated],
        "checklist": [dataclasses.asdict(item) for item in checklist(report)],
        "excluded": [_record(run) for run in report.excluded],
        "without_flops": list(source.without_flops),
        "remarks": list(report.remarks),
        "warnings": [found.to_dict() for found in report.warnings()],
        "gates": [dataclasses.asdict(finding) for finding in report.findings],
        "verdict": report.verdict,
        "files": files_of(report),
    }


def files_of(report: Report) -> dict[str, str]:
    """Names of the files written for this report."""
    along = {shifted.source.axis.name for shifted in along_other_axes(report)}
    along |= {"joint"} if has_joint_law(report) else set()
    other = {kind: kind.rpartition("_")[0] for kind in FILES if "_" in kind}
    return {kind: name for kind, name in FILES.items() if kind not in other or other[kind] in along}


def to_json(report: Report) -> str:
    """`to_dict` as JSON text."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """The points as a CSV table that `--points` can read."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    columns = [
        FIELD_KEYS["curve"],
        report.source.axis.key,
        report.source.metric,
        "seed",
        "examples",
        "passes",
        "dense_params",
    ]
    grouped = any(point.group for point in report.source.points)
    writer.writerow([*columns, "run", "excluded", *(["group"] if grouped else [])])
    for point in report.source.points:
        values = (point.curve, point.x, point.loss, point.seed, point.examples, point.passes)
        group = [point.group] if grouped else []
        writer.writerow([*values, point.dense_params, point.run, None, *group])
    for run in report.excluded:
        loss, reason = ("diverged", None) if run.reason == "diverged" else (run.loss, run.reason)
        if loss is not None:
            known = (run.curve, run.x, loss, run.seed)
            writer.writerow([*known, None, None, None, run.run, reason, *([None] if grouped else [])])
    return table.getvalue()


def _curve(curve: Curve, report: Report) -> dict[str, Any]:
    law = curve.law
    parameters = {} if law is None else dict(law.parameters)
    if "E" in parameters and report.source.metric == "relative_logloss":
        parameters["E_ratio"] = 1 + parameters["E"] / 100
    return {
        "model": curve.name,
        "points": [_record(point) for point in curve.points],
        "sizes": [_record(size) for size in curve.sizes],
        "form": curve.form.name,
        "parameters": parameters,
        "intervals": {name: list(ends) for name, ends in curve.intervals.items()},
        "bootstrap": {} if curve.bootstrap is None else dataclasses.asdict(curve.bootstrap),
        "status": curve.status,
        "at_bound": [] if law is None else list(law.at_bound),
        "rmse": None if law is None else law.rmse,
        "aicc": None if law is None else law.aicc,
        "df": None if law is None else law.df,
        "noise": None if curve.noise is None else dataclasses.asdict(curve.noise),
        "notes": list(curve.notes),
        "warnings": [found.to_dict() for found in report.warnings(curve.name)],
        **_tests(curve),
        "trace": None if curve.trace is None else dataclasses.asdict(curve.trace),
    }


def _tests(curve: Curve) -> dict[str, Any]:
    """What laws of size and laws of data have in common beside their parameters."""
    return {
        "descriptive": curve.descriptive,
        "alternatives": [
            {
                "form": fit.form.name,
                "parameters": fit.parameters,
                "status": fit.status,
                "rmse": fit.rmse,
                "aicc": fit.aicc,
            }
            for fit in curve.alternatives
        ],
        "floor_p_value": curve.floor_p_value,
        "residual_autocorrelation": None if curve.serial is None else dataclasses.asdict(curve.serial),
        "interval_method": method_of(curve.law),
        "extrapolation": [_record(test) for test in curve.extrapolation],
        "rivals": None if curve.contest is None else _contest(curve.contest),
        "left_out": [dataclasses.asdict(one) for one in curve.left_out],
        "predictions": [_record(one) for one in curve.forecasts],
    }


def _contest(found: Contest) -> dict[str, Any]:
    return {
        "forms": [dataclasses.asdict(one) for one in found.standings],
        "preferred": found.preferred,
        "alike": list(found.alike),
        "predicts": found.chosen.rival.name,
        "held_out": {
            "sizes": found.held_out_sizes,
            "from": found.held_out_from,
            "rmsle": found.held_out_error,
        },
    }


def interval_method(report: Report) -> str:
    """How the intervals of the curves were found."""
    curves = [*report.curves, *(law.analysis for law in report.data_laws)]
    methods = sorted({method_of(curve.law) for curve in curves if curve.law is not None})
    return "; ".join(methods) or method_of(None)


def _joint_method(delta: float | None) -> str:
    return "wild cluster bootstrap, Webb weights" if delta is None else "pairs bootstrap over points"


def _data_law(found: DataLaw) -> dict[str, Any]:
    gain = found.analysis.gain
    return {
        "model": found.curve,
        "gflop_per_example": found.gflop_per_example,
        "amounts": [dataclasses.asdict(amount) for amount in found.amounts],
        "form": found.law.form.name,
        "parameters": found.law.parameters,
        "intervals": {name: list(ends) for name, ends in found.intervals.items()},
        "status": found.law.status,
        "rmse": found.law.rmse,
        "notes": list(found.notes),
        "gain": None if gain is None else _over_examples(gain),
        "plateau": _over_examples(found.analysis.plateau),
        **{key: _renamed(value) for key, value in _tests(found.analysis).items()},
    }


def _over_examples(value: Any) -> dict[str, Any]:
    return _renamed(_record(value))


def _renamed(value: Any) -> Any:
    """The same content with x named `examples`, as on the axis of data."""
    return _rekeyed(value, "examples")


def _rekeyed(value: Any, x: str) -> Any:
    """The same content with x, where it is named as compute, named otherwise."""
    if isinstance(value, dict):
        return {key.replace(KEYS["x"], x): _rekeyed(each, x) for key, each in value.items()}
    return [_rekeyed(each, x) for each in value] if isinstance(value, list | tuple) else value


def _measure(measure: Measure) -> dict[str, Any]:
    """What the losses are: where a metric's larger values are better, also its `column` and `best` value."""
    return {
        "title": measure.title,
        "direction": "smaller is better",
        "column": measure.column,
        "best": measure.best,
    }


def _joint_law(found: JointLaw) -> dict[str, Any]:
    if found.law is None:
        return {"model": found.curve, "status": "not fitted", "reason": found.reason}
    law = found.law
    return {
        "model": found.curve,
        "form": "E + A N^-a + B D^-b",
        "points": len(law.grid.y),
        **_joint_fit(law),
        "outliers": list(found.outliers),
        "other_loss": None if found.other is None else _joint_fit(found.other),
        "losses_differ": list(found.differs),
        "quoted": law.loss if found.quoted is None else found.quoted.loss,
        "residuals": [
            {"point": name, "residual": float(residual)}
            for name, residual in zip(found.names, law.residuals, strict=True)
        ],
        "held_out": None if found.hold_out is None else dataclasses.asdict(found.hold_out),
        "compute_optimal": [dataclasses.asdict(one) for one in found.optima],
        "isoflops": [dataclasses.asdict(one) for one in found.isoflops],
    }


def _joint_fit(law: JointFit) -> dict[str, Any]:
    return {
        "loss": law.loss,
        "interval_method": _joint_method(law.delta),
        "parameters": law.parameters,
        "intervals": {name: list(ends) for name, ends in law.intervals.items()},
        "status": law.status,
        "at_bound": list(law.at_bound),
        "rmse": law.rmse,
    }


def stated_law(law: StatedLaw, report: Report) -> dict[str, Any]:
    """A stated law with its RMSE on the runs of its curve, and that of the fitted law."""
    curve = next((curve for curve in report.curves if curve.name == law.curve), None)
    rmse = None if curve is None else stated_rmse(law, curve)
    return {**law.to_dict(), "rmse": rmse, "fitted_rmse": curve.law.rmse if curve and curve.law else None}


def stated_rmse(law: StatedLaw, curve: Curve) -> float:
    """RMSE of the stated law on the curve's mean losses, weighted by runs."""
    squares = [(size.runs, (size.loss - law.E - law.A * size.x**-law.c) ** 2) for size in curve.sizes]
    return (sum(runs * square for runs, square in squares) / sum(runs for runs, _ in squares)) ** 0.5


def _named(curve: str, result: Any) -> dict[str, Any]:
    return {KEYS["curve"]: curve, **_record(result)}


def _record(value: Any) -> dict[str, Any]:
    """A dataclass and its nested dataclasses, with the keys of report.json."""
    return dataclasses.asdict(value, dict_factory=lambda pairs: {KEYS.get(k, k): v for k, v in pairs})
