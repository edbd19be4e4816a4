"""`wukongctl coord-check`: whether learning rates stay right as a model grows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.targets import PLOT, require_own, require_writable

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.sweep import ScaleRule
    from wukongctl.config.training import TrainingSpec
    from wukongctl.training.coordinates import LayerScales

EXAMPLES = """\b
Examples:
  wukongctl coord-check synthetic/wukong
  wukongctl coord-check synthetic/dlrm --widths 8,16,32,64,128 --rule same
  wukongctl coord-check my.yaml --plot coordinates.png
"""
FACTORS = (1, 2, 4, 8)


class WidthList(click.ParamType):
    """Two or more different widths, separated by commas."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The widths, ascending."""
        words = value.split(",") if isinstance(value, str) else value
        if not all(str(word).strip().isdecimal() for word in words):
            self.fail(f"{value!r} is not a list of whole numbers such as 8,16,32.", param, ctx)
        widths = sorted({int(word) for word in words})
        if len(widths) < 2 or widths[0] < 1:
            self.fail(f"{value!r} does not hold two different widths of at least 1.", param, ctx)
        return tuple(widths)


@click.command("coord-check", epilog=EXAMPLES)
@click.argument("recipe", type=options.recipe)
@options.overrides
@options.data
@click.option(
    "--widths", type=WidthList(), metavar="N,N,…",
    help="Embedding widths; hidden layers keep their ratio. Default: 1, 2, 4 and 8 times the recipe's.",
)  # fmt: skip
@click.option(
    "--rule", type=click.Choice(["mup", "sqrt", "same"]), default="mup", show_default=True,
    help="How rates follow the width, as `scale_rates` of a sweep.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Steps to train.")
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Seeds to average.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it as PNG, SVG or PDF.")
@click.option("--force", is_flag=True, help="Overwrite `--plot` even if it is not a plot of this command.")
@options.common
def coord_check(
    output: Output,
    recipe: str,
    overrides: tuple[str, ...],
    data: Path,
    widths: tuple[int, ...] | None,
    rule: "ScaleRule",
    steps: int,
    seeds: int,
    plot: Path | None,
    force: bool,
) -> None:
    """Train a few steps of RECIPE at several widths and compare what its layers put out.

    A layer is stable if its outputs do not grow with the width, and what training changes in them neither
    grows nor shrinks. Writes no run folder. Exit code 3 if a layer is not stable.
    """
    from wukongctl.config.loading import locate_problems
    from wukongctl.config.resizing import width_of
    from wukongctl.data import recipes
    from wukongctl.errors import CheckFailed, UsageError
    from wukongctl.training.coordinates import check

    if plot is not None:
        if plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"`--plot {plot}` does not end in .png, .svg or .pdf")
        require_writable(plot, "--plot", [Path(recipe)])
        require_own(plot, "--plot", "a plot of `coord-check`", PLOT, force=force)
    path = recipes.find(recipe, data)
    spec = recipes.load(path, data, overrides)
    with locate_problems(path, overrides):
        chosen = widths or tuple(factor * width_of(spec) for factor in FACTORS)
        layers = check(spec, data=data, widths=chosen, rule=rule, steps=steps, seeds=seeds)
    found = _content(spec, chosen, rule, steps, seeds, layers)
    if plot is not None:
        from wukongctl.report.coordinate_plot import draw

        draw(plot, spec.run_name, chosen, layers)
        found["plot"] = str(plot)
    output.result(found, lambda console: _show(console, found))
    if unstable := [layer for layer in layers if layer.verdict != "stable"]:
        names = ", ".join(f"`{layer.layer}` {layer.verdict}" for layer in unstable[:3])
        more = ", …" if len(unstable) > 3 else ""
        raise CheckFailed(
            f"{len(unstable)} of {len(layers)} layers are not stable across widths: {names}{more}",
            hint="a setting found at one width may not be the best at another",
        )


def _content(
    recipe: "TrainingSpec",
    widths: tuple[int, ...],
    rule: "ScaleRule",
    steps: int,
    seeds: int,
    layers: "list[LayerScales]",
) -> dict[str, Any]:
    from wukongctl.training.coordinates import GROWS, SHRINKS

    stable = all(layer.verdict == "stable" for layer in layers)
    return {
        "recipe": recipe.run_name,
        "model": recipe.model.name,
        "rule": rule,
        "widths": list(widths),
        "steps": steps,
        "seeds": seeds,
        "grows_above": GROWS,
        "shrinks_below": SHRINKS,
        "verdict": "stable" if stable else "unstable",
        "layers": [
            {
                "layer": layer.layer,
                "activations": list(layer.activations),
                "activation_slope": layer.activation_slope,
                "updates": list(layer.updates),
                "update_slope": layer.update_slope,
                "verdict": layer.verdict,
            }
            for layer in layers
        ],
    }


def _show(console: "Console", found: dict[str, Any]) -> None:
    from wukongctl.cli.tables import table

    for key, title in (("activations", "outputs after training"), ("updates", "their change by training")):
        shown = table(title, *(f"D={width}" for width in found["widths"]), "slope")
        for layer in found["layers"]:
            power = layer[f"{key.removesuffix('s')}_slope"]
            shown.add_row(layer["layer"], *(f"{value:.3g}" for value in layer[key]), f"{power:+.2f}")
        console.print(shown)
    stable = sum(layer["verdict"] == "stable" for layer in found["layers"])
    console.print(
        f"{stable} of {len(found['layers'])} layers are stable with `{found['rule']}` rates after "
        f"{found['steps']} steps (stable: slopes up to {found['grows_above']}, of the change down to "
        f"{found['shrinks_below']})",
        soft_wrap=True,
    )
