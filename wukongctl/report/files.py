"""A report as files: HTML to read, Markdown to paste, JSON for scripts, the picture, the points.

The same points give the same bytes: no dates, no paths, no random ids.
"""

import csv
import dataclasses
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from wukongctl.config.report import StatedLaw
from wukongctl.data.atomic import write_atomic
from wukongctl.errors import cannot_write
from wukongctl.laws.analysis import Report, build, by_data, by_parameters
from wukongctl.laws.curves import Curve
from wukongctl.laws.data_scaling import DataLaw, JointLaw
from wukongctl.laws.fit import EQUATIONS
from wukongctl.laws.notes import EXPLANATIONS
from wukongctl.report import wording
from wukongctl.report.job_summary import benchmark, chart_order, fitting, mermaid

__all__ = ["FILES", "Report", "build", "to_csv", "to_dict", "to_html", "to_json", "to_markdown", "write"]

FORMAT_VERSION = 1
FILES = {
    "html": "report.html",
    "md": "report.md",
    "svg": "scaling.svg",
    "png": "scaling.png",
    "parameters_svg": "parameters.svg",
    "parameters_png": "parameters.png",
    "data_svg": "data.svg",
    "data_png": "data.png",
    "csv": "points.csv",
    "benchmark": "benchmark.json",
    "json": "report.json",
}


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain data; losses in the unit of `metric`, compute in GFLOP per example."""
    source = report.source
    return {
        "format_version": FORMAT_VERSION,
        "dataset": source.dataset,
        "fingerprint": source.fingerprint,
        "split": source.split,
        "metric": source.metric,
        "convention": source.convention,
        "floor": report.floor,
        "bayes_logloss": source.bayes_logloss,
        "level": report.level,
        "interval_method": "profile likelihood with F cut-off",
        "loss": "squares" if report.delta is None else "huber-log",
        "delta": report.delta,
        "bootstrap": {"method": "wild cluster bootstrap, Webb weights", "draws": report.draws, "seed": 0},
        "curves": [_curve(curve, report) for curve in report.curves],
        "comparisons": {
            **dataclasses.asdict(report.comparisons),
            "gain_per_4x": [_named(curve.model, curve.gain) for curve in report.curves if curve.gain],
            "plateau": [_named(curve.model, curve.plateau) for curve in report.curves],
        },
        "data_curves": [_data_law(law) for law in report.data_laws],
        "joint": [_joint_law(law) for law in report.joint_laws],
        "stated": [_stated(law, report) for law in report.stated],
        "excluded": [dataclasses.asdict(run) for run in report.excluded],
        "without_flops": list(source.without_flops),
        "remarks": list(report.remarks),
        "warnings": [found.to_dict() for found in report.warned()],
        "gates": [dataclasses.asdict(finding) for finding in report.findings],
        "verdict": report.verdict,
        "files": files_of(report),
    }


def files_of(report: Report) -> dict[str, str]:
    """Names of the files that `write` makes of this report."""
    along = {axis for axis, _ in _others(report)}
    other = {kind: kind.rpartition("_")[0] for kind in FILES if "_" in kind}
    return {kind: name for kind, name in FILES.items() if kind not in other or other[kind] in along}


def _others(report: Report) -> list[tuple[str, Report]]:
    """The same runs along other axes than compute, where they were varied and are known."""
    by_size = None if report.of_data else by_parameters(report)
    found = (("parameters", by_size), ("data", by_data(report)))
    return [(axis, moved) for axis, moved in found if moved is not None]


def to_json(report: Report) -> str:
    """`to_dict` as JSON text, numbers unrounded."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(report: Report, *, pictures: bool = True) -> str:
    """A short report for a pull request, or without the link to the picture for a job summary."""
    template = _environment(finalize=_inert).get_template("report.md.jinja")
    return fitting(template.render(**_context(report), pictures=pictures))


def _inert(value: Any) -> Any:
    """Text in which Markdown sees neither HTML nor a table's next cell: names may be anything."""
    if not isinstance(value, str):
        return value
    return value.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


def to_html(report: Report) -> str:
    """One HTML page that needs nothing from outside: pictures, style and script are inside."""
    from wukongctl.report import inline, plots

    drawings = [
        ("scaling", report, plots.scaling_svg, "Loss against compute per example, one curve per model"),
        ("diagnostics", report, plots.diagnostics_svg, "Residuals, and the largest size predicted unseen"),
    ]
    drawings += [(axis, moved, plots.scaling_svg, f"Loss against {axis}") for axis, moved in _others(report)]
    figures = {
        f"{name}_{width}": inline.embed(draw(shown, width=width), prefix=f"{name[0]}{width[0]}-", label=label)
        for name, shown, draw, label in drawings
        for width in ("wide", "narrow")
    }
    palette = list(zip(plots.COLOURS, plots.DARK_COLOURS, strict=True))
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(**_context(report), figures=figures, palette=palette)
    )


def to_csv(report: Report) -> str:
    """The points as a table that `--points` reads back."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    names = ["model", "gflop_per_example", report.source.metric, "seed", "examples", "passes", "dense_params"]
    writer.writerow([*names, "run", "excluded"])
    for point in report.source.points:
        values = (point.model, point.gflop_per_example, point.loss, point.seed, point.examples, point.passes)
        writer.writerow([*values, point.dense_params, point.run, None])
    for run in report.excluded:
        loss, reason = ("diverged", None) if run.reason == "diverged" else (run.loss, run.reason)
        if loss is not None:
            known = (run.model, run.gflop_per_example, loss, run.seed)
            writer.writerow([*known, None, None, None, run.run, reason])
    return table.getvalue()


def write(report: Report, out_dir: Path) -> dict[str, Path]:
    """Write every file of the report, all of them or none; return the paths by kind.

    Raises RunFailed when the disk is full, UsageError when the folder cannot be written.
    """
    from wukongctl.report import plots

    drawn: dict[str, bytes] = {}
    for axis, moved in _others(report):
        drawn[f"{axis}_svg"] = plots.scaling_svg(moved).encode()
        drawn[f"{axis}_png"] = plots.scaling_png(moved)
    contents = {
        "html": to_html(report).encode(),
        "md": to_markdown(report).encode(),
        "svg": plots.scaling_svg(report).encode(),
        "png": plots.scaling_png(report),
        **drawn,
        "csv": to_csv(report).encode(),
        "benchmark": (json.dumps(benchmark(report), indent=2, ensure_ascii=False) + "\n").encode(),
        "json": to_json(report).encode(),
    }
    _write_together(out_dir, {FILES[kind]: content for kind, content in contents.items()})
    return {kind: out_dir / FILES[kind] for kind in contents}


def _write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files beside their places and move them when all are there: a full disk leaves no mixture."""
    draft = folder / f".report.{os.getpid()}.tmp"
    try:
        draft.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(draft / name, lambda file, content=content: file.write(content))
        for name in contents:
            (draft / name).replace(folder / name)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _curve(curve: Curve, report: Report) -> dict[str, Any]:
    law = curve.law
    parameters = {} if law is None else dict(law.parameters)
    if "E" in parameters and report.source.metric == "relative_logloss":
        parameters["E_ratio"] = 1 + parameters["E"] / 100
    return {
        "model": curve.model,
        "points": [dataclasses.asdict(point) for point in curve.points],
        "sizes": [dataclasses.asdict(size) for size in curve.sizes],
        "form": curve.form,
        "parameters": parameters,
        "intervals": {name: list(ends) for name, ends in curve.intervals.items()},
        "bootstrap": {name: list(ends) for name, ends in curve.bootstrap.items()},
        "status": curve.status,
        "at_bound": [] if law is None else list(law.at_bound),
        "rmse": None if law is None else law.rmse,
        "aicc": None if law is None else law.aicc,
        "df": None if law is None else law.df,
        "noise": None if curve.noise is None else dataclasses.asdict(curve.noise),
        "notes": list(curve.notes),
        "warnings": [found.to_dict() for found in report.warned(curve.model)],
        "descriptive": curve.descriptive,
        "alternatives": [
            {
                "form": fit.form,
                "parameters": fit.parameters,
                "status": fit.status,
                "rmse": fit.rmse,
                "aicc": fit.aicc,
            }
            for fit in curve.alternatives
        ],
        "floor_p_value": curve.floor_p_value,
        "extrapolation": [dataclasses.asdict(test) for test in curve.extrapolation],
        "trace": None if curve.trace is None else dataclasses.asdict(curve.trace),
    }


def _data_law(found: DataLaw) -> dict[str, Any]:
    return {
        "model": found.model,
        "gflop_per_example": found.gflop_per_example,
        "amounts": [dataclasses.asdict(amount) for amount in found.amounts],
        "form": found.law.form,
        "parameters": found.law.parameters,
        "intervals": {name: list(ends) for name, ends in found.intervals.items()},
        "status": found.law.status,
        "rmse": found.law.rmse,
        "notes": list(found.notes),
    }


def _joint_law(found: JointLaw) -> dict[str, Any]:
    if found.law is None:
        return {"model": found.model, "status": "not fitted", "reason": found.reason}
    law = found.law
    return {
        "model": found.model,
        "form": "E + A N^-a + B D^-b",
        "points": len(law.grid.y),
        "parameters": law.parameters,
        "intervals": {name: list(ends) for name, ends in law.intervals.items()},
        "status": law.status,
        "at_bound": list(law.at_bound),
        "rmse": law.rmse,
        "outliers": list(found.outliers),
    }


def _stated(law: StatedLaw, report: Report) -> dict[str, Any]:
    """A stated law with its error on the runs it speaks of, beside our law's."""
    curve = next((curve for curve in report.curves if curve.model == law.curve), None)
    rmse = None if curve is None else stated_rmse(law, curve)
    return {**law.to_dict(), "rmse": rmse, "fitted_rmse": curve.law.rmse if curve and curve.law else None}


def stated_rmse(law: StatedLaw, curve: Curve) -> float:
    """Root mean square of the curve's mean losses minus the stated law, weighted by runs."""
    squares = [
        (size.runs, (size.loss - law.E - law.A * size.gflop_per_example**-law.c) ** 2) for size in curve.sizes
    ]
    return (sum(runs * square for runs, square in squares) / sum(runs for runs, _ in squares)) ** 0.5


def _named(model: str, result: Any) -> dict[str, Any]:
    return {"model": model, **dataclasses.asdict(result)}


def _environment(finalize: Callable[[Any], Any] | None = None) -> jinja2.Environment:
    """Templates with the wording's functions; a name missing in a template is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wukongctl.report"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.jinja",), default=False),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=wording.number, interval=wording.interval)
    return environment


def _context(report: Report) -> dict[str, Any]:
    curves = () if report.of_data else report.curves
    used = {code for curve in (*curves, *report.data_laws) for code in curve.notes}
    return {
        "report": report,
        "source": report.source,
        "unit": report.unit,
        "metric_name": wording.METRIC_NAMES[report.source.metric],
        "headline": wording.headline(report),
        "sentences": {curve.model: list(wording.sentences(curve, report)) for curve in report.curves},
        "warned": report.warned(),
        "warned_curves": {curve.model: report.warned(curve.model) for curve in report.curves},
        "matches": wording.matches(report),
        "match_sentence": wording.match_sentence,
        "verdicts": wording.VERDICTS,
        "descriptive": wording.DESCRIPTIVE if any(curve.descriptive for curve in curves) else None,
        "equations": EQUATIONS,
        "explanations": {code: text for code, text in EXPLANATIONS.items() if code in used},
        "files": FILES,
        "chart": mermaid(report),
        "chart_order": chart_order(report),
        "stated": [_stated(law, report) for law in report.stated],
        "open_findings": sorted(
            (finding for finding in report.findings if finding.verdict != "pass"),
            key=lambda finding: finding.verdict != "fail",
        ),
        "passed_findings": [finding for finding in report.findings if finding.verdict == "pass"],
    }
