"""`wukongctl scale-report`: finished runs to a law, a picture and a report."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.scaling.analysis import Report
    from wukongctl.scaling.fit import Form
    from wukongctl.scaling.points import Metric

EXAMPLES = """\b
Examples:
  wukongctl scale-report runs/
  wukongctl scale-report runs/wukong-* runs/dlrm-* --out report
  wukongctl scale-report --points table5.csv --form power0
"""


@click.command("scale-report", epilog=EXAMPLES, short_help="Fit and draw scaling curves of finished runs.")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option("--points", type=click.Path(path_type=Path), help="CSV of points, in place of run folders.")
@options.out("scale-report", "Folder for the report's files.")
@click.option("--split", type=click.Choice(["valid", "test"]), help="Default: test where every run has it.")
@click.option(
    "--metric", type=click.Choice(["logloss", "excess_logloss"]),
    help="Default: excess_logloss where every run has it.",
)  # fmt: skip
@click.option(
    "--form", type=click.Choice(["power", "power0", "loglin", "power-known-floor"]),
    help="Default: power (E + A x^-c); power-known-floor with `--floor`.",
)  # fmt: skip
@click.option("--floor", type=float, help="Irreducible loss, when it is known otherwise.")
@options.common
def scale_report(
    output: Output,
    runs: tuple[Path, ...],
    points: Path | None,
    out: Path,
    split: str | None,
    metric: "Metric | None",
    form: "Form | None",
    floor: float | None,
) -> None:
    """Fit loss against training FLOPs for the finished runs in each RUN, a run folder or a folder of them.

    CSV columns: model, gflop_per_example, and logloss or relative_logloss (percent, as in the paper's
    Table 5); optional seed, examples, dense_params.
    """
    from wukongctl.errors import UsageError
    from wukongctl.scaling import points as point_sets
    from wukongctl.scaling.analysis import build

    if (points is None) == (not runs):
        raise UsageError("give run folders, or `--points CSV`", hint="run `wukongctl scale-report --help`")
    if points is not None:
        source = point_sets.read_csv(points)
    else:
        source = point_sets.read_runs(runs, split=split, metric=metric)
    publish(output, build(source, form=form, floor=floor), out)


def publish(output: Output, report: "Report", out: Path) -> None:
    """Write the report's files and say where they are; also what `quickstart` ends with."""
    from wukongctl.scaling.report import to_dict, write

    files = write(report, out)
    content = to_dict(report) | {"files": {kind: str(path) for kind, path in files.items()}}
    output.result(content, lambda console: _show(console, report, files["html"]))


def _show(console: "Console", report: "Report", html: Path) -> None:
    from wukongctl.cli.tables import table
    from wukongctl.scaling.wording import headline, interval, number

    shown = table("curve", "points", "law", "exponent c (95 %)", "notes")
    shown.columns[2].justify = "left"
    shown.columns[4].justify = "left"
    for curve in report.curves:
        law = curve.law
        shown.add_row(
            curve.model,
            str(len(curve.points)),
            curve.form,
            f"{number(law.parameters['c'], 3)} ({interval(curve.intervals.get('c'))})"
            if law is not None and "c" in law.parameters
            else "–",
            " ".join(curve.notes),
        )
    console.print(shown)
    console.print(headline(report), soft_wrap=True)
    console.print(f"report: {html}", soft_wrap=True)
