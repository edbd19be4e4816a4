"""`wukongctl evaluate`: metrics of a finished run, with intervals, and its predictions."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
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
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True)
@options.data
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write one row per example as Parquet.",
)
@click.option("--group", metavar="COLUMN", help="Also the gAUC over the values of this categorical column.")
@options.common
def evaluate(
    output: Output, run: Path, split: str, data: Path, predictions: Path | None, group: str | None
) -> None:
    """Evaluate the best weights of RUN, a run folder, on one split."""
    from wukongctl.training.evaluate import evaluate as evaluate_run

    if predictions is not None:
        require_writable(predictions, "--predictions")
    found = evaluate_run(run, split, data=data, predictions=predictions, group=group)

    def human(console: "Console") -> None:
        rows = {
            "AUC": (found["auc"], found["auc_ci"]),
            "LogLoss": (found["logloss"], found["logloss_ci"]),
            "normalized entropy": (found["normalized_entropy"], None),
            "calibration": (found["calibration"], None),
            "gAUC": (found.get("gauc"), None),
            "excess LogLoss": (found.get("excess_logloss"), None),
        }
        from wukongctl.cli.tables import table

        shown = table(f"{split}, {found['rows']:,} rows", "value", "95 % interval")
        for name, (value, interval) in rows.items():
            if value is not None:
                span = f"{interval[0]:.5f} – {interval[1]:.5f}" if interval else ""
                shown.add_row(name, f"{value:.5f}", span)
        console.print(shown)
        if "auc_error_bound" in found:
            console.print(f"AUC within {found['auc_error_bound']:.1e} of the exact one: scores were binned")
        if predictions is not None:
            console.print(f"predictions: {predictions}", soft_wrap=True)

    output.result(found, human)
