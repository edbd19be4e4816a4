"""One recipe under several seeds: a run folder each, one after the other, and their spread."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.cli.output import Output
from wukongctl.cli.sources import Source
from wukongctl.cli.warned import warn_of

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec

TITLES = {"auc": "AUC", "logloss": "LogLoss", "excess_logloss": "excess LogLoss"}


def with_seeds(source: Source, seeds: int) -> "list[TrainingSpec]":
    """The recipe with its own seed and those that follow; raises UsageError as loading does."""
    first = source.recipe()
    following = range(first.seed + 1, first.seed + seeds)
    return [first, *(source.recipe(f"seed={seed}") for seed in following)]


def train_all(output: Output, specs: "list[TrainingSpec]", speaks: bool, *, resume: bool, **how: Any) -> None:
    """Train each in turn, complete ones skipped, and print what came out where this process `speaks`.

    A run that diverges is recorded and the others go on; anything else that stops a run stops them all, and
    the same call goes on. Raises RunFailed at the end when a run diverged.
    """
    from wukongctl.errors import RunFailed

    runs = []
    for spec in specs:
        # Where the first run has begun there is something to resume.
        runs.append(_train(output, spec, resume=resume and not runs, **how))
        output.note(f"[{len(runs)}/{len(specs)}] seed {spec.seed}: {_said(runs[-1])}")
    summary = summarize(runs)
    if speaks:
        output.result(summary, lambda console: show(console, summary))
        warn_of(output, [run for run in runs if run["status"] == "complete"])
    if lost := [run["message"] for run in runs if run["status"] == "diverged"]:
        raise RunFailed(f"{len(lost)} of {len(runs)} runs diverged, the first with: {lost[0]}")


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """All runs, and mean and sample standard deviation of what the complete ones measured."""
    from wukongctl.sweep.summary import spread
    from wukongctl.sweep.sweep import JobResult

    complete = [run for run in runs if run["status"] == "complete"]
    shared = {key: run[key] for run in complete[:1] for key in ("model", "gflop_per_example", "params")}
    return {
        "seeds": [run["seed"] for run in runs],
        **shared,
        "metrics": spread([JobResult("complete", run) for run in complete]),
        "seconds": sum(run["seconds"] for run in complete),
        "runs": runs,
    }


def show(console: "Console", summary: dict[str, Any]) -> None:
    """A row per seed, then mean ± standard deviation."""
    from wukongctl.cli.tables import mean_and_sd, table

    columns = [
        (split, key)
        for split, metrics in summary["metrics"].items()
        for key in metrics
        if key != "logloss" or "excess_logloss" not in metrics
    ]
    shown = table("seed", *(f"{split} {TITLES[key]}" for split, key in columns), "best step", "seconds")
    for run in summary["runs"]:
        cells = [f"{run['metrics'][split][key]:.5f}" for split, key in columns if run["metrics"]]
        rest = [f"{run['best_step']:,}", f"{run['seconds']:.1f}"] if run["metrics"] else ["diverged"]
        shown.add_row(str(run["seed"]), *cells, *rest)
    means = (mean_and_sd(summary["metrics"][split][key]) for split, key in columns)
    shown.add_row("mean ± sd", *means, "", f"{summary['seconds']:.1f}")
    console.print(shown)
    for run in summary["runs"]:
        console.print(f"run folder: {run['run']}", soft_wrap=True)


def _train(output: Output, spec: "TrainingSpec", *, out: Path, **how: Any) -> dict[str, Any]:
    from wukongctl.cli.train import run_recipe, summary_of
    from wukongctl.errors import RunFailed
    from wukongctl.training.run import RunFolder

    try:
        return {"seed": spec.seed, **summary_of(run_recipe(output, spec, out=out, **how))}
    except RunFailed as error:
        folder = RunFolder.for_recipe(spec, out)
        if (folder.read("result.json") or {}).get("status") != "diverged":
            raise
        return {
            "seed": spec.seed,
            "run": str(folder.path),
            "status": "diverged",
            "message": error.message,
            "metrics": {},
        }


def _said(run: dict[str, Any]) -> str:
    if run["status"] == "diverged":
        return run["message"]
    split = "valid" if "valid" in run["metrics"] else next(iter(run["metrics"]), None)
    measured = f"{split} LogLoss {run['metrics'][split]['logloss']:.5f}, " if split else ""
    return f"{measured}{run['seconds']:.1f} s"
