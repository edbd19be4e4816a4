"""`wukongctl flops`: what a recipe costs, without data or memory."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec
    from wukongctl.data.schema import Schema
    from wukongctl.scaling.flops import FlopReport

EXAMPLES = """\b
Examples:
  wukongctl flops frappe/wukong frappe/dlrm
  wukongctl flops my.yaml --by-module --set model.layers=8
  wukongctl flops my.yaml --max-gflop 0.5        # exit 3 when it costs more
"""


@click.command(epilog=EXAMPLES, short_help="FLOPs and parameters of a recipe; needs no data.")
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@options.overrides
@options.data
@click.option(
    "--mode", type=click.Choice(["train", "forward"]), default="train", show_default=True,
    help="Which FLOPs the table shows and `--max-gflop` compares.",
)  # fmt: skip
@click.option("--by-module", is_flag=True, help="One row per part of the model.")
@click.option("--max-gflop", type=float, help="Exit 3 when any recipe needs more GFLOP per example.")
@options.common
def flops(
    output: Output,
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    data: Path,
    mode: str,
    by_module: bool,
    max_gflop: float | None,
) -> None:
    """Count FLOPs per example and parameters of each RECIPE, by formula and by tracing.

    Embedding parameters come from the prepared data where it exists, else from the dataset's recipe.
    """
    from wukongctl.config import library
    from wukongctl.config.loading import load
    from wukongctl.config.training import TrainingSpec
    from wukongctl.scaling.flops import analyze

    reports = []
    for recipe in recipes:
        spec = load(library.find(recipe), TrainingSpec, overrides)
        schema, known = _schema(spec, data)
        reports.append(analyze(recipe, spec, schema, embedding_rows_known=known))
    output.result(
        [report.to_dict() for report in reports], lambda console: _show(console, reports, mode, by_module)
    )
    _gate(reports, mode, max_gflop)


def _schema(spec: "TrainingSpec", data: Path) -> "tuple[Schema, bool]":
    """The dataset's columns, and whether its embedding rows are known."""
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data import manifest as manifests
    from wukongctl.data.schema import schema_from_recipe

    if (data / spec.data / "manifest.json").is_file():
        return manifests.read(data / spec.data).schema(), True
    dataset = load(library.find(spec.data, "datasets"), DatasetSpec)
    return schema_from_recipe(dataset), all(name in dataset.cardinalities for name in dataset.categorical)


def _gflop(report: "FlopReport", mode: str) -> float:
    return report.counts.gflop if mode == "train" else report.counts.forward_gflop


def _show(console: "Console", reports: "list[FlopReport]", mode: str, by_module: bool) -> None:
    from wukongctl.cli.tables import table
    from wukongctl.models.counts import CONVENTION

    unit = f"{mode} MFLOP/example"
    if by_module:
        for report in reports:
            shown = table(report.recipe, "MACs", unit, "share", "parameters")
            scale = _gflop(report, mode) / max(report.counts.macs, 1)
            for module in report.modules:
                share = module.macs / max(report.counts.macs, 1)
                shown.add_row(
                    module.name,
                    f"{module.macs:,}",
                    f"{module.macs * scale * 1e3:,.4g}",
                    f"{share:.1%}",
                    f"{module.params:,}" if module.macs or report.embedding_rows_known else "unknown",
                )
            console.print(shown)
    summary = table("recipe", unit, "MACs", "dense params", "embedding params")
    for report in reports:
        embedding = f"{report.counts.embedding_params:,}" if report.embedding_rows_known else "unknown"
        summary.add_row(
            report.recipe,
            f"{_gflop(report, mode) * 1e3:,.6g}",
            f"{report.counts.macs:,}",
            f"{report.counts.dense_params:,}",
            embedding,
        )
    console.print(summary)
    console.print(f"convention: {CONVENTION}", soft_wrap=True)


def _gate(reports: "list[FlopReport]", mode: str, max_gflop: float | None) -> None:
    from wukongctl.errors import CheckFailed

    over = [report for report in reports if max_gflop is not None and not _gflop(report, mode) <= max_gflop]
    if over:
        named = ", ".join(f"`{report.recipe}` {_gflop(report, mode):.6g}" for report in over)
        raise CheckFailed(f"over {max_gflop:g} GFLOP per example ({mode}): {named}")
