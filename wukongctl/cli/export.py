"""`wukongctl export`: export a trained model, to score without wukongctl."""

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
  wukongctl export runs/frappe-wukong-1a2b3c4d
  wukongctl export runs/frappe-wukong-1a2b3c4d --onnx --out serving
"""


@click.command(epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@options.data
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Output folder; default: RUN/export."
)
@click.option("--onnx", is_flag=True, help="Also export ONNX (needs the extra `onnx`).")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@options.common
def export(output: Output, run: Path, data: Path, out: Path | None, onnx: bool, force: bool) -> None:
    """Write the best weights of RUN as `model.pt2` (torch.export), with vocabularies and signature.

    The model takes ids and numbers; `signature.json` describes how to encode raw values. Each exported file
    is loaded again and must reproduce the run's scores before the folder appears.
    """
    from wukongctl.training.export import export as export_run

    if out is not None:
        require_writable(out, "--out")
    found = export_run(run, data=data, out=out or run / "export", onnx=onnx, force=force)

    warn_of_edits(output, run)

    def human(console: "Console") -> None:
        for name, difference in found["largest_difference"].items():
            console.print(
                f"{name}: same scores on {found['checked_rows']:,} rows, logits within {difference:.1e}"
            )
        if found["trained_in"] != found["precision"]:
            console.print(f"exported in {found['precision']}; the run was trained in {found['trained_in']}")
        console.print(f"export: {found['path']}", soft_wrap=True)

    output.result(found, human)
