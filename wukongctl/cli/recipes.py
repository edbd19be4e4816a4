"""`wukongctl recipes`: list, show, copy and check recipes."""

import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output, first_sentence

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.formats import FormatName

INIT_EXAMPLES = """\b
Examples:
  wukongctl recipes init clicks > clicks-wukong.yaml
  wukongctl recipes init clicks --model dcnv2 > clicks-dcnv2.yaml
"""
DESCRIPTION = re.compile(r"^description: (?:>-\n)?((?:.+\n)(?:  .+\n)*)", re.MULTILINE)


@click.group()
def recipes() -> None:
    """Recipes are YAML files; shipped ones have names, such as `frappe/wukong`."""


@recipes.command("ls")
@options.common
def ls(output: Output) -> None:
    """List the shipped recipes."""
    from wukongctl.config import library

    paths = {name: library.find(name) for name in library.names()}
    found = [
        {"name": name, "path": str(path), "description": _about(path.read_text(encoding="utf-8"))}
        for name, path in paths.items()
    ]

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table

        shown = table("recipe", "")
        shown.columns[1].justify = "left"
        for entry in found:
            shown.add_row(entry["name"], entry["description"])
        console.print(shown)

    output.result(found, human)


def _about(recipe: str) -> str:
    """The first sentence of the description of a dataset, else of the comments above a recipe."""
    if described := DESCRIPTION.search(recipe):
        return first_sentence(described[1])
    comments = itertools.takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    lines = (line.lstrip("# ") for line in comments)
    return first_sentence(" ".join(line for line in lines if not line.startswith("wukongctl ")))


@recipes.command("show")
@click.argument("recipe", type=options.recipe)
@options.common
def show(output: Output, recipe: str) -> None:
    """Print the text of RECIPE."""
    from wukongctl.config import library
    from wukongctl.config.loading import text_of

    path = library.find(recipe)
    text = text_of(path)
    output.result(
        {"path": str(path), "text": text}, lambda console: console.out(text, end="", highlight=False)
    )


@recipes.command("init", short_help="Print a training recipe for a prepared dataset.", epilog=INIT_EXAMPLES)
@click.argument("dataset", metavar="DATASET")
@click.option("--model", metavar="NAME", default="wukong", show_default=True, help="Model to train.")
@options.data
@options.common
def init(output: Output, dataset: str, model: str, data: Path) -> None:
    """Print a training recipe for the prepared DATASET, sized to it, with a reason for each line.

    It trains the same run as `train --data DATASET --model NAME`. Lines you delete are chosen by the same
    rules.
    """
    from wukongctl.config import training_draft
    from wukongctl.data import manifest as manifests
    from wukongctl.data import next_steps
    from wukongctl.data.recipe_sources import prepared_dataset

    folder = prepared_dataset(dataset, data)
    facts = manifests.read(folder).facts()
    chosen = training_draft.draft(folder.name, model, facts)
    target = f"{folder.name}-{model}.yaml"
    command = next_steps.train_command(target, folder.parent)
    shape = f"{facts.train_rows:,} train rows, {facts.embedding_rows:,} embedding rows"
    by = "sized by the default rules" if chosen else "with default hyperparameters"
    header = (f"{model} on {folder.name}, {by}: {shape}.", command)
    text = training_draft.to_text(folder.name, model, chosen, header)
    content = {
        "dataset": folder.name,
        "model": model,
        "recipe": text,
        "choices": [choice._asdict() for choice in chosen],
    }
    output.result(content, lambda console: console.out(text, end="", highlight=False))
    output.note(f"save it as {target}, then run `{command}`")


@recipes.command("cp", short_help="Copy a recipe to edit it.")
@click.argument("recipe", type=options.recipe)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a file at TARGET.")
@options.common
def cp(output: Output, recipe: str, target: Path, force: bool) -> None:
    """Copy RECIPE to TARGET, a new file or an existing folder, to edit it."""
    from wukongctl.config import library
    from wukongctl.config.loading import text_of
    from wukongctl.errors import UsageError, cannot_write

    source = library.find(recipe)
    path, text = target / source.name if target.is_dir() else target, text_of(source)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"`{path}` already exists", hint="name another target, or add `--force`") from None
    except OSError as error:
        raise cannot_write(path, error) from None
    output.result({"path": str(path)}, lambda console: console.print(f"copied to {path}", soft_wrap=True))


@recipes.command(
    "check",
    short_help="Check recipes and report every problem.",
    epilog="\b\nExample:\n  wukongctl recipes check mine.yaml recipes/frappe/*.yaml",
)
@click.argument("paths", nargs=-1, type=options.recipe, metavar="[RECIPE]...")
@options.overrides
@options.common
def check(output: Output, paths: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check each RECIPE (default: all shipped ones) and report every problem with its position."""
    from wukongctl.config import library
    from wukongctl.errors import Problem, RecipeError, UsageError

    problems: list[Problem] = []
    checked: list[Path] = []
    for name in paths or library.names():
        try:
            checked.append(library.find(name))
            _require_recipe(checked[-1])
            _check(checked[-1], overrides)
        except RecipeError as error:
            problems += error.problems
        except UsageError as error:
            problems.append(Problem(error.message, file=name, hint=error.hint))
    if problems:
        raise RecipeError(problems)
    count = f"{len(checked)} recipe{'s' if len(checked) != 1 else ''}"
    output.result({"checked": [str(path) for path in checked]}, lambda console: console.print(f"{count}: ok"))


def _require_recipe(path: Path) -> None:
    from wukongctl.config import library

    if path.suffix in library.TABLES:
        from wukongctl.data import next_steps, recipes

        raise recipes.not_a_recipe(path, next_steps.default_folder())


def _check(path: Path, overrides: tuple[str, ...]) -> None:
    from wukongctl.config.formats import format_of
    from wukongctl.config.loading import locate_problems, read, validate

    document = read(path)
    meant = format_of(set(document.value) if isinstance(document.value, dict) else set())
    if meant.name == "sweep":
        from wukongctl.config.entries import expand

        expand(path, overrides)
        return
    spec = validate(document, meant.spec, overrides)
    if meant.name == "dataset":
        from wukongctl.config.dataset import DatasetSpec
        from wukongctl.data.pipeline.keys import require

        assert isinstance(spec, DatasetSpec)
        with locate_problems(path, at_key=False):
            require(spec)


@recipes.command("schema")
@click.argument("name", type=click.Choice(["training", "dataset", "sweep", "report"]))
@click.option("--markdown", is_flag=True, help="Print a Markdown reference page instead.")
@options.common
def schema(output: Output, name: "FormatName", markdown: bool) -> None:
    """Print the JSON Schema of a recipe format, for your editor."""
    from wukongctl.config.schema import json_schema, to_markdown

    options.exclusive(("--json", output.as_json), ("--markdown", markdown))
    schema = json_schema(name)
    text = to_markdown(name) if markdown else json.dumps(schema, indent=2)
    output.result(schema, lambda console: console.out(text, highlight=False))
