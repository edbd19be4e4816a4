"""Train one recipe with several seeds, a run folder each, and summarize the runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.cli.output import Output
from wukongctl.cli.run_recipe import run_recipe, summary_of
from wukongctl.cli.run_warnings import warn_of

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec
    from wukongctl.data.recipe_sources import RecipeSource
    from wukongctl.training.train import CompleteRun


@dataclass(frozen=True)
class SeedRun:
    """The run of one seed: complete, or diverged with a message."""

    seed: int
    folder: Path
    complete: "CompleteRun | None" = None
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Its entry in the JSON output."""
        if self.complete is not None:
            return {"seed": self.seed, **summary_of(self.complete)}
        return {
            "seed": self.seed,
            "run": str(self.folder),
            "status": "diverged",
            "message": self.message,
            "metrics": {},
        }

    def __str__(self) -> str:
        if self.complete is None:
            return self.message
        result = self.complete.result
        split = "valid" if "valid" in result.metrics else next(iter(result.metrics), None)
        measured = f"{split} LogLoss {result.metrics[split]['logloss']:.5f}, " if split else ""
        return f"{measured}{result.seconds:.1f} s"


def with_seeds(source: "RecipeSource", seeds: int) -> "list[TrainingSpec]":
    """The recipe with its own seed and the ones after it; raises UsageError as loading does."""
    first = source.recipe()
    following = range(first.seed + 1, first.seed + seeds)
    return [first, *(source.recipe(f"seed={seed}") for seed in following)]


def train_all(
    output: Output, specs: "list[TrainingSpec]", is_rank_zero: bool, *, resume: bool, **how: Any
) -> None:
    """Train each in turn, skipping complete runs; rank 0 prints the results.

    A run that diverges is recorded and the others continue; any other failure stops them all, and the same
    call resumes. Raises RunFailed at the end if a run diverged.
    """
    from wukongctl.errors import RunFailed

    runs: list[SeedRun] = []
    for spec in specs:
        # If the first run has started, there is something to resume.
        runs.append(_train(output, spec, resume=resume and not runs, **how))
        output.note(f"[{len(runs)}/{len(specs)}] seed {spec.seed}: {runs[-1]}")
    if is_rank_zero:
        summary = summarize(runs)
        output.result(summary, lambda console: show(console, summary))
        warn_of(output, [run.complete.result.warnings for run in runs if run.complete is not None])
    if diverged := [run.message for run in runs if run.complete is None]:
        raise RunFailed(f"{len(diverged)} of {len(runs)} runs diverged, the first with: {diverged[0]}")


def summarize(runs: list[SeedRun]) -> dict[str, Any]:
    """All runs, and mean and sample standard deviation of the metrics of the complete ones."""
    from wukongctl.sweep.summary import spread

    complete = [run.complete for run in runs if run.complete is not None]
    cost = {
        key: value
        for run in complete[:1]
        for key, value in summary_of(run).items()
        if key in ("model", "gflop_per_example", "params")
    }
    return {
        "seeds": [run.seed for run in runs],
        **cost,
        "metrics": spread([run.result for run in complete]),
        "seconds": sum(run.result.seconds for run in complete),
        "runs": [run.to_dict() for run in runs],
    }


def show(console: "Console", summary: dict[str, Any]) -> None:
    """A row per seed, then mean ± standard deviation."""
    from wukongctl.cli.tables import mean_and_sd, table
    from wukongctl.training.metrics import METRICS

    columns = [
        (split, key)
        for split, metrics in summary["metrics"].items()
        for key in metrics
        if key != "logloss" or "excess_logloss" not in metrics
    ]
    titles = (f"{split} {METRICS[key].title}" for split, key in columns)
    shown = table("seed", *titles, "best step", "seconds")
    for run in summary["runs"]:
        cells = [f"{run['metrics'][split][key]:.5f}" for split, key in columns if run["metrics"]]
        rest = [f"{run['best_step']:,}", f"{run['seconds']:.1f}"] if run["metrics"] else ["diverged"]
        shown.add_row(str(run["seed"]), *cells, *rest)
    means = (mean_and_sd(summary["metrics"][split][key]) for split, key in columns)
    shown.add_row("mean ± sd", *means, "", f"{summary['seconds']:.1f}")
    console.print(shown)
    for run in summary["runs"]:
        console.print(f"run folder: {run['run']}", soft_wrap=True)


def _train(output: Output, spec: "TrainingSpec", *, out: Path, **how: Any) -> SeedRun:
    from wukongctl.errors import RunFailed
    from wukongctl.training.run_folder import RunFolder

    folder = RunFolder.for_recipe(spec, out)
    try:
        return SeedRun(spec.seed, folder.path, run_recipe(output, spec, out=out, **how))
    except RunFailed as error:
        result = folder.result()
        if result is None or result.status != "diverged":
            raise
        return SeedRun(spec.seed, folder.path, message=error.message)
