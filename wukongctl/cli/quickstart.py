"""`wukongctl quickstart`: the full pipeline on the embedded dataset."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from wukongctl.config.training import TrainingSpec

NAME = "quickstart"
SEEDS = (0, 1, 2)
WORKERS = 4
"""At most: more would not end sooner than the largest model."""

EXAMPLES = """\b
Examples:
  wukongctl quickstart
  wukongctl quickstart --out first-look
"""


@click.command(epilog=EXAMPLES)
@options.out("quickstart", "Folder for data, runs and the report.")
@click.option("--force", is_flag=True, help="Start over, discarding earlier results in `--out`.")
@options.common
def quickstart(output: Output, out: Path, force: bool) -> None:
    """Generate a dataset with a known optimal loss, train Wukong and DLRM in several sizes, fit their laws.

    Takes under two minutes on two cores. Run it again to resume, or to rewrite the report.
    """
    from wukongctl.cli import prepare, report_output
    from wukongctl.cli.targets import require_own, require_report_folder
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data.options import Options
    from wukongctl.laws.analysis import build
    from wukongctl.laws.run_points import read_runs
    from wukongctl.report.dashboard import FILE, GENERATOR
    from wukongctl.report.document import FILES

    require_report_folder(out / "report", FILES.values(), force=force)
    require_own(out / "report" / FILE, "--out", "a dashboard", GENERATOR, force=force)
    path = library.find(NAME, "datasets")
    with _resumable():
        wanted = Options(path.parent, out / "data", force=force)
        prepare.run_recipe(output, load(path, DatasetSpec), path, wanted)
        folders = _train(output, out, force=force)
        runs = report_output.Runs(tuple(folders), out / "data")
        report_output.publish(output, build(read_runs(folders)), out / "report", runs)


@contextmanager
def _resumable() -> Iterator[None]:
    """Say after a signal, whatever it stopped, that nothing finished is lost."""
    from wukongctl.errors import Interrupted
    from wukongctl.signals import Stopped

    try:
        yield
    except Stopped as stopped:
        raise Interrupted(
            "quickstart was interrupted; what was finished is kept",
            signal_number=stopped.failure.exit_code - 128,
            hint="the same command resumes it",
        ) from stopped


def _train(output: Output, out: Path, *, force: bool) -> list[Path]:
    """Train every recipe with every seed, a few at a time; their run folders."""
    from wukongctl.machine import cores
    from wukongctl.sweep.workers import train_all

    recipes = _recipes()
    workers, total = min(cores(), WORKERS), len(recipes)
    with output.progress() as bar:

        def report(ended: int) -> None:
            bar.update("training", ended, total, f"{ended} of {total} runs")

        report(0)
        return train_all(
            recipes, data=out / "data", out=out / "runs", force=force, workers=workers, report=report
        )


def _recipes() -> "list[TrainingSpec]":
    """Largest models first, so that no worker is left with one at the end."""
    from wukongctl.config import library
    from wukongctl.config.loading import load
    from wukongctl.config.training import TrainingSpec

    names = sorted(library.names(NAME), key=lambda name: name.rsplit("-", 1)[1], reverse=True)
    paths = [library.find(f"{NAME}/{name}") for name in names]
    return [load(path, TrainingSpec, [f"seed={seed}"]) for seed in SEEDS for path in paths]
