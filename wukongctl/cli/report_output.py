"""What `scale-report` and `quickstart` print and write."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.cli.output import Output, prose

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.laws.analysis import Report


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a report as the user gave them, for its dashboard; `data` has their prepared datasets."""

    paths: tuple[Path, ...]
    data: Path


def publish(output: Output, report: "Report", out: Path, runs: Runs | None = None) -> None:
    """Write the report's files and print the report, also for `quickstart`."""
    from wukongctl.report.dashboard import FILE

    content, html = _written(report, out, FILE if runs else None)
    dashboard = _dashboard(runs, out, content)

    def human(console: "Console") -> None:
        _show(console, report, html)
        _show_dashboard(console, dashboard)

    output.result(content, human)


def publish_datasets(output: Output, reports: "dict[str, Report]", out: Path, runs: Runs) -> None:
    """Write a report per dataset into a folder of its own, and an index of them; print them all."""
    from wukongctl.report.dashboard import FILE
    from wukongctl.report.index import folder_of, write_index

    written = {
        label: _written(report, out / folder_of(label), f"../{FILE}") for label, report in reports.items()
    }
    index = write_index(reports, out, dashboard=FILE)
    content = {
        "reports": {label: content for label, (content, _) in written.items()},
        "files": {"html": str(index)},
    }
    dashboard = _dashboard(runs, out, content)

    def human(console: "Console") -> None:
        for label, report in reports.items():
            console.print(label, style="bold", soft_wrap=True)
            _show(console, report, written[label][1])
            console.print("")
        console.print(f"all reports: {index}", soft_wrap=True)
        _show_dashboard(console, dashboard)

    output.result(content, human)


def _dashboard(runs: Runs | None, out: Path, content: dict[str, Any]) -> Path | None:
    """Write the dashboard that the pages in `out` link to, and add it to the files of `content`."""
    from wukongctl.report.dashboard import FILE, write
    from wukongctl.runs.dashboard import gather

    if runs is None:
        return None
    path = out / FILE
    write(gather(runs.paths), path, data=runs.data)
    content["files"]["dashboard"] = str(path)
    return path


def _show_dashboard(console: "Console", path: Path | None) -> None:
    if path is not None:
        console.print(f"runs and learning curves: {path}", soft_wrap=True)


def _written(report: "Report", out: Path, dashboard: str | None) -> tuple[dict[str, Any], Path]:
    """Write one report, also to the summary of a CI job; its JSON and the path of its page."""
    from wukongctl.report.document import to_dict
    from wukongctl.report.files import to_markdown, write

    files = write(report, out, dashboard=dashboard)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(to_markdown(report, pictures=False))
    return to_dict(report) | {"files": {kind: str(path) for kind, path in files.items()}}, files["html"]


def _show(console: "Console", report: "Report", html: Path) -> None:
    from wukongctl.laws.notes import explain
    from wukongctl.report.evidence import analyses, axes_of
    from wukongctl.report.headline import headline
    from wukongctl.report.wording import descriptive

    if not report.is_data_study:
        _show_curves(console, report)
    if report.data_laws:
        _show_data_laws(console, report)
    _show_predictions(console, report)
    if report.findings:
        _show_gates(console, report)
    prose(console, headline(report))
    shown = (*(() if report.is_data_study else report.curves), *report.data_laws)
    for code in dict.fromkeys(code for one in shown for code in one.notes):
        prose(console, f"{code}: {explain(code, axes_of(report))}")
    if any(one.descriptive for _, one in analyses(report)):
        prose(console, f"descriptive only: {descriptive(axes_of(report))}")
    for found in report.warnings():
        prose(console, f"! {found.summary(len(report.source.points))}")
        prose(console, f"  hint: {found.hint}")
    if report.excluded:
        prose(console, f"not fitted: {_reasons(report)}")
    console.print(f"report: {html}", soft_wrap=True)


def _show_curves(console: "Console", report: "Report") -> None:
    """The law of each curve over size."""
    from wukongctl.cli.tables import table
    from wukongctl.report.wording import exponent

    shown = table("curve", "points", "law", "exponent c (95 %)", "notes")
    shown.columns[2].justify = "left"
    shown.columns[4].justify = "left"
    for curve in report.curves:
        shown.add_row(
            curve.name,
            str(len(curve.points)),
            curve.form.name,
            exponent(curve.law, curve.intervals.get("c"), curve.notes, 3),
            " ".join(curve.notes),
        )
    console.print(shown)


def _show_data_laws(console: "Console", report: "Report") -> None:
    """Loss against examples, for each size trained on several amounts of data."""
    from wukongctl.cli.tables import table
    from wukongctl.report.numbers import compute
    from wukongctl.report.wording import exponent

    shown = table("data law", "size", report.source.data.base, "exponent c (95 %)", "notes")
    shown.columns[4].justify = "left"
    for found in report.data_laws:
        shown.add_row(
            found.curve,
            compute(found.gflop_per_example, report.unit),
            f"{found.amounts[0].examples:,} to {found.amounts[-1].examples:,}",
            exponent(found.law, found.intervals.get("c"), found.notes, 3),
            " ".join(found.notes),
        )
    console.print(shown)


def _show_predictions(console: "Console", report: "Report") -> None:
    """What `--predict` asked for, and which curves have no prediction."""
    from wukongctl.cli.tables import table
    from wukongctl.laws.analysis import NO_PREDICTION
    from wukongctl.report.evidence import analyses
    from wukongctl.report.numbers import interval, number

    for remark in report.remarks:
        if remark.startswith(NO_PREDICTION):
            prose(console, remark)
    rows = [(name, one) for name, curve in analyses(report) for one in curve.forecasts]
    if not rows:
        return
    shown = table("prediction", "x", "loss", f"{report.level * 100:g} % of new runs", "form", "beyond")
    for name, one in rows:
        beyond = f"{100 * one.distance:.0f} %" if one.extrapolated else "–"
        shown.add_row(name, number(one.x), number(one.loss), interval(one.interval, 4), one.form, beyond)
    console.print(shown)


def _reasons(report: "Report") -> str:
    """Such as `2 diverged, 1 unfinished`; the report names the runs."""
    counts = Counter(run.reason for run in report.excluded)
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _show_gates(console: "Console", report: "Report") -> None:
    """Gates that did not pass, and the number that did; the report has every finding."""
    passed = sum(finding.verdict == "pass" for finding in report.findings)
    for finding in report.findings:
        if finding.verdict != "pass":
            console.print(f"{finding.verdict}: {finding.gate}, {finding.item}", soft_wrap=True)
    console.print(f"gates: {report.verdict}, {passed} of {len(report.findings)} passed")
