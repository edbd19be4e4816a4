"""`wukongctl evaluate`: metrics of a finished run, with intervals, and its predictions."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.run_warnings import warn_of_edits
from wukongctl.cli.targets import require_writable

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """\b
Examples:
  wukongctl evaluate runs/frappe-wukong-1a2b3c4d
  wukongctl evaluate runs/frappe-wukong-1a2b3c4d --split valid --predictions valid.parquet
  wukongctl evaluate runs/frappe-wukong-1a2b3c4d --group user
"""


@click.command(epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    help="Split to evaluate.",
)
@options.data
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the predictions, one row per example, as Parquet.",
)
@click.option(
    "--group",
    metavar="COLUMN",
    help="Also compute gAUC over the values of this categorical column; default: the recipe's `group`.",
)
@click.option("--force", is_flag=True, help="Overwrite `--predictions` even if it is not from this run.")
@options.common
def evaluate(
    output: Output,
    run: Path,
    split: str,
    data: Path,
    predictions: Path | None,
    group: str | None,
    force: bool,
) -> None:
    """Evaluate the best weights of RUN, a run folder, on one split."""
    from wukongctl.training.evaluate import evaluate as evaluate_run

    if predictions is not None:
        require_writable(predictions, "--predictions")
    found = evaluate_run(run, split, data=data, predictions=predictions, group=group, force=force)

    if edited := warn_of_edits(output, run):
        found["edited_keys"] = edited

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table
        from wukongctl.training.metrics import METRICS

        shown = table(f"{split}, {found['rows']:,} rows", "value", "95 % interval")
        for metric in METRICS.values():
            if (value := found.get(metric.name)) is not None:
                interval = found.get(f"{metric.name}_ci")
                ends = f"{metric.text(interval[0])} – {metric.text(interval[1])}" if interval else ""
                shown.add_row(metric.title, metric.text(value), ends)
        console.print(shown)
        if "auc_error_bound" in found:
            console.print(f"AUC within {found['auc_error_bound']:.1e} of the exact value: scores were binned")
        if predictions is not None:
            console.print(f"predictions: {predictions}", soft_wrap=True)

    output.result(found, human)
