"""`wukongctl bench`: profile a training step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.targets import TRACE, require_own, require_writable

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """\b
Examples:
  wukongctl bench frappe/wukong
  wukongctl bench my.yaml --set precision=bfloat16 --steps 50
  wukongctl bench my.yaml --trace step.json
"""


@click.command(epilog=EXAMPLES)
@click.argument("recipe", type=options.recipe)
@options.overrides
@options.data
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Steps to time.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a Chrome trace of the last step to this file.",
)
@click.option("--force", is_flag=True, help="Overwrite `--trace` even if it is not a trace.")
@options.common
def bench(
    output: Output,
    recipe: str,
    overrides: tuple[str, ...],
    data: Path,
    steps: int,
    trace: Path | None,
    force: bool,
) -> None:
    """Train a few steps of RECIPE on its prepared dataset and time each phase; writes no run folder."""
    from wukongctl.config.loading import locate_problems
    from wukongctl.data import recipes
    from wukongctl.training.bench import bench as measure

    if trace is not None:
        require_writable(trace, "--trace", [Path(recipe)])
        require_own(trace, "--trace", "a trace", TRACE, force=force)
    path = recipes.find(recipe, data)
    spec = recipes.load(path, data, overrides)
    with locate_problems(path, overrides):
        found = measure(spec, data=data, steps=steps, trace=trace)
    for note in found["notes"]:
        output.warn(note)
    output.result(found, lambda console: _show(console, found))


def _show(console: "Console", found: dict[str, Any]) -> None:
    from wukongctl.cli.tables import phases_table

    console.print(phases_table(found))
    console.print(_rate(found), soft_wrap=True)
    console.print(
        f"loader {found['loader_rows_per_cpu_second']:,.0f} rows per CPU-second, "
        f"evaluation {found['evaluation_examples_per_cpu_second']:,.0f} examples per CPU-second"
    )


def _rate(found: dict[str, Any]) -> str:
    """Examples per second and MFU."""
    if "cpu_seconds" in found:
        threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
        return (
            f"{found['examples_per_cpu_second']:,.0f} examples per CPU-second "
            f"({found['examples_per_second']:,.0f}/s on {threads}), "
            f"MFU {found['mfu']:.1%} of {found['peak_gflops_per_cpu_second']:,.0f} GFLOP per CPU-second "
            f"in {found['precision']}"
        )
    return (
        f"{found['examples_per_second']:,.0f} examples/s on {found['device']}, "
        f"MFU {found['mfu']:.1%} of {found['peak_gflops_per_second'] / 1e3:,.0f} TFLOP/s in "
        f"{found['precision']}, {found['memory_bytes'] / 1e9:.2f} GB"
    )
