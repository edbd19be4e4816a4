"""What `train` trains: a recipe, or a prepared dataset and a model by the default rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.errors import UsageError

if TYPE_CHECKING:
    from wukongctl.config.loading import Override
    from wukongctl.config.positions import Document
    from wukongctl.config.training import TrainingSpec


@dataclass(frozen=True)
class RecipeSource:
    """A recipe as written, what was changed of it, and the folder that holds its dataset."""

    document: "Document"
    overrides: "tuple[str | Override, ...]"
    data: Path

    def recipe(self, *overrides: str) -> "TrainingSpec":
        """The complete recipe; raises RecipeError with all problems."""
        from wukongctl.data import recipes

        return recipes.from_document(self.document, self.data, (*self.overrides, *overrides))


def find(
    recipe: str | None, dataset: Path | None, model: str | None, overrides: Sequence[str], data: Path
) -> RecipeSource:
    """What the arguments of a command name: RECIPE, or a `dataset` (`--data` as written) and a model.

    Raises UsageError where they name neither, or both.
    """
    from wukongctl.data import next_steps

    if recipe is not None and model is not None:
        of_recipe(recipe, data, overrides)  # a name that is no recipe is the first mistake
        raise UsageError(
            "`--model` goes with `--data NAME`, and a recipe names its model itself",
            hint=f"leave out `{recipe}`, or `--model`",
        )
    if recipe is not None:
        return of_recipe(recipe, data, overrides)
    if dataset is not None and model is not None:
        return of_dataset(dataset, model, overrides)
    if dataset is not None:
        folder = prepared_dataset(str(dataset))
        hint = f"run `{next_steps.by_rules(folder.name, folder.parent)}`"
        raise UsageError("`--data` without a recipe needs `--model`", hint=hint)
    if model is not None and (names := next_steps.prepared(data)):
        hint = f"run `{next_steps.by_rules(names[0], data, model)}`"
        raise UsageError("`--model` without a recipe needs `--data NAME`", hint=hint)
    raise UsageError(
        "give a recipe, or a prepared dataset and a model: `--data NAME --model NAME`",
        hint="run `wukongctl recipes ls` to see the recipes that ship, or `wukongctl datasets ls`",
    )


def of_recipe(name: str, data: Path, overrides: Sequence[str]) -> RecipeSource:
    """The recipe `name`, a path or the name of one that ships; `data` holds its dataset."""
    from wukongctl.config.loading import read
    from wukongctl.data import next_steps, recipes

    document = read(recipes.find(name, data))
    folder = data.resolve()
    if not folder.exists() and next_steps.is_prepared(str(data), next_steps.default_folder()):
        folder = next_steps.default_folder() / data
    if next_steps.is_prepared(folder.name, folder.parent):
        raise UsageError(
            f"`{data}` is one prepared dataset; beside a recipe, `--data` names the folder that holds them",
            hint=f"write `--data {folder.parent}`, and `--set data={folder.name}` to train on this one",
        )
    return RecipeSource(document, tuple(overrides), data)


def of_dataset(name: Path, model: str, overrides: Sequence[str]) -> RecipeSource:
    """Dataset `name`, in the folder of prepared datasets or a path to it, by the default rules."""
    from wukongctl.config.loading import Override
    from wukongctl.config.positions import parse

    folder = prepared_dataset(str(name))
    said = f"--data {name} --model {model}"
    written = (
        Override("data", folder.name, (said, 0, 0)),
        Override("model.name", model, (said, 0, 0)),
    )
    return RecipeSource(parse("{}", said), (*written, *overrides), folder.parent)


def prepared_dataset(name: str, data: Path | None = None) -> Path:
    """The folder of the prepared dataset `name`: a path to it, or its name in `data`.

    Raises UsageError with the command that gets on: to prepare it, or to name one of several.
    """
    from wukongctl.config import library
    from wukongctl.data import next_steps, recipes

    path, data = Path(name), data or next_steps.default_folder()
    if next_steps.is_prepared(path.resolve().name, path.resolve().parent):
        return path if path.name else path.resolve()
    if next_steps.is_prepared(name, data):
        return data / name
    if path.is_file():
        if path.suffix in library.TABLES:
            raise recipes.a_table(path, data)
        raise UsageError(f"`{path}` is a recipe, not a prepared dataset", hint=recipes.way_on(path, data))
    if inside := next_steps.prepared(path):
        raise UsageError(
            f"`{name}` holds prepared datasets and is none itself",
            hint=f"name one of them: {', '.join(f'`{path / one}`' for one in inside[:5])}",
        )
    if name in library.names():
        hint = f"run `{next_steps.train_command(name, data)}`"
        raise UsageError(f"`{name}` is a recipe, not a dataset", hint=hint)
    written_as_path = path.name != name
    raise next_steps.not_prepared(path.name, path.parent if written_as_path else data)


def is_given(context: click.Context, option: str) -> bool:
    """Whether an option was written on the command line, rather than a default or the environment's."""
    return context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
