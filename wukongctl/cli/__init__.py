"""The command line: a lazy Click group, so that `--help` imports nothing heavy."""

import importlib
import os
import sys

import click

import wukongctl
from wukongctl.cli import output

# The help lines stand here so that listing the commands imports none of their modules.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Prepare data": {
        "quickstart": ("quickstart", "Run the full pipeline on an embedded dataset."),
        "datasets": ("datasets", "Draft a recipe for your table; list and show datasets."),
        "prepare": ("prepare", "Download, verify and build a dataset as Parquet."),
    },
    "Train": {
        "recipes": ("recipes", "Write, list, show, copy and check recipes."),
        "train": ("train", "Train and evaluate a recipe; resumes an interrupted run."),
        "tune": ("tune", "Tune hyperparameters, with the same budget for each recipe."),
        "sweep": ("sweep", "Train a ladder of models, sizes and seeds."),
    },
    "Results": {
        "runs": ("runs", "List and show runs."),
        "evaluate": ("evaluate", "Compute metrics of a finished run, with intervals."),
        "compare": ("compare", "Rank runs, with paired tests."),
        "dashboard": ("dashboard", "Write a page of runs and learning curves."),
        "scale-report": ("scale_report", "Fit and plot scaling laws of finished runs."),
    },
    "Use a model": {
        "predict": ("predict", "Score new rows with a finished run."),
        "export": ("export", "Export a trained model."),
    },
    "Cost and speed": {
        "flops": ("flops", "Count FLOPs and parameters of a recipe; needs no data."),
        "bench": ("bench", "Profile a training step."),
        "doctor": ("doctor", "Show versions, hardware, limits and extras."),
        "coord-check": ("coord_check", "Check that learning rates hold as a model grows."),
    },
}
"""By section of `--help`: command → module of `wukongctl.cli` that defines it, and its line."""
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """Imports the module of a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command."""
        return _command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The commands by section, from the table above."""
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in section.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As Click does, but suggest the closest name for an unknown command."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from wukongctl.config.suggestions import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"no such command `{args[0]}`" + (f"; {hint}" if hint else ""), ctx)
        return super().resolve_command(ctx, args)


def _command(name: str) -> click.Command | None:
    if name not in COMMANDS:
        return None
    module, _ = COMMANDS[name]
    return getattr(importlib.import_module(f"wukongctl.cli.{module}"), module)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "WUKONGCTL"},
)
@click.version_option(wukongctl.__version__, prog_name="wukongctl")
def cli() -> None:
    """Train and compare click-prediction models: from a click log to a scaling law.

    \b
    Your own table, from a file to a trained model:
      wukongctl datasets init clicks.csv > clicks.yaml
      wukongctl prepare ./clicks.yaml
      wukongctl recipes init clicks > clicks-wukong.yaml
      wukongctl train clicks-wukong.yaml

    \b
    Without a table:
      wukongctl quickstart
    """


def main() -> None:
    """Run the command line and exit with its code."""
    # Spinning OpenMP threads make a step thirty times slower when another process wants the core.
    # Read when torch is loaded, so it must be set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Looking for plug-ins of pydantic reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    output.catch_signals()
    sys.exit(output.run(cli))
