"""Recipes as commands take them, by path or name, completed with the facts of their dataset.

The error for any other kind of file has a hint with the right command.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.config import defaults, library
from wukongctl.config.completion import LookUp, complete
from wukongctl.config.defaults import DatasetFacts
from wukongctl.config.formats import format_of
from wukongctl.config.loading import OtherFormat, Override, read, validate
from wukongctl.config.positions import Document
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data import next_steps
from wukongctl.errors import RecipeError, UsageError, WukongError

if TYPE_CHECKING:
    from wukongctl.config.entries import Entry
    from wukongctl.config.sweep import SweepSpec

TABLES = frozenset(library.TABLES) - {".json", ".txt"}
"""Suffixes of tables, which are certainly not recipes."""


def find(name: str, data: Path) -> Path:
    """The file of the training recipe or sweep `name`, a path or a shipped name.

    Raises UsageError; if `name` is a table, a dataset or a run, the hint says how to train on it.
    """
    try:
        path = library.find(name)
    except UsageError as error:
        raise (
            _without_ending(name) or _of_another_kind(name, data) or _undrafted(name, data) or error
        ) from None
    if path.suffix in TABLES:
        raise not_a_recipe(path, data)
    return path


def find_dataset(name: str, data: Path) -> Path:
    """The file of the dataset recipe `name`, a path or a shipped name.

    Raises UsageError; the hint depends on the recipes of this folder and the datasets in `data`.
    """
    path = Path(name)
    try:
        return library.find(name, "datasets")
    except UsageError as error:
        if path.suffix in library.TABLES and path.exists():
            raise not_a_recipe(path, data) from None
        if path.suffix not in library.ENDINGS and (command := next_steps.to_prepare(name, data)):
            raise UsageError(error.message, hint=f"run `{command}`") from None
        if next_steps.is_prepared(name, data):
            hint = f"run `{next_steps.to_train(name, data)}`"
            raise UsageError(f"{error.message}, but it is prepared in `{data}`", hint=hint) from None
        raise


def not_a_recipe(path: Path, data: Path) -> UsageError:
    """The error of a command that needs a recipe and got a table."""
    name = path.name.partition(".")[0]
    target = next_steps.quoted(f"{name}.yaml")
    hint = f"draft one with `wukongctl datasets init {next_steps.quoted(path)} > {target}`"
    if next_steps.is_known(name, data):
        hint = next_steps.to_get(name, data)  # a recipe exists, possibly edited
    return UsageError(f"`{path}` is a table, not a recipe", hint=hint)


def require_table(file: str, data: Path) -> None:
    """UsageError if `file`, for which a recipe is to be drafted, is a recipe or a dataset."""
    path = Path(file)
    if path.suffix in library.ENDINGS and path.is_file():
        raise UsageError(f"`{path}` is a recipe, not a table", hint=command_for(path, data))
    if not path.exists() and next_steps.is_known(file, data):
        raise UsageError(f"`{file}` is a dataset, not a table", hint=next_steps.to_get(file, data))


def command_for(path: Path, data: Path) -> str:
    """A hint for a recipe passed where another file is needed: the command that takes its format."""
    try:
        load(path, data)
    except RecipeError as error:
        commands = [hint for problem in error.problems if "wukongctl" in (hint := problem.hint or "")]
        return commands[-1] if commands else f"run `wukongctl recipes check {next_steps.quoted(path)}`"
    return f"run `{next_steps.train_command(path, data)}`"


def load(path: Path, data: Path, overrides: Sequence[str | Override] = ()) -> TrainingSpec:
    """The recipe at `path` with every key, for its dataset in `data`; raises as `from_document`."""
    return from_document(read(path), data, overrides)


def from_document(document: Document, data: Path, overrides: Sequence[str | Override] = ()) -> TrainingSpec:
    """A recipe with every key; raises RecipeError with all problems."""
    try:
        return complete(document, look_up(data), overrides)
    except OtherFormat as error:
        raise with_next_step(error, data) from None


def expand(path: Path, data: Path, overrides: tuple[str, ...] = ()) -> "tuple[SweepSpec, tuple[Entry, ...]]":
    """A sweep file and its entries, each recipe with every key for its dataset; raises as `from_document`."""
    from wukongctl.config import entries

    try:
        return entries.expand(path, overrides, look_up(data))
    except OtherFormat as error:
        raise with_next_step(error, data) from None


def sizes_unknown(path: Path, data: Path, overrides: Sequence[str | Override] = ()) -> list[str]:
    """Model sizes that depend on a dataset which is not prepared in `data`."""
    found: list[str] = []

    def ask(recipe: dict[str, Any]) -> None:
        if look_up(data)(str(recipe.get("data"))) is None:
            found.extend(defaults.open_sizes(recipe))

    validate(read(path), TrainingSpec, overrides, ask)
    return found


def look_up(data: Path) -> LookUp:
    """A lookup of the facts that defaults depend on, for datasets in the folder `data`."""

    def facts(name: str) -> DatasetFacts | None:
        if not next_steps.is_prepared(name, data):
            return None
        try:
            return manifests.read(data / name).facts()
        except WukongError:  # training reports it, after the problems of the recipe
            return None

    return facts


def with_next_step(error: OtherFormat, data: Path) -> RecipeError:
    """The same problems; for a dataset recipe, the hint depends on whether it is prepared in `data`."""
    name = error.document.value.get("name")
    if error.meant.name != "dataset":
        return error
    if isinstance(name, str) and next_steps.is_prepared(name, data):
        hint = f"`{name}` is prepared: run `{next_steps.to_train(name, data)}`"
    else:
        hint = f"run `{next_steps.prepare_command(error.document.file, data)}`"
    *others, last = error.problems
    return RecipeError([*others, replace(last, hint=hint)])


def _without_ending(name: str) -> UsageError | None:
    """The error for a training recipe or sweep of this folder that is named without its suffix."""
    for path in (Path(f"{name}{ending}") for ending in library.ENDINGS):
        try:
            content = read(path).value
        except (UsageError, ValueError):  # missing or unreadable
            continue
        if isinstance(content, dict) and format_of(set(content)).name in ("training", "sweep"):
            return UsageError(f"there is no recipe `{name}`", hint=f"did you mean `{path}`?")
    return None


def find_for_tuning(name: str, data: Path) -> Path:
    """As `find`; for a prepared dataset or its recipe, the hint says how to get a training recipe."""
    path = Path(name)
    try:
        content = read(path).value if path.is_file() and path.suffix in library.ENDINGS else {"name": name}
    except (OSError, UsageError, ValueError):
        return find(name, data)
    is_training = isinstance(content, dict) and path.is_file() and format_of(set(content)).name != "dataset"
    dataset = content.get("name") if isinstance(content, dict) and not is_training else None
    if not isinstance(dataset, str) or not next_steps.is_prepared(dataset, data):
        return find(name, data)
    hint = (
        f"run `{next_steps.to_draft(dataset, data)}`, then "
        f"`wukongctl tune {next_steps.quoted(f'{dataset}-{next_steps.DEFAULT_MODEL}.yaml')}`"
    )
    raise UsageError(f"`{name}` is a dataset, not a training recipe", hint=hint)


def _undrafted(name: str, data: Path) -> UsageError | None:
    """The error for a missing recipe that `recipes init` would write."""
    dataset = Path(name).stem.removesuffix(f"-{next_steps.DEFAULT_MODEL}")
    if name != f"{dataset}-{next_steps.DEFAULT_MODEL}.yaml" or not next_steps.is_prepared(dataset, data):
        return None
    return UsageError(f"there is no recipe `{name}`", hint=f"run `{next_steps.to_draft(dataset, data)}`")


def _of_another_kind(name: str, data: Path) -> UsageError | None:
    """The error for a run folder or a dataset."""
    path = Path(name)
    try:
        if (path / "recipe.yaml").is_file():
            hint = f"run `{next_steps.to_resume(path, data)}`"
            return UsageError(f"`{name}` is a run folder, not a recipe", hint=hint)
        folder = path.parent if (path / manifests.FILE).is_file() else data
    except (OSError, ValueError):
        return None
    known = next_steps.is_prepared(path.name, folder)
    if known and (folder is not data or name == path.name):
        hint = f"run `{next_steps.to_train(path.name, folder)}`"
        return UsageError(f"`{name}` is a prepared dataset, not a recipe", hint=hint)
    if command := next_steps.to_prepare(name, data):
        return UsageError(f"`{name}` is a dataset, not a recipe", hint=f"run `{command}`")
    return None
