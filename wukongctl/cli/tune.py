"""`wukongctl tune`: tune the hyperparameters of recipes, each with the same budget."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl import extras
from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.progress import ProgressBar
from wukongctl.cli.run_warnings import warn_of_sweep

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.sweep.best import Best
    from wukongctl.sweep.sweep import Event
    from wukongctl.sweep.tune import Budget, Tuning

TRIALS = 30
EXAMPLES = """\b
Examples:
  wukongctl tune frappe/wukong --dry-run
  wukongctl tune wukong.yaml mlp.yaml --trials 30 --jobs 2
  wukongctl tune my.yaml --space optimizer.dense.lr=1e-4..1e-2 --space model.width=[8,16] --set epochs=4
  wukongctl tune my.yaml --seconds 600
"""


@click.command(epilog=EXAMPLES)
@click.argument("recipes", nargs=-1, required=True, type=options.recipe, metavar="RECIPE...")
@click.option(
    "--trials", type=click.IntRange(1), metavar="N",
    help=f"Trials per recipe; default: {TRIALS}, or unlimited with `--seconds`.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
    help="Training time per recipe after which no trial starts.",
)  # fmt: skip
@click.option(
    "--space", "spaces", multiple=True, metavar="KEY=RANGE",
    help="Search a key in `LOW..HIGH` or `[A, B, C]`; repeatable. `--set` fixes a key.",
)  # fmt: skip
@options.overrides
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of sampler and trials."
)
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, metavar="K",
    help="Runs of the best trial, with consecutive seeds.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True,
    help="Number of concurrent trials; only 1 is reproducible.",
)  # fmt: skip
@options.data
@options.out("sweeps", "Folder for sweep results.", envvar="WUKONGCTL_SWEEPS")
@click.option("--dry-run", is_flag=True, help="Print what would be searched, and exit.")
@options.common
def tune(
    output: Output,
    recipes: tuple[str, ...],
    trials: int | None,
    seconds: float | None,
    spaces: tuple[str, ...],
    overrides: tuple[str, ...],
    seed: int,
    seeds: int,
    jobs: int,
    data: Path,
    out: Path,
    dry_run: bool,
) -> None:
    """Search hyperparameters for each RECIPE, train the best with several seeds, and write it as a recipe.

    The first trial is the recipe itself. The validation metric of `early_stopping` decides; only the best
    trial is evaluated on the test split. The same command resumes.
    """
    extras.require("`tune`", "tune", "optuna")
    options.require_few("--jobs", jobs)
    from wukongctl.machine import cores
    from wukongctl.sweep.tune import Budget

    budget = Budget(trials or (None if seconds else TRIALS), seconds)
    planned = _plan(recipes, overrides, spaces, data, out, budget, seed, seeds)
    if dry_run:
        plan = _described(planned)
        output.result(plan, lambda console: _show_plan(console, plan))
    else:
        _run(output, planned, jobs, data, max(1, cores() // jobs))


def _plan(
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    spaces: tuple[str, ...],
    data: Path,
    out: Path,
    budget: "Budget",
    seed: int,
    seeds: int,
) -> "Tuning":
    from wukongctl.config.space_options import SpaceOption
    from wukongctl.data.recipes import find_for_tuning
    from wukongctl.sweep.candidates import read
    from wukongctl.sweep.tune import Tuning

    wanted = [SpaceOption.parse(text) for text in spaces]
    paths = [find_for_tuning(recipe, data) for recipe in recipes]
    found, manifests = read(paths, overrides, wanted, data, seed=seed)
    return Tuning(found, manifests, out, budget=budget, seeds=tuple(range(seed, seed + seeds)))


def _run(output: Output, tuning: "Tuning", jobs: int, data: Path, threads: int) -> None:
    from wukongctl.cli.sweep import show_running
    from wukongctl.sweep.best import write_best
    from wukongctl.sweep.devices import visible_gpus
    from wukongctl.sweep.executors import LocalExecutor
    from wukongctl.sweep.summary import summarize
    from wukongctl.sweep.sweep import execute, write

    path, executor = tuning.folder / "sweep.json", LocalExecutor(jobs, visible_gpus())
    try:
        with output.progress() as bar:
            execute(
                tuning,
                executor,
                data=data,
                threads=threads,
                report=lambda event: _report(output, bar, tuning, event),
                save=lambda: write(path, summarize(tuning)),
                tick=lambda running: show_running(bar, "tune", tuning, running),
            )
    finally:
        executor.stop()
    typed = f"wukongctl {shlex.join(sys.argv[1:])}"
    found = [best for entry in tuning.entries if (best := write_best(tuning, entry, typed))]
    summary = summarize(tuning)
    shown = summary | {"path": str(tuning.folder), "best": {best.name: str(best.path) for best in found}}
    output.result(shown, lambda console: _show(console, tuning, summary, found))
    warn_of_sweep(output, summary)
    _require_success(tuning)


def _report(output: Output, bar: "ProgressBar", tuning: "Tuning", event: "Event") -> None:
    """Update the bar, and print a line for each run that ends; with `--verbose`, also its hyperparameters."""
    from wukongctl.config.dimensions import written

    job, outcome = event.job, event.outcome
    bar.update("tune", event.done, event.total, job.entry)
    if event.was_complete:
        return
    metric = tuning.candidates[job.entry].metric
    value = outcome.metric("valid", metric) if outcome.status == "complete" else None
    took = None if outcome.result is None else outcome.seconds
    parts = [outcome.status if value is None else f"valid {metric} {value:.5f}"]
    parts += [f"best {best:.5f}"] if job.kind == "trial" and (best := tuning.best(job.entry)) else []
    parts += [f"{took:.1f} s"] if took is not None else []
    parts += [outcome.message] if outcome.status == "failed" and outcome.message else []
    what = "trial" if job.kind == "trial" else f"run with seed {job.recipe.seed}"
    output.note(f"[{event.done}/{event.total}] {job.entry}, {what}: {', '.join(parts)}")
    if output.verbose and job.kind == "trial":
        output.note("    " + ", ".join(f"{key}={written(value)}" for key, value in job.setting.items()))


def _require_success(tuning: "Tuning") -> None:
    """Raise RunFailed if a run failed, or no trial of a recipe finished."""
    from wukongctl.errors import RunFailed

    failed = [outcome for outcome in tuning.outcomes.values() if outcome.status == "failed"]
    if failed:
        raise RunFailed(
            f"{len(failed)} of {tuning.total} runs failed, the first with: {failed[0].message}",
            hint=f"see `{tuning.folder / 'sweep.json'}`; the same command retries them",
        )
    if diverged := [entry.name for entry in tuning.entries if tuning.choice(entry) is None]:
        raise RunFailed(
            f"no trial of `{diverged[0]}` finished: all of them diverged",
            hint="search lower learning rates, such as `--space optimizer.dense.lr=1e-5..1e-3`",
        )


def _show(console: "Console", tuning: "Tuning", summary: dict[str, Any], found: "list[Best]") -> None:
    from wukongctl.cli.tables import mean_and_sd, table
    from wukongctl.training.metrics import AUC, GAUC, LOGLOSS, METRICS

    grouped = any("gauc" in entry["metrics"].get("test", {}) for entry in summary["entries"])
    metrics = [AUC, *([GAUC] if grouped else []), LOGLOSS]
    headings = ("trials (pruned)", "seconds", "first trial", "best trial")
    shown = table(summary["sweep"], *headings, *(f"test {metric.title}" for metric in metrics))
    for entry in summary["entries"]:
        budget, test = entry["budget"], entry["metrics"].get("test", {})
        title = METRICS[budget["chosen_on"].removeprefix("valid ")].title
        values = (entry["trials"][0]["value"], (entry["chosen"] or {}).get("value"))
        shown.add_row(
            entry["name"],
            f"{budget['trials']} ({budget['pruned']})",
            f"{budget['seconds']:,.0f}",
            *("–" if value is None else f"{title} {value:.5f}" for value in values),
            *(mean_and_sd(test.get(metric.name)) for metric in metrics),
        )
    console.print(shown)
    console.print(
        f"first trial (the recipe itself) and best trial: validation split, seed {tuning.seed}; test: best "
        f"trial, seeds {', '.join(map(str, summary['seeds']))}",
        soft_wrap=True,
    )
    for entry in summary["entries"]:
        if edges := (entry["chosen"] or {}).get("at_edge"):
            keys = ", ".join(f"`{key}`" for key in edges)
            text = f"{entry['name']}: best at the edge of the range of {keys}; widen it with `--space`"
            console.print(text, soft_wrap=True)
    for best in found:
        console.print(f"best recipe: {best.path}", soft_wrap=True)
    console.print(f"next: wukongctl compare {tuning.folder}", soft_wrap=True)


def _described(tuning: "Tuning") -> dict[str, Any]:
    """What would be searched."""
    recipes = [
        {
            "name": candidate.name,
            "recipe": str(candidate.path),
            "metric": f"valid {candidate.metric}",
            "evaluations": tuning.evaluations(candidate.recipe),
            "space": {
                key: {"own": candidate.own[key], "range": str(dimension)}
                for key, dimension in candidate.space.items()
            },
        }
        for candidate in tuning.candidates.values()
    ]
    return {
        "sweep": tuning.spec.name,
        "path": str(tuning.folder),
        "trials": tuning.budget.trials,
        "seconds": tuning.budget.seconds,
        "seeds": list(tuning.spec.seeds),
        "recipes": recipes,
    }


def _show_plan(console: "Console", plan: dict[str, Any]) -> None:
    from wukongctl.cli.tables import table
    from wukongctl.config.dimensions import written

    for recipe in plan["recipes"]:
        shown = table(recipe["name"], "recipe", "range")
        for key, entry in recipe["space"].items():
            shown.add_row(key, written(entry["own"]), entry["range"])
        console.print(shown)
    limits = [f"{plan['trials']} trials"] if plan["trials"] else []
    limits += [f"{plan['seconds']:g} seconds of training"] if plan["seconds"] else []
    console.print(
        f"{' or '.join(limits)} for each recipe, chosen by {plan['recipes'][0]['metric']}; then "
        f"{len(plan['seeds'])} seeds of the best",
        soft_wrap=True,
    )
    for recipe in plan["recipes"]:
        console.print(_pruning(recipe), soft_wrap=True)
    console.print(f"would train in {plan['path']}", soft_wrap=True)


def _evaluations(count: int) -> str:
    return f"{count} evaluation{'s' if count != 1 else ''}"


def _pruning(recipe: dict[str, Any]) -> str:
    from wukongctl.sweep.study import FIRST_PRUNED_AT

    count = recipe["evaluations"]
    if count <= FIRST_PRUNED_AT:
        return f"{recipe['name']}: {_evaluations(count)} per run, too few to prune"
    return (
        f"{recipe['name']}: {_evaluations(count)} per run; a trial worse than the median of the others is "
        f"pruned from evaluation {FIRST_PRUNED_AT} on"
    )
