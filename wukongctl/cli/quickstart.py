"""`wukongctl quickstart`: the full pipeline on the embedded dataset."""

from pathlib import Path

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

LADDER = "quickstart"
SEEDS = (0, 1)

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
    from wukongctl.cli import prepare, scale_report
    from wukongctl.cli.run_recipe import run_recipe
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load, locate_problems
    from wukongctl.config.training import TrainingSpec
    from wukongctl.data.options import Options
    from wukongctl.laws.analysis import build
    from wukongctl.laws.points import read_runs

    path = library.find("synthetic", "datasets")
    wanted = Options(path.parent, out / "data", force=force)
    prepare.run_recipe(output, load(path, DatasetSpec), path, wanted)
    folders = []
    for name in library.names(LADDER):
        for seed in SEEDS:
            recipe, overrides = library.find(f"{LADDER}/{name}"), [f"seed={seed}"]
            spec = load(recipe, TrainingSpec, overrides)
            with locate_problems(recipe, overrides):
                run = run_recipe(output, spec, data=out / "data", out=out / "runs", force=force)
            folders.append(run.folder)
            loss, gflop = run.result.metrics["test"]["excess_logloss"], run.info.gflop or 0.0
            output.note(f"{name}, seed {seed}: {gflop * 1e6:,.1f} kFLOP/example, excess LogLoss {loss:.4f}")
    scale_report.publish(output, build(read_runs(folders)), out / "report")
