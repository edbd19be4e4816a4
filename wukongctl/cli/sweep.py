"""`wukongctl sweep`: train ladders of models, sizes, data fractions and seeds from one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.progress import ProgressBar
from wukongctl.cli.run_warnings import warn_of_sweep

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.sweep.executors import Executor
    from wukongctl.sweep.sweep import Event, Job, Sweep

EXAMPLES = """\b
Examples:
  wukongctl sweep scaling/synthetic-sizes --dry-run
  wukongctl sweep scaling/synthetic-sizes --jobs 2
  wukongctl scale-report sweeps/synthetic-sizes
"""


@click.command(epilog=EXAMPLES)
@click.argument("sweep", type=options.recipe)
@options.overrides
@options.data
@options.out("sweeps", "Folder for sweep results.", envvar="WUKONGCTL_SWEEPS")
@click.option(
    "--jobs", type=click.IntRange(1),
    help="Number of concurrent runs; they share cores and GPUs evenly. Default: one per GPU, or one.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Local processes, or the Ray cluster at `RAY_ADDRESS`.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Fail unless there is a sweep to resume.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the cost, and exit.")
@options.common
def sweep(
    output: Output,
    sweep: str,
    overrides: tuple[str, ...],
    data: Path,
    out: Path,
    jobs: int | None,
    engine: str,
    resume: bool,
    dry_run: bool,
) -> None:
    """Run SWEEP, a YAML file or the name of a shipped sweep: search, choose on validation, train each seed.

    Complete runs are skipped, so the same command resumes. A run that diverges or fails is recorded, and
    the others continue.
    """
    from wukongctl.data import manifest as manifests
    from wukongctl.data import recipes
    from wukongctl.errors import UsageError
    from wukongctl.machine import cores
    from wukongctl.sweep.devices import visible_gpus
    from wukongctl.sweep.sweep import Sweep

    spec, entries = recipes.expand(recipes.find(sweep, data), data, overrides)
    names = {trial.recipe.data for entry in entries for trial in entry.trials}
    planned = Sweep(spec, entries, {name: manifests.read(data / name) for name in sorted(names)}, out)
    options.require_few("--jobs", jobs if engine == "local" else None)
    gpus = visible_gpus()
    jobs = jobs or max(1, len(gpus))
    threads = max(1, cores() // jobs)
    if resume and not (planned.folder / "sweep.json").is_file():
        raise UsageError(f"there is no sweep to resume in `{planned.folder}`", hint="leave out `--resume`")
    if dry_run:
        _dry_run(output, planned, jobs, threads)
        return
    _run(output, planned, _executor(engine, jobs, threads, gpus), data, threads)


def _executor(engine: str, jobs: int, threads: int, gpus: tuple[str, ...]) -> "Executor":
    from wukongctl.sweep.executors import LocalExecutor, RayExecutor

    return LocalExecutor(jobs, gpus) if engine == "local" else RayExecutor(jobs, threads)


def _run(output: Output, sweep: "Sweep", executor: "Executor", data: Path, threads: int) -> None:
    from wukongctl.errors import RunFailed
    from wukongctl.sweep.summary import summarize
    from wukongctl.sweep.sweep import execute, write

    path = sweep.folder / "sweep.json"
    try:
        with output.progress() as bar:
            execute(
                sweep,
                executor,
                data=data,
                threads=threads,
                report=lambda event: _report(output, bar, event),
                save=lambda: write(path, summarize(sweep)),
                tick=lambda running: show_running(bar, "sweep", sweep, running),
            )
    finally:
        executor.stop()
    summary = summarize(sweep)
    output.result(summary | {"path": str(sweep.folder)}, lambda console: _show(console, sweep, summary))
    warn_of_sweep(output, summary)
    if stale := sweep.stale():
        runs = "1 run" if len(stale) == 1 else f"{len(stale)} runs"
        output.note(
            f"`{sweep.folder / 'runs'}` also contains {runs} of an earlier version of this sweep, the first "
            f"`{stale[0].name}`; scale-report and compare leave them out, given `{sweep.folder}`"
        )
    failed = [o for o in sweep.outcomes.values() if o.status == "failed"]
    if failed:
        raise RunFailed(
            f"{len(failed)} of {sweep.total} runs failed, the first with: {failed[0].message}",
            hint=f"see `{path}`; the same command retries them",
        )


def show_running(bar: ProgressBar, stage: str, sweep: "Sweep", running: "list[Job]") -> None:
    """Update the bar while runs are training, also for `tune`."""
    first = running[0].entry if running else ""
    bar.update(stage, sweep.done, sweep.total, f"{len(running)} running, first {first}" if running else "")


def _report(output: Output, bar: ProgressBar, event: "Event") -> None:
    """Update the bar, and print a line for each run that ends."""
    job, outcome = event.job, event.outcome
    bar.update("sweep", event.done, event.total, job.entry)
    if event.was_complete:
        return
    what = ", ".join(f"{key}={value}" for key, value in job.setting.items())
    label = f"{job.entry}, {job.kind}, seed {job.recipe.seed}" + (f", {what}" if what else "")
    metric = job.recipe.early_stopping.metric
    if outcome.status == "complete":
        value = outcome.metric("valid", metric)
        measured = "" if value is None else f"valid {metric} {value:.5f}, "
        text = f"{measured}{outcome.seconds:.1f} s"
    else:
        text = f"{outcome.status}: {outcome.message}"
    output.note(f"[{event.done}/{event.total}] {label}: {text}")


def _show(console: "Console", sweep: "Sweep", summary: dict[str, Any]) -> None:
    from wukongctl.cli.tables import mean_and_sd, table
    from wukongctl.training.metrics import AUC, EXCESS_LOGLOSS, GAUC, LOGLOSS

    excess = any("excess_logloss" in entry["metrics"].get("test", {}) for entry in summary["entries"])
    grouped = any("gauc" in entry["metrics"].get("test", {}) for entry in summary["entries"])
    metrics = [AUC, *([GAUC] if grouped else []), EXCESS_LOGLOSS if excess else LOGLOSS]
    titles = (f"test {metric.title}" for metric in metrics)
    shown = table(sweep.spec.name, "MFLOP/example", "runs", "chosen", *titles)
    for entry in summary["entries"]:
        chosen = (entry["chosen"] or {}).get("setting", {})
        gflop = entry["gflop_per_example"]
        shown.add_row(
            entry["name"],
            "–" if gflop is None else f"{gflop * 1e3:.4g}",
            f"{sum(run['status'] == 'complete' for run in entry['runs'])}/{len(summary['seeds'])}",
            ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in chosen.items()) or "–",
            *(mean_and_sd(entry["metrics"].get("test", {}).get(metric.name)) for metric in metrics),
        )
    console.print(shown)
    counts = summary["counts"]
    console.print(
        f"{counts['complete']} complete, {counts['diverged']} diverged, {counts['failed']} failed of "
        f"{counts['total']} runs, {summary['seconds']:,.0f} s of training"
    )
    for entry in summary["entries"]:
        for key in (entry["chosen"] or {}).get("at_edge", []):
            console.print(f"{entry['name']}: the best `{key}` is at the edge of its grid", soft_wrap=True)
    console.print(f"results: {sweep.folder / 'sweep.json'}", soft_wrap=True)
    console.print(f"next: wukongctl scale-report {sweep.folder}", soft_wrap=True)


def _dry_run(output: Output, sweep: "Sweep", jobs: int, threads: int) -> None:
    import torch

    from wukongctl.models import counts
    from wukongctl.sweep.estimate import estimate

    sweep.load_recorded()
    rows, total, unknown = [], 0.0, False
    for entry in sweep.entries:
        recipe = entry.trials[0].recipe
        torch.set_num_threads(recipe.threads or threads)
        cost = estimate(recipe, sweep.manifests[recipe.data])
        runs = sweep.left(entry)
        total += (cost.seconds or 0.0) * runs
        unknown |= cost.seconds is None
        rows.append(
            {
                "name": entry.name,
                "curve": entry.curve,
                "trials": len(sweep.trials(entry)),
                "runs": len(sweep.spec.seeds),
                "trained": runs,
                "examples": cost.examples,
                **counts.to_dict(cost.counts),
                "bytes": cost.memory.total,
                "seconds": cost.seconds,
                "threads": recipe.threads or threads,
            }
        )
    plan = {
        "sweep": sweep.spec.name,
        "path": str(sweep.folder),
        "total": sweep.total,
        "complete": len(sweep.outcomes),
        "total_gflop": sum(
            (row["gflop_per_example"] or 0.0) * row["examples"] * row["trained"] for row in rows
        ),
        "bytes": sum(sorted((row["bytes"] for row in rows), reverse=True)[:1]) * jobs,
        "seconds": None if unknown else total / jobs,
        "entries": rows,
    }
    output.result(plan, lambda console: _show_plan(console, plan, jobs))


def _costs(row: dict[str, Any]) -> tuple[str, str, str]:
    """MFLOP and parameters, where the model has any."""
    if row["gflop_per_example"] is None:
        return ("–",) * 3
    params = row["params"]
    return f"{row['gflop_per_example'] * 1e3:.4g}", f"{params['dense']:,}", f"{params['embedding']:,}"


def _show_plan(console: "Console", plan: dict[str, Any], jobs: int) -> None:
    from wukongctl.cli.pace import duration
    from wukongctl.cli.tables import table

    shown = table(
        plan["sweep"], "trials", "seeds", "examples", "MFLOP/ex.", "dense", "embedding", "MiB", "s/run"
    )
    for row in plan["entries"]:
        shown.add_row(
            row["name"],
            str(row["trials"]),
            str(row["runs"]),
            f"{row['examples']:,}",
            *_costs(row),
            f"{row['bytes'] / 2**20:,.0f}",
            "–" if row["seconds"] is None else f"{row['seconds']:,.0f}",
        )
    console.print(shown)
    trained = sum(row["trained"] for row in plan["entries"])
    done = f"{plan['complete']} done, " if plan["complete"] else ""
    runs = "run" if plan["total"] == 1 else "runs"
    copied = plan["total"] - plan["complete"] - trained
    copies = f", {copied} copied from the search" if copied else ""
    time = "time unknown" if plan["seconds"] is None else f"about {duration(plan['seconds'])}"
    threads = " or ".join(str(count) for count in sorted({row["threads"] for row in plan["entries"]}))
    console.print(
        f"{plan['total']} {runs}, {done}{trained} to train{copies}; {plan['total_gflop']:,.4g} GFLOP, "
        f"up to {plan['bytes'] / 2**20:,.0f} MiB of memory; "
        f"{time} with {jobs} at a time on {threads} thread{'s' * (threads != '1')} each",
        soft_wrap=True,
    )
    console.print(f"would train in {plan['path']}", soft_wrap=True)
