"""`wukongctl export`: a trained model that scores without wukongctl."""

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
  wukongctl export runs/frappe-wukong-1a2b3c4d
  wukongctl export runs/frappe-wukong-1a2b3c4d --onnx --out serving
"""


@click.command(epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@options.data
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write; default: RUN/export."
)
@click.option("--onnx", is_flag=True, help="Also as ONNX (extra `onnx`).")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@options.common
def export(output: Output, run: Path, data: Path, out: Path | None, onnx: bool, force: bool) -> None:
    """Write the best weights of RUN as `model.pt2` (torch.export), with their vocabularies and signature.

    A program takes ids and numbers; `signature.json` says how raw values become them. Each program is
    loaded again and must give the run's own scores before anything appears in the folder.
    """
    from wukongctl.training.export import export as export_run

    if out is not None:
        require_writable(out, "--out")
    found = export_run(run, data=data, out=out or run / "export", onnx=onnx, force=force)

    def human(console: "Console") -> None:
        for name, difference in found["largest_difference"].items():
            console.print(
                f"{name}: same scores on {found['checked_rows']:,} rows, logits within {difference:.1e}"
            )
        if found["trained_in"] != found["precision"]:
            console.print(f"computes in {found['precision']}; the run was trained in {found['trained_in']}")
        console.print(f"export: {found['path']}", soft_wrap=True)

    output.result(found, human)
