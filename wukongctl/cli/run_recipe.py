"""Train one recipe and print its result, for `train`, `train --seeds` and `quickstart`."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.cli import launch
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec
    from wukongctl.training.trackers import TrackerName
    from wukongctl.training.train import CompleteRun


def run_recipe(
    output: Output,
    spec: "TrainingSpec",
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    track: "tuple[TrackerName, ...]" = (),
    skip_test: bool = False,
) -> "CompleteRun":
    """Train one recipe with a progress bar."""
    from wukongctl.training.distributed import processes
    from wukongctl.training.hardware import execution
    from wukongctl.training.loop import TrainingProgress
    from wukongctl.training.train import train as train_recipe

    metric = spec.early_stopping.metric
    is_rank_zero = launch.rank() == 0
    for note in execution(spec, processes=processes()).notes if is_rank_zero else ():
        output.warn(note)
    with output.progress() as bar, output.warnings_shown() if is_rank_zero else nullcontext():

        def report(at: TrainingProgress) -> None:
            watched = "" if at.watched is None else f" · best valid {metric} {at.watched:.4f}"
            detail = f"loss {at.loss:.4f}{watched} · {at.examples_per_second:,.0f} examples/s"
            bar.update(f"train {spec.run_name}", at.step, at.steps, detail)

        run = train_recipe(
            spec,
            data=data, out=out, resume=resume, force=force, track=track, skip_test=skip_test, report=report,
        )  # fmt: skip
    if run.was_complete:
        output.note(f"`{run.folder}` is already complete; `--force` trains it again")
    return run


def show(console: "Console", run: "CompleteRun") -> None:
    """Print a run's metrics, cost and speed."""
    from wukongctl.cli.tables import metrics_table

    result, gflop = run.result, run.info.gflop
    console.print(metrics_table(result.metrics))
    cost = f"{result.trees:,} trees" if gflop is None else f"{gflop * 1e3:.4g} training MFLOP/example"
    speed = result.examples_per_second or 0.0
    console.print(
        f"{run.info.model}: {result.examples:,} examples in {result.seconds:.1f} s "
        f"({speed:,.0f}/s), {cost}, best step {result.best_step}"
    )
    if result.mfu is not None:  # missing in runs of older versions
        console.print(
            f"MFU {result.mfu:.1%}: {result.gflops_per_second:,.1f} of "
            f"{result.peak_gflops_per_second:,.0f} GFLOP/s, the peak of matrix products on this machine"
        )
    console.print(f"run folder: {run.folder}", soft_wrap=True)


def summary_of(run: "CompleteRun") -> dict[str, Any]:
    """The JSON object of one run."""
    info, result = run.info, run.result
    return {
        "run": str(run.folder),
        "status": result.status,
        "model": info.model,
        "examples": result.examples,
        "examples_per_second": result.examples_per_second,
        "gflop_per_example": info.gflop,
        "params": info.params.to_dict(),
        "best_step": result.best_step,
        "selected_on": result.selected_on,
        "metrics": result.metrics,
        "seconds": result.seconds,
        "mfu": result.mfu,
        "warnings": [warning.to_dict() for warning in result.warnings],
    }
