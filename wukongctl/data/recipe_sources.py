"""The recipe that `train` uses: a given one, or the default rules for a dataset and a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wukongctl.config import library
from wukongctl.config.loading import Override, read
from wukongctl.config.positions import Document, parse
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps, recipes
from wukongctl.errors import UsageError


@dataclass(frozen=True)
class RecipeSource:
    """A recipe as written, its overrides, and the folder of its dataset."""

    document: Document
    overrides: tuple[str | Override, ...]
    data: Path

    def recipe(self, *overrides: str) -> TrainingSpec:
        """The complete recipe; raises RecipeError with every problem."""
        return recipes.from_document(self.document, self.data, (*self.overrides, *overrides))


def find(
    recipe: str | None, dataset: Path | None, model: str | None, overrides: Sequence[str], data: Path
) -> RecipeSource:
    """The source that the arguments name: RECIPE, or a `dataset` (`--data` as written) and a model.

    Raises UsageError if they name neither or both.
    """
    if recipe is not None and model is not None:
        of_recipe(recipe, data, overrides)  # report an unknown recipe first
        raise UsageError(
            "`--model` cannot be used with a recipe",
            hint=f"leave out `{recipe}` or `--model`",
        )
    if recipe is not None:
        return of_recipe(recipe, data, overrides)
    if dataset is not None and model is not None:
        return of_dataset(dataset, model, overrides)
    if dataset is not None:
        folder = prepared_dataset(str(dataset))
        hint = f"run `{next_steps.to_train_by_defaults(folder.name, folder.parent)}`"
        raise UsageError("`--data` without a recipe needs `--model`", hint=hint)
    if model is not None and (names := next_steps.prepared(data)):
        hint = f"run `{next_steps.to_train_by_defaults(names[0], data, model)}`"
        raise UsageError("`--model` without a recipe needs `--data NAME`", hint=hint)
    raise UsageError(
        "give a recipe, or a prepared dataset and a model: `--data NAME --model NAME`",
        hint="see `wukongctl recipes ls` and `wukongctl datasets ls`",
    )


def of_recipe(name: str, data: Path, overrides: Sequence[str]) -> RecipeSource:
    """The recipe `name`, a path or the name of a shipped one; `data` contains its dataset."""
    document = read(recipes.find(name, data))
    folder = data.resolve()
    if not folder.exists() and next_steps.is_prepared(str(data), next_steps.default_folder()):
        folder = next_steps.default_folder() / data
    if next_steps.is_prepared(folder.name, folder.parent):
        raise UsageError(
            f"`{data}` is a prepared dataset; with a recipe, `--data` is the folder that contains datasets",
            hint=f"write `--data {folder.parent}`, and `--set data={folder.name}` to train on this one",
        )
    return RecipeSource(document, tuple(overrides), data)


def of_dataset(name: Path, model: str, overrides: Sequence[str]) -> RecipeSource:
    """Dataset `name`, in the folder of prepared datasets or a path to it, by the default rules."""
    folder = prepared_dataset(str(name))
    source = f"--data {name} --model {model}"
    chosen = (
        Override("data", folder.name, (source, 0, 0)),
        Override("model.name", model, (source, 0, 0)),
    )
    return RecipeSource(parse("{}", source), (*chosen, *overrides), folder.parent)


def prepared_dataset(name: str, data: Path | None = None) -> Path:
    """The folder of the prepared dataset `name`: a path to it, or its name in `data`.

    Raises UsageError with a command to prepare it, or the names to choose from.
    """
    path, data = Path(name), data or next_steps.default_folder()
    if next_steps.is_prepared(path.resolve().name, path.resolve().parent):
        return path if path.name else path.resolve()
    if next_steps.is_prepared(name, data):
        return data / name
    if path.is_file():
        if path.suffix in library.TABLES:
            own = path.name.partition(".")[0]
            hint = recipes.not_a_recipe(path, data).hint
            if next_steps.is_prepared(own, data):
                hint = f"its dataset is `{own}`: run `{next_steps.to_draft(own, data)}`"
            raise UsageError(f"`{path}` is a table, not a prepared dataset", hint=hint)
        hint = recipes.command_for(path, data)
        raise UsageError(f"`{path}` is a recipe, not a prepared dataset", hint=hint)
    if inside := next_steps.prepared(path):
        raise UsageError(
            f"`{name}` is a folder of prepared datasets",
            hint=f"name one: {', '.join(f'`{path / one}`' for one in inside[:5])}",
        )
    if name in library.names():
        hint = f"run `{next_steps.train_command(name, data)}`"
        raise UsageError(f"`{name}` is a recipe, not a dataset", hint=hint)
    owner = path.parent.name
    if next_steps.is_prepared(owner, data) and not path.parent.is_dir():  # as in the name of a shipped recipe
        hint = (
            f"run `wukongctl recipes init {next_steps.quoted(owner)} --model {next_steps.quoted(path.name)}`"
        )
        raise UsageError(f"`{name}` is not a prepared dataset", hint=hint)
    written_as_path = path.name != name
    raise next_steps.not_prepared(path.name, path.parent if written_as_path else data)
