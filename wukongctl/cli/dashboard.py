"""`wukongctl dashboard`: the runs of a folder on one HTML page."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.targets import require_own, require_writable

if TYPE_CHECKING:
    from wukongctl.runs.dashboard import Dashboard

EXAMPLES = """\b
Examples:
  wukongctl dashboard
  wukongctl dashboard runs sweeps/frappe-search --out frappe.html
  wukongctl dashboard --watch 10
"""


@click.command(epilog=EXAMPLES)
@click.argument(
    "runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUNS]...", envvar="WUKONGCTL_RUNS"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("dashboard.html"),
    show_default=True,
    help="HTML file to write.",
)
@options.data
@click.option(
    "--watch",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Rewrite the page this often until Ctrl-C; browsers reload it.",
)
@click.option("--force", is_flag=True, help="Replace `--out` even if it is not a dashboard.")
@options.common
def dashboard(
    output: Output, runs: tuple[Path, ...], out: Path, data: Path, watch: float | None, force: bool
) -> None:
    """Write one HTML page about RUNS, run folders or folders of them (default: runs).

    It has a table of runs, learning curves, differences between recipes, a leaderboard and loss against
    compute. Unfinished and failed runs are shown as well. The page is one file that loads nothing.
    """
    from wukongctl.report.dashboard import GENERATOR, write
    from wukongctl.runs.dashboard import gather

    options.exclusive(("--watch", watch), ("--json", output.as_json))
    require_writable(out, "--out")
    require_own(out, "--out", "a dashboard", GENERATOR, force=force)
    paths = runs or (Path("runs"),)
    content = gather(paths)
    write(content, out, data=data, reload_every=watch)
    result = _summary(content, out)
    text = f"dashboard of {len(result['runs'])} runs: {out}"
    if watch is None:
        output.result(result, lambda console: console.print(text, soft_wrap=True))
        return
    output.note(f"{text}, rewritten every {watch:g} s; Ctrl-C stops")
    _watch(content, paths, out, data, watch)


def _watch(content: "Dashboard", paths: tuple[Path, ...], out: Path, data: Path, seconds: float) -> None:
    """Rewrite the page until a signal; the page that stays does not reload."""
    from wukongctl.report.dashboard import write
    from wukongctl.runs.dashboard import gather

    try:
        while True:
            time.sleep(seconds)
            content = gather(paths)
            write(content, out, data=data, reload_every=seconds)
    finally:
        write(content, out, data=data)


def _summary(content: "Dashboard", out: Path) -> dict[str, Any]:
    """The content of the page without curves and recipes, which run folders have."""
    runs = [
        {key: value for key, value in run.items() if key not in ("curves", "recipe")}
        for run in content["runs"]
    ]
    return {"path": str(out), **content, "runs": runs}
