"""The next command for a dataset, given what is prepared and which recipes exist.

All hints that name `prepare` or `train` come from here, so that they agree on the recipe and on the data
folder of the failed command.
"""

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from wukongctl.config import library
from wukongctl.config.formats import format_of
from wukongctl.config.loading import read
from wukongctl.config.suggestions import did_you_mean
from wukongctl.errors import UsageError

MANIFEST = "manifest.json"
DEFAULT_MODEL = "wukong"
MOST_FILES = 200
"""YAML files searched for the recipe of a dataset."""
MOST_BYTES = 1 << 20


def default_folder() -> Path:
    """Default folder of prepared datasets."""
    return Path(os.environ.get("WUKONGCTL_DATA") or "data")


def is_prepared(name: str, data: Path) -> bool:
    """Whether the folder `data` holds the prepared dataset `name`."""
    try:
        return bool(name) and (data / name / MANIFEST).is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


def prepared(data: Path) -> list[str]:
    """Names of the prepared datasets in `data`."""
    try:
        return sorted(path.parent.name for path in data.glob(f"[!.]*/{MANIFEST}"))
    except OSError:
        return []


def to_prepare(name: str, data: Path) -> str | None:
    """The command that prepares `name` into `data` from a recipe in this folder or a shipped one; None
    without either."""
    own = next(_own_recipes(name), None)
    if own is None and name not in library.names("datasets"):
        return None
    return prepare_command(name if own is None else f"./{own}", data)


def recipe_of(name: str) -> Path:
    """The recipe of dataset `name` in this folder, else the shipped one; UsageError without either."""
    return next(_own_recipes(name), None) or library.find(name, "datasets")


def is_known(name: str, data: Path) -> bool:
    """Whether `name` is a dataset: prepared in `data`, with a recipe in this folder, or shipped."""
    return is_prepared(name, data) or to_prepare(name, data) is not None


def prepare_command(recipe: str | Path, data: Path) -> str:
    """`prepare` of a recipe, into `data`."""
    return f"wukongctl prepare {quoted(recipe)}{_option('--out', data)}"


def to_train(name: str, data: Path) -> str:
    """The command that trains a first model on the prepared dataset `name`."""
    recipe = f"{name}/{DEFAULT_MODEL}"
    return train_command(recipe, data) if recipe in library.names() else to_train_by_defaults(name, data)


def train_command(recipe: str | Path, data: Path) -> str:
    """`train` of a recipe whose dataset is in `data`."""
    return f"wukongctl train {quoted(recipe)}{_option('--data', data)}"


def to_train_by_defaults(name: str, data: Path, model: str = DEFAULT_MODEL) -> str:
    """The command that trains with default hyperparameters, without a recipe."""
    dataset = data / name if _option("--data", data) else name
    return f"wukongctl train --data {quoted(dataset)} --model {model}"


def to_show(name: str, data: Path) -> str:
    """The command that shows the prepared dataset `name`."""
    return f"wukongctl datasets show {quoted(name)}{_option('--data', data)}"


def to_draft(name: str, data: Path) -> str:
    """The command that writes a first training recipe for the prepared dataset `name`."""
    target = quoted(f"{name}-{DEFAULT_MODEL}.yaml")
    return f"wukongctl recipes init {quoted(name)}{_option('--data', data)} > {target}"


def after_preparation(name: str, data: Path, *, has_auc: bool = True) -> str:
    """Next commands for a prepared dataset; without `has_auc`, its `valid` split has one class."""
    if not has_auc:
        return f"next: `{to_train(name, data)} --set early_stopping.metric=logloss`"
    return f"next: `{to_train(name, data)}`, or `{to_draft(name, data)}` for a recipe to edit"


def after_training(run: Path, dataset: str, data: Path) -> str:
    """Next commands for a finished run on `dataset`, which is in `data`."""
    scoring = f"next: `wukongctl predict {quoted(run)} FILE{_option('--data', data)}` scores new rows"
    comparing = to_compare(dataset, run.parent, data)
    return scoring if comparing is None else f"{scoring}, `{comparing}` compares runs"


def to_compare(dataset: str, folder: Path, data: Path) -> str | None:
    """The command that compares the runs in `folder` on `dataset`; None if there are fewer than two.

    Uses a shell pattern if the names tell them from runs on other data.
    """
    runs = {run: _trained_on(run) for run in _run_folders(folder)}
    own = [run for run, trained_on in runs.items() if trained_on == dataset]
    if len(own) < 2:
        return None
    if len(own) == len(runs):
        return f"wukongctl compare {quoted(folder)}{_option('--data', data)}"
    if [run for run in runs if run.name.startswith(f"{dataset}-")] == own:
        return f"wukongctl compare {quoted(folder / dataset)}-*{_option('--data', data)}"
    return compare_command(own, data)


def compare_command(runs: Collection[Path], data: Path) -> str:
    """`compare` of these runs."""
    return f"wukongctl compare {' '.join(map(quoted, runs))}{_option('--data', data)}"


def _run_folders(folder: Path) -> list[Path]:
    """Finished runs in `folder`, by name."""
    try:
        return sorted(path.parent for path in folder.glob("[!.]*/result.json"))
    except OSError:
        return []


def _trained_on(run: Path) -> str | None:
    """The dataset of a run folder; None if run.json does not name it."""
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def to_resume(run: Path, data: Path) -> str:
    """The command that resumes the run in folder `run`, or reports it if it is finished."""
    return f"{train_command(run / 'recipe.yaml', data)} --out {quoted(run.parent)}"


def to_get(name: str, data: Path) -> str:
    """A hint towards a model on dataset `name`, whether it is prepared, has a recipe or is unknown."""
    if is_prepared(name, data):
        return f"run `{to_train(name, data)}`"
    if command := to_prepare(name, data):
        return f"run `{command}`"
    if closest := did_you_mean(name, prepared(data)):
        return closest
    table = next(
        (quoted(path) for path in _files_here(library.TABLES) if path.name.partition(".")[0] == name), "FILE"
    )
    command = f"wukongctl datasets init {table} --name {quoted(name)} > {quoted(f'{name}.yaml')}"
    return f"draft a recipe for its table with `{command}`"


def not_prepared(name: str, data: Path) -> UsageError:
    """The error of a command that needs the prepared dataset `name` in `data`."""
    return UsageError(f"dataset `{name}` is not prepared in `{data}`", hint=to_get(name, data))


def _own_recipes(name: str) -> Iterator[Path]:
    """Recipes of dataset `name` in this folder, files of that name first."""
    files = sorted(_files_here(library.ENDINGS), key=lambda path: path.stem != name)
    mentioned = re.compile(rf"^name:.*{re.escape(name)}", re.MULTILINE)
    for path in files[:MOST_FILES]:
        try:
            if path.stat().st_size > MOST_BYTES or not mentioned.search(path.read_text(encoding="utf-8")):
                continue
            content = read(path).value
        except (OSError, ValueError, UsageError):
            continue  # an error in another file is not the user's question
        is_dataset = isinstance(content, dict) and format_of(set(content)).name == "dataset"
        if is_dataset and content["name"] == name:
            yield path


def _files_here(suffixes: Collection[str]) -> list[Path]:
    """Files of this folder with one of these suffixes, by name."""
    try:
        return sorted(path for path in Path().iterdir() if path.suffix in suffixes and path.is_file())
    except OSError:
        return []


def _option(option: str, data: Path) -> str:
    """The option for the folder `data`; empty for the default."""
    return "" if data.resolve() == default_folder().resolve() else f" {option} {quoted(data)}"


def quoted(word: str | Path) -> str:
    """A word quoted for the shell."""
    return shlex.quote(str(word))
