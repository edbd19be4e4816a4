"""`wukongctl train`: train a recipe into a run folder."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import launch, options
from wukongctl.cli.output import Output
from wukongctl.cli.run_recipe import run_recipe, show, summary_of
from wukongctl.cli.run_warnings import warn_of

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec
    from wukongctl.data.manifest import Manifest
    from wukongctl.models.counts import Counts
    from wukongctl.training.trackers import TrackerName

EXAMPLES = """\b
Examples:
  wukongctl train frappe/wukong
  wukongctl train my.yaml --set optimizer.dense.lr=3e-4 --seed 2
  wukongctl train --data clicks --model wukong
  wukongctl train my.yaml --seeds 3
  wukongctl train my.yaml --dry-run
  torchrun --nproc-per-node 4 -m wukongctl train my.yaml
"""


@click.command(epilog=EXAMPLES)
@click.argument("recipe", type=options.recipe, required=False)
@options.overrides
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    envvar="WUKONGCTL_DATA",
    help="Folder of prepared datasets; without RECIPE, the name or folder of one.",
)
@click.option("--model", metavar="NAME", help="Model to train on the dataset of `--data`, without RECIPE.")
@options.out("runs", "Folder for run folders.", envvar="WUKONGCTL_RUNS")
@click.option("--seed", type=int, help="Seed for weight initialization, dropout and shuffling.")
@click.option("--seeds", type=click.IntRange(1, 1000), metavar="N", help="Train with N consecutive seeds.")
@click.option("--resume", is_flag=True, help="Fail unless there is a run to resume.")
@click.option("--force", is_flag=True, help="Start over, discarding an earlier run of the same recipe.")
@click.option(
    "--track",
    type=options.Choices(["tensorboard", "mlflow"]),
    multiple=True,
    callback=options.flat,
    help="Also log the run to these trackers (need their extras); a list with commas, or repeatable.",
)
@click.option(
    "--skip-test", is_flag=True,
    help="Do not evaluate the test split; the same command without this option does.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check everything, print what would run, and exit.")
@options.common
@click.pass_context
def train(
    context: click.Context,
    *,
    output: Output,
    recipe: str | None,
    overrides: tuple[str, ...],
    data: Path,
    model: str | None,
    out: Path,
    seed: int | None,
    seeds: int | None,
    resume: bool,
    force: bool,
    track: tuple["TrackerName", ...],
    skip_test: bool,
    dry_run: bool,
) -> None:
    """Train RECIPE, a YAML file or the name of a shipped recipe, and evaluate its best weights.

    Keys that the recipe omits are sized to its dataset; `--data NAME --model NAME` without RECIPE omits
    them all. A recipe always has the same run folder: a finished run is printed, an interrupted one
    resumes. `--seeds` trains one run after the other, then prints mean and standard deviation.
    """
    from wukongctl.cli import seeds as many_seeds
    from wukongctl.config.loading import locate_problems
    from wukongctl.data import next_steps, recipe_sources
    from wukongctl.training import trackers

    options.exclusive(("--resume", resume), ("--force", force))
    options.exclusive(("--seeds", seeds), ("--skip-test", skip_test))
    launch.require_launcher()
    if (rank := launch.rank()) > 0:  # only rank 0 prints
        output = dataclasses.replace(output, quiet=True, as_json=False)
    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    dataset = data if _is_given(context, "data") else None
    source = recipe_sources.find(recipe, dataset, model, overrides, data)
    data, specs = source.data, many_seeds.with_seeds(source, seeds or 1)
    with locate_problems(source.document, source.overrides):
        if dry_run:
            trackers.require(track)
            _dry_run(output, specs, data, out, as_list=seeds is not None)
        elif seeds is not None:
            many_seeds.train_all(
                output, specs, rank == 0, data=data, out=out, resume=resume, force=force, track=track
            )
        else:
            done = run_recipe(
                output, specs[0],
                data=data, out=out, resume=resume, force=force, track=track, skip_test=skip_test,
            )  # fmt: skip
            if rank == 0:
                output.result(summary_of(done), lambda console: show(console, done))
                warn_of(output, [done.result.warnings])
                output.note(next_steps.after_training(done.folder, specs[0].data, data))


def _is_given(context: click.Context, option: str) -> bool:
    """Whether an option comes from the command line, not from a default or the environment."""
    return context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _dry_run(output: Output, specs: "list[TrainingSpec]", data: Path, out: Path, *, as_list: bool) -> None:
    """Print what would run, for recipes that differ only in their seed."""
    from wukongctl.data import manifest as manifests
    from wukongctl.models.counts import to_dict
    from wukongctl.training.groups import require_group
    from wukongctl.training.plan import total_examples, total_steps
    from wukongctl.training.run_folder import RunFolder

    spec = specs[0]
    manifest = manifests.read(data / spec.data)
    require_group(spec, manifest)
    counts = _counts(spec, manifest)
    rows = manifest.splits["train"].rows
    steps = total_steps(spec, rows)
    folders = [RunFolder.for_recipe(each, out).path for each in specs]
    plans = [
        {
            "run": str(folder),
            "exists": folder.exists(),
            "steps": steps,
            **to_dict(counts),
            "total_gflop": None if counts is None else counts.gflop * total_examples(spec, rows),
        }
        for folder in folders
    ]

    def human(console: "Console") -> None:
        for folder in folders:
            console.print(f"would train `{spec.run_name}` in {folder}", soft_wrap=True)
        if counts is None:
            console.print(f"up to {steps:,} trees on {total_examples(spec, rows):,} examples")
            return
        console.print(
            f"{steps:,} steps of {spec.batch_size:,} examples, {counts.gflop * 1e3:.4g} training "
            f"MFLOP/example, {counts.dense_params:,} dense and {counts.embedding_params:,} embedding "
            "parameters"
        )

    output.result(plans if as_list else plans[0], human)


def _counts(spec: "TrainingSpec", manifest: "Manifest") -> "Counts | None":
    """FLOPs and parameters of a network; None for trees, if LightGBM is installed."""
    from wukongctl.cost.counting import count_spec
    from wukongctl.training import trees

    if spec.is_network:
        return count_spec(spec.model, manifest.schema())
    trees.require()
    return None
