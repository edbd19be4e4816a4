"""`wukongctl scale-report`: fit scaling laws of finished runs, report them, check gates."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.cli.report_output import Runs
    from wukongctl.config.report import FormName, ReportSpec
    from wukongctl.decisions import Finding
    from wukongctl.laws.analysis import Report
    from wukongctl.laws.points import PointSet

ASK = "list gates in the file of `--check`, or give `--check` a baseline"
CHECK = "check.yaml"
"""File of a calibration, in `--out`."""
MORE_RUNS = "add seeds or sizes, or leave out `--strict`"
EXAMPLES = """\b
Examples:
  wukongctl scale-report runs/
  wukongctl scale-report runs/wukong-* runs/dlrm-* --out report
  wukongctl scale-report --points paper/table5 --out paper
  wukongctl scale-report runs/ --predict 0.01 --predict 0.1
  wukongctl scale-report --points sweep.parquet --x params --y error_rate
  wukongctl scale-report runs/ --set metric=logloss --set split=valid
  wukongctl scale-report runs/ --check main/report.json      # exit 3 on a regression
  wukongctl scale-report --calibrate runs-a/ runs-b/ --out calibration
  wukongctl scale-report runs/ --baseline main/report.json --check calibration/check.yaml
"""


@click.command("scale-report", epilog=EXAMPLES)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option("--dataset", metavar="NAME", help="Report only on the runs of this dataset.")
@click.option(
    "--points", metavar="TABLE", help="Points as CSV, TSV, JSON lines or Parquet, or a shipped name."
)
@click.option("--x", metavar="COLUMN", help="Column of compute, parameters, examples or tokens in TABLE.")
@click.option("--y", metavar="COLUMN", help="Column of the loss or metric in TABLE.")
@click.option("--curve", metavar="COLUMN", help="Column that names the curves in TABLE.")
@click.option(
    "--larger-is-better", is_flag=True, help="Larger values of `--y` are better: fit the best minus y."
)
@options.out("scale-report", "Folder for the report's files.")
@click.option(
    "--form", type=click.Choice(["power", "power0", "loglin", "power-known-floor"]),
    help="Default: power (E + A x^-c), or power-known-floor if `floor` is set.",
)  # fmt: skip
@click.option(
    "--predict", "at", multiple=True, type=click.FloatRange(min=0, min_open=True), metavar="X",
    help="Predict the loss at X: GFLOP per example, examples in a study of data, or x of TABLE. Repeatable.",
)  # fmt: skip
@click.option("--baseline", type=click.Path(path_type=Path), help="Saved report.json, or a folder of runs.")
@click.option(
    "--check", type=click.Path(path_type=Path),
    help="Baseline to check against, or a YAML or JSON file of gates and settings.",
)  # fmt: skip
@click.option("--confirm", type=click.Path(path_type=Path), help="Second set of runs, to confirm failures.")
@click.option("--calibrate", is_flag=True, help="Measure the noise between two folders of A/A runs.")
@click.option("--strict", is_flag=True, help="Exit with 4 if gates are inconclusive.")
@click.option("--force", is_flag=True, help="Overwrite files in `--out` that are not from a report.")
@options.overrides
@options.common
def scale_report(
    output: Output,
    runs: tuple[Path, ...],
    dataset: str | None,
    points: str | None,
    x: str | None,
    y: str | None,
    curve: str | None,
    larger_is_better: bool,
    out: Path,
    form: "FormName | None",
    at: tuple[float, ...],
    baseline: Path | None,
    check: Path | None,
    confirm: Path | None,
    calibrate: bool,
    strict: bool,
    force: bool,
    overrides: tuple[str, ...],
) -> None:
    """Fit loss against training FLOPs for the finished runs of each RUN: a run folder, a sweep, or many runs.

    With --points, a table of any losses: columns such as params, tokens, flops or gflop_per_example, and
    loss, error_rate, logloss, auc …, are recognized; --x and --y name others. Optional: model, seed,
    examples, passes, dense_params, excluded (a reason). Gates compare with a baseline; the exit code is 3 if
    one fails.
    """
    from dataclasses import replace

    from wukongctl.cli import report_output
    from wukongctl.config import library

    columns = {"x": x, "y": y, "curve": curve, "larger_is_better": larger_is_better or None}
    columns = {name: value for name, value in columns.items() if value is not None}
    if points is None:
        _require_no_columns(columns)
    gated = [("--baseline", baseline), ("--confirm", confirm), ("--strict", strict)]
    options.exclusive(("--calibrate", calibrate), ("--points", points), *gated)
    baseline, check = _split_check(baseline, check)
    table = library.find_points(points) if points else None
    path = check or (library.report_beside(table) if table else None)
    spec = _spec(path, (*overrides, *_settings(columns, form, at)))
    _require_replaceable(out, calibrate=calibrate, dashboard=bool(runs), force=force)
    if calibrate:
        _calibrate(output, runs, spec, out)
        return
    sources = _sources(output, runs, table, spec, dataset)
    if len(sources) > 1:
        _require_no_gates(list(sources), spec, baseline, confirm)
        _report_datasets(output, sources, spec, runs, out, strict=strict, force=force)
        return
    (source,) = sources.values()
    report = _built(source, spec)
    report = replace(report, findings=_findings(report, spec, baseline, confirm))
    if check is not None and not report.findings:
        output.warn(f"`{check}` has no gates: nothing was checked")
    report_output.publish(output, report, out, _shown(runs) if runs else None)
    _conclude(output, report, strict=strict)


def _report_datasets(
    output: Output,
    sources: "dict[str, PointSet]",
    spec: "ReportSpec",
    runs: tuple[Path, ...],
    out: Path,
    *,
    strict: bool,
    force: bool,
) -> None:
    """A report for each dataset, and the page that links them."""
    from wukongctl.cli import report_output

    _require_replaceable_index(out, list(sources), force=force)
    reports = {label: _built(source, spec) for label, source in sources.items()}
    report_output.publish_datasets(output, reports, out, _shown(runs))
    without = [curve.name for report in reports.values() for curve in report.curves if curve.law is None]
    _require_laws(without, strict=strict)


def _shown(runs: tuple[Path, ...]) -> "Runs":
    from wukongctl.cli.report_output import Runs
    from wukongctl.data import next_steps

    return Runs(runs, next_steps.default_folder())


def _settings(columns: dict[str, Any], form: "FormName | None", at: tuple[float, ...]) -> list[str]:
    """The options that are keys of a report recipe, as overrides of it."""
    from wukongctl.errors import UsageError

    if any(not math.isfinite(x) for x in at):
        raise UsageError("`--predict` takes finite numbers", hint="name the size, such as `--predict 0.1`")
    asked = [f"columns.{name}={json.dumps(value)}" for name, value in columns.items()]
    asked += [f"form={form}"] if form else []
    return asked + ([f"predict={json.dumps(at)}"] if at else [])


def _require_no_columns(columns: dict[str, Any]) -> None:
    """UsageError if an option names a column where there is no table."""
    from wukongctl.errors import UsageError

    if columns:
        option = f"--{next(iter(columns)).replace('_', '-')}"
        raise UsageError(
            f"`{option}` names a column of `--points`", hint="add `--points TABLE`, or leave it out"
        )


def _require_replaceable(out: Path, *, calibrate: bool, dashboard: bool, force: bool) -> None:
    """UsageError if what will be written to `out` replaces what no report or calibration wrote."""
    from wukongctl.cli.targets import require_own, require_report_folder
    from wukongctl.gates.calibration import TITLE
    from wukongctl.report.dashboard import FILE, GENERATOR
    from wukongctl.report.document import FILES

    if calibrate:
        require_own(out / CHECK, "--out", "from an earlier `--calibrate`", TITLE.encode(), force=force)
    else:
        require_report_folder(out, FILES.values(), force=force)
        if dashboard:
            require_own(out / FILE, "--out", "a dashboard", GENERATOR, force=force)


def _require_replaceable_index(out: Path, labels: list[str], *, force: bool) -> None:
    """As `_require_replaceable`, for reports on several datasets."""
    from wukongctl.cli.targets import require_own, require_report_folder
    from wukongctl.report.document import FILES
    from wukongctl.report.index import INDEX, TITLE, folder_of

    require_own(out / INDEX, "--out", "from an earlier report", TITLE.encode(), force=force)
    for label in labels:
        require_report_folder(out / folder_of(label), FILES.values(), force=force)


def _sources(
    output: Output, runs: tuple[Path, ...], points: Path | None, spec: "ReportSpec", dataset: str | None
) -> "dict[str, PointSet]":
    """The points to report on, by dataset, with notes on what was left out."""
    from wukongctl.errors import UsageError
    from wukongctl.laws.run_points import read_datasets

    if points is not None or not runs:
        if dataset is not None:
            raise UsageError("`--dataset` applies to run folders, not to a table", hint="leave it out")
        found = {"": _read(runs, points, spec)}
    else:
        read, notes = read_datasets(runs, split=spec.split, metric=spec.metric, dataset=dataset)
        found = {group.label: source for group, source in read}
        for note in notes:
            output.note(note)
    for source in found.values():
        for remark in source.remarks:
            output.note(remark)
        for run in source.without_flops:
            output.note(f"skipped `{run}`, which has no FLOPs")
    return found


def _require_no_gates(
    labels: list[str], spec: "ReportSpec", baseline: Path | None, confirm: Path | None
) -> None:
    """Gates are for one dataset."""
    from wukongctl.errors import UsageError

    if spec.gates or baseline or confirm:
        listed = ", ".join(f"`{label}`" for label in labels)
        raise UsageError(
            f"the runs are of {len(labels)} datasets: {listed}; gates check one",
            hint=f"add `--dataset {labels[0]}`",
        )


def _split_check(baseline: Path | None, check: Path | None) -> tuple[Path | None, Path | None]:
    """The baseline and the file of gates: `--check` takes either."""
    from wukongctl.errors import UsageError
    from wukongctl.gates.baseline import is_baseline

    if check is None or not is_baseline(check):
        return baseline, check
    if baseline is not None:
        raise UsageError(
            f"`--check {check}` is a baseline, and `--baseline {baseline}` is another",
            hint="give `--check` a file of gates, or leave one out",
        )
    return check, None


def _spec(path: Path | None, overrides: tuple[str, ...]) -> "ReportSpec":
    from wukongctl.config.loading import read, validate
    from wukongctl.config.positions import parse
    from wukongctl.config.report import ReportSpec

    return validate(read(path) if path else parse("{}", "--set"), ReportSpec, overrides)


def _read(runs: tuple[Path, ...], points: Path | None, spec: "ReportSpec") -> "PointSet":
    from wukongctl.errors import UsageError
    from wukongctl.laws.point_tables import read_table
    from wukongctl.laws.run_points import read_runs

    if (points is None) == (not runs):
        raise UsageError(
            "give either run folders or `--points TABLE`", hint="run `wukongctl scale-report --help`"
        )
    if points is not None:
        if spec.split or spec.metric:
            raise UsageError(
                "`split` and `metric` apply to run folders, not to a table",
                hint="name the column of the loss with `--y`",
            )
        return read_table(points, spec.columns)
    return read_runs(runs, split=spec.split, metric=spec.metric)


def _built(source: "PointSet", spec: "ReportSpec") -> "Report":
    from wukongctl.laws.analysis import build

    return build(
        source,
        form=spec.form,
        floor=spec.floor,
        level=spec.level,
        delta=spec.delta if spec.loss == "huber-log" else None,
        draws=spec.bootstrap,
        stated=spec.stated,
        at=spec.predict,
        compare_all=spec.compare == "all",
    )


def _findings(
    report: "Report", spec: "ReportSpec", baseline: Path | None, second: Path | None
) -> "tuple[Finding, ...]":
    """Findings of the gates in `spec`; of cost and quality if there is only a baseline."""
    from wukongctl.config.report import GatesSpec, QualityGate
    from wukongctl.decisions import confirm
    from wukongctl.errors import UsageError
    from wukongctl.gates.baseline import read_baseline, require_comparable
    from wukongctl.gates.checks import check

    gates = spec.gates or (GatesSpec(cost=True, quality=QualityGate()) if baseline else None)
    if gates is None and second is not None:
        raise UsageError("`--confirm` repeats failed gates, and there are no gates", hint=ASK)
    if gates is None:
        return ()
    base = read_baseline(baseline, report) if baseline else None
    found = check(report, gates, base=base, noise=spec.noise)
    if second is None or all(finding.verdict != "fail" for finding in found):
        return found
    repeated = _built(_read((second,), None, spec), spec)
    require_comparable(f"the second set `{second}`", repeated.source, report.source)
    return confirm(found, check(repeated, gates, base=base, noise=spec.noise))


def _conclude(output: Output, report: "Report", *, strict: bool) -> None:
    """Report gates that did not pass; raise the error that has the verdict's exit code."""
    from wukongctl.errors import CheckFailed, Inconclusive, Problem

    failed = [finding for finding in report.findings if finding.verdict == "fail"]
    undecided = [finding for finding in report.findings if finding.verdict == "inconclusive"]
    if failed:
        problems = tuple(Problem(f"{one.gate}, {one.item}: {one.message}") for one in failed)
        count = "1 gate item" if len(failed) == 1 else f"{len(failed)} gate items"
        raise CheckFailed(f"{count} failed", hint="see the report for details", problems=problems)
    for one in undecided:
        output.warn(f"{one.gate}, {one.item}: {one.message}")
    if strict and undecided:
        raise Inconclusive(f"inconclusive: {len(undecided)} gate items", hint=MORE_RUNS)
    _require_laws([curve.name for curve in report.curves if curve.law is None], strict=strict)


def _require_laws(without: list[str], *, strict: bool) -> None:
    from wukongctl.errors import Inconclusive

    if strict and without:
        raise Inconclusive(f"inconclusive: curves without a law: {', '.join(without)}", hint=MORE_RUNS)


def _calibrate(output: Output, runs: tuple[Path, ...], spec: "ReportSpec", out: Path) -> None:
    from wukongctl.data.atomic import write_atomic
    from wukongctl.errors import UsageError
    from wukongctl.gates.calibration import ANOTHER_SET, calibrate, gates_yaml, to_dict

    if len(runs) != 2:
        raise UsageError("`--calibrate` takes two sets of runs", hint="give two folders of runs, A/ and B/")
    found = calibrate(*(_either(path, spec) for path in runs), level=spec.level)
    path = out / CHECK
    write_atomic(path, lambda file: file.write(gates_yaml(found).encode()))

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table

        shown = table("regression", "probability that G2 fails")
        for multiple, chance in found.power:
            shown.add_row(f"{multiple:g} × margin", f"{chance:.1%}")
        console.print(
            f"A/A sd {found.sd:.3g} ({found.df} degrees of freedom), margin {found.margin:g}", soft_wrap=True
        )
        console.print(shown)
        console.print(f"gates for --check: {path}", soft_wrap=True)

    output.result(to_dict(found) | {"file": str(path)}, human)
    if not found.paired:
        output.warn(
            "the two sets have different seeds, so the margin includes the noise between seeds",
            hint=f"if later runs have the seeds of their baseline, {ANOTHER_SET}",
        )


def _either(path: Path, spec: "ReportSpec") -> "PointSet":
    return _read((), path, spec) if path.is_file() else _read((path,), None, spec)
