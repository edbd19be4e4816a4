"""The command line: a lazy Click group, so that `--help` imports nothing heavy."""

import os
import sys

import click

import wukongctl
from wukongctl.cli import output

# Short help lives here so that listing the commands imports none of them.
COMMANDS = {
    "quickstart": "The whole chain on the embedded dataset, to a report, in under two minutes.",
    "prepare": "Download, verify and build a dataset as Parquet.",
    "train": "Train and evaluate a recipe, or resume it.",
    "evaluate": "Metrics of a finished run, with intervals.",
    "compare": "Leaderboard of runs with paired differences.",
    "predict": "Score new rows with a finished run.",
    "bench": "Where the time of a training step goes.",
    "export": "A finished run as a program of its own.",
    "flops": "FLOPs and parameters of a recipe; needs no data.",
    "sweep": "Train a ladder of sizes, models and seeds.",
    "tune": "Search better settings for recipes, with one budget each.",
    "scale-report": "Fit and draw scaling curves of finished runs.",
    "datasets": "List and show datasets.",
    "recipes": "Write, list, show, copy and check recipes.",
    "runs": "List and show runs.",
}


class LazyGroup(click.Group):
    """Imports a command's module when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, its module imported only now."""
        return _command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As Click does, but an unknown command is answered with the closest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from wukongctl.config.loading import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"there is no command `{args[0]}`" + (f"; {hint}" if hint else ""), ctx)
        return super().resolve_command(ctx, args)


def _command(name: str) -> click.Command | None:  # noqa: C901, PLR0911, PLR0912 one case per command
    match name:
        case "quickstart":
            from wukongctl.cli.quickstart import quickstart

            return quickstart
        case "prepare":
            from wukongctl.cli.prepare import prepare

            return prepare
        case "train":
            from wukongctl.cli.train import train

            return train
        case "evaluate":
            from wukongctl.cli.evaluate import evaluate

            return evaluate
        case "compare":
            from wukongctl.cli.compare import compare

            return compare
        case "predict":
            from wukongctl.cli.predict import predict

            return predict
        case "bench":
            from wukongctl.cli.bench import bench

            return bench
        case "export":
            from wukongctl.cli.export import export

            return export
        case "flops":
            from wukongctl.cli.flops import flops

            return flops
        case "sweep":
            from wukongctl.cli.sweep import sweep

            return sweep
        case "tune":
            from wukongctl.cli.tune import tune

            return tune
        case "scale-report":
            from wukongctl.cli.scale_report import scale_report

            return scale_report
        case "datasets":
            from wukongctl.cli.datasets import datasets

            return datasets
        case "recipes":
            from wukongctl.cli.recipes import recipes

            return recipes
        case "runs":
            from wukongctl.cli.runs import runs

            return runs
        case _:
            return None


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "WUKONGCTL"},
    epilog="Start with `wukongctl quickstart`.",
)
@click.version_option(wukongctl.__version__, prog_name="wukongctl")
def cli() -> None:
    """From a public click log to a scaling law.

    \b
    raw files ──prepare──▶ Parquet ──train──▶ run folder ──scale-report──▶ law and picture
    """


def main() -> None:
    """Run the command line and exit with the code that the outcome owns."""
    # OpenMP threads that spin while waiting slow a step thirtyfold when another process wants the core.
    # Read when torch is loaded, so it must be set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    output.catch_signals()
    sys.exit(output.run(cli))
