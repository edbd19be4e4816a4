"""`wukongctl runs`: list and show run folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.run_warnings import warn_of

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.training.run_folder import RunFolder

FOLDER = click.argument(
    "folder", type=click.Path(path_type=Path), default=Path("runs"), envvar="WUKONGCTL_RUNS"
)


@click.group()
def runs() -> None:
    """Run folders, written by `wukongctl train`."""


@runs.command("ls")
@FOLDER
@options.common
def ls(output: Output, folder: Path) -> None:
    """List the runs in FOLDER (default: runs), best test LogLoss first."""
    from wukongctl.errors import UsageError
    from wukongctl.training.run_folder import RunFolder

    if not folder.is_dir():
        raise UsageError(
            f"there is no folder `{folder}`", hint="`wukongctl train` creates it; or name another folder"
        )
    found = [_row(RunFolder(path.parent)) for path in sorted(folder.glob("*/run.json"))]
    found.sort(key=lambda row: row["metrics"].get("logloss", float("inf")))

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table
        from wukongctl.training.metrics import AUC, GAUC, LOGLOSS

        if not found:
            console.print(f"no runs in {folder}", soft_wrap=True)
            return
        warned = any(row["warnings"] for row in found)
        grouped = any("gauc" in row["metrics"] for row in found)
        measured = [AUC, *([GAUC] if grouped else []), LOGLOSS]
        titles = (f"test {metric.title}" for metric in measured)
        shown = table("run", "dataset", "status", "seed", "MFLOP/ex.", *titles, *["!"] * warned)
        for row in found:
            metrics = row["metrics"]
            cells = (m.text(metrics[m.name]) if m.name in metrics else "–" for m in measured)
            seed, gflop = row["seed"], row["gflop_per_example"]
            known = ("–" if seed is None else str(seed), "–" if gflop is None else f"{gflop * 1e3:.4g}")
            mark = ["!" if row["warnings"] else ""] if warned else []
            shown.add_row(row["run"], row["dataset"] or "–", row["status"], *known, *cells, *mark)
        console.print(shown)
        if warned:
            console.print("! has warnings: see `wukongctl runs show RUN`")

    output.result(found, human)


@runs.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@options.common
def show(output: Output, run: Path) -> None:
    """Show the recipe and the results of RUN."""
    from wukongctl.training.run_folder import RunFolder

    folder = RunFolder(run)
    info, result = folder.info(), folder.result()
    if info is None:
        from wukongctl.training.not_a_run import not_a_run

        raise not_a_run(run)

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import metrics_table

        console.out((run / "recipe.yaml").read_text(encoding="utf-8"), highlight=False)
        if result is None:
            console.print("unfinished; train its recipe again to resume")
        else:
            console.print(f"{result.status} at step {result.step}, best step {result.best_step}")
            console.print(metrics_table(result.metrics))

    output.result({"run": info.to_dict(), "result": result and result.to_dict()}, human)
    warn_of(output, [result.warnings if result else []])


def _row(folder: "RunFolder") -> dict[str, Any]:
    """One row of the list; a run with damaged files is listed as such."""
    from wukongctl.errors import UsageError

    try:
        info, result = folder.info(), folder.result()
    except UsageError:
        unknown = dict.fromkeys(("model", "dataset", "seed", "gflop_per_example"))
        return {"run": folder.path.name, "status": "damaged", "metrics": {}, "warnings": []} | unknown
    assert info is not None, "ls looks for run.json"
    return {
        "run": folder.path.name,
        "model": info.model,
        "dataset": info.data.dataset,
        "status": "unfinished" if result is None else result.status,
        "seed": info.seed,
        "gflop_per_example": info.gflop,
        "metrics": {} if result is None else result.metrics.get("test", {}),
        "warnings": [] if result is None else [warning.code for warning in result.warnings],
    }
