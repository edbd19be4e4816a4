"""`wukongctl predict`: score new rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.run_warnings import warn_of_edits
from wukongctl.cli.targets import require_writable

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.data.rows import ColumnsOf

EXAMPLES = """\b
Examples:
  wukongctl predict runs/frappe-wukong-1a2b3c4d new.parquet
  wukongctl predict runs/frappe-wukong-1a2b3c4d monday.csv tuesday.csv --out scores.csv
"""


@click.command(epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@options.data
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("predictions.parquet"),
    show_default=True,
    help="File for `logit` and `prediction`, .parquet or .csv.",
)
@click.option(
    "--columns",
    type=click.Choice(["raw", "selected"]),
    help="Columns of FILE: those of the recipe's raw file, or of its SELECT. "
    "Default: raw, if FILE has the raw columns that the features need.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the files that the SELECT joins, if not where `prepare` found them.",
)
@click.option(
    "--allow-unknown",
    is_flag=True,
    help="Score even if most values of a feature are out of vocabulary, missing or out of range.",
)
@click.option("--force", is_flag=True, help="Overwrite `--out` even if it is not from this run.")
@options.common
def predict(
    output: Output,
    run: Path,
    files: tuple[Path, ...],
    data: Path,
    out: Path,
    columns: "ColumnsOf | None",
    source: Path | None,
    allow_unknown: bool,
    force: bool,
) -> None:
    """Score the rows of each FILE (Parquet, CSV, TSV or JSON) with the best weights of RUN.

    Files have the columns of the dataset's raw file; the recipe's SELECT runs over them. No label is needed.
    The output has one row per input row, in the same order.
    """
    from wukongctl.training.predict import predict as predict_rows

    require_writable(out, "--out", files)
    with output.progress() as bar:
        found = predict_rows(
            run,
            files,
            data=data,
            out=out,
            columns=columns,
            source=source,
            allow_unknown=allow_unknown,
            force=force,
            report=lambda rows: bar.update("predict", rows, None, "rows"),
        )

    warn_of_edits(output, run)
    for note in found["notes"]:
        output.warn(note)

    def human(console: "Console") -> None:
        mean = found["mean_prediction"]
        console.print(
            f"{found['rows']:,} rows in {found['seconds']:.1f} s ({found['rows_per_second']:,.0f}/s)"
            + ("" if mean is None else f", mean prediction {mean:.5f}")
        )
        console.print(f"predictions: {out}", soft_wrap=True)

    output.result(found, human)
