"""The command to type next for a dataset, seen from where things stand.

Every hint that sends a person to `prepare` or to `train` is made here, so that following hints leads on: to
the recipe that is there, into the folder that the failed command looked in, and not back.
"""

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.formats import format_of
from wukongctl.config.loading import read
from wukongctl.config.suggestions import did_you_mean
from wukongctl.errors import UsageError

MANIFEST = "manifest.json"
DEFAULT_MODEL = "wukong"
MOST_FILES = 200
"""YAML files of a folder in which a dataset's recipe is looked for."""
MOST_BYTES = 1 << 20


def default_folder() -> Path:
    """Where prepared datasets are when no option says otherwise."""
    return Path(os.environ.get("WUKONGCTL_DATA") or "data")


def is_prepared(name: str, data: Path) -> bool:
    """Whether the folder `data` holds the prepared dataset `name`."""
    try:
        return bool(name) and (data / name / MANIFEST).is_file()
    except (OSError, ValueError):  # a name no file system can hold
        return False


def prepared(data: Path) -> list[str]:
    """Names of the prepared datasets in `data`."""
    try:
        return sorted(path.parent.name for path in data.glob(f"[!.]*/{MANIFEST}"))
    except OSError:
        return []


def to_prepare(name: str, data: Path) -> str | None:
    """The command that prepares `name` into `data`: by the recipe in this folder, else by the one that ships;
    None where there is neither."""
    own = next(_own_recipes(name), None)
    if own is None and name not in library.names("datasets"):
        return None
    return prepare_command(name if own is None else f"./{own}", data)


def recipe_of(name: str) -> Path:
    """The recipe of dataset `name`: in this folder, else the one that ships; UsageError if there is none."""
    return next(_own_recipes(name), None) or library.find(name, "datasets")


def is_known(name: str, data: Path) -> bool:
    """Whether `name` is a dataset: prepared in `data`, described in this folder, or one that ships."""
    return is_prepared(name, data) or to_prepare(name, data) is not None


def prepare_command(recipe: str | Path, data: Path) -> str:
    """`prepare` of a recipe, into `data`."""
    return f"wukongctl prepare {quoted(recipe)}{_option('--out', data)}"


def to_train(name: str, data: Path) -> str:
    """The command that trains a first model on the prepared dataset `name`."""
    recipe = f"{name}/{DEFAULT_MODEL}"
    return train_command(recipe, data) if recipe in library.names() else by_rules(name, data)


def train_command(recipe: str | Path, data: Path) -> str:
    """`train` of a recipe whose dataset is in `data`."""
    return f"wukongctl train {quoted(recipe)}{_option('--data', data)}"


def by_rules(name: str, data: Path, model: str = DEFAULT_MODEL) -> str:
    """The command that trains by the default rules, without a recipe."""
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
    """What a person may do with a dataset that is prepared; without `has_auc`, its `valid` has one class."""
    if not has_auc:
        return f"next: `{to_train(name, data)} --set early_stopping.metric=logloss`"
    return f"next: `{to_train(name, data)}`, or `{to_draft(name, data)}` for a recipe to edit"


def after_training(run: Path, dataset: str, data: Path) -> str:
    """What a person may do with a finished run on `dataset`, which is in `data`."""
    scoring = f"next: `wukongctl predict {quoted(run)} FILE{_option('--data', data)}` scores new rows"
    comparing = to_compare(dataset, run.parent, data)
    return scoring if comparing is None else f"{scoring}, `{comparing}` sets runs side by side"


def to_compare(dataset: str, folder: Path, data: Path) -> str | None:
    """The command that compares the runs in `folder` on `dataset`; None where there are not two.

    The shell finds them by how they are called, where that tells them from runs on other data.
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
    """The dataset of a run folder; None where its run.json does not say."""
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def again(run: Path, data: Path) -> str:
    """The command that goes on with the run folder `run`, or reports it."""
    return f"{train_command(run / 'recipe.yaml', data)} --out {quoted(run.parent)}"


def to_get(name: str, data: Path) -> str:
    """A hint that leads to a model on dataset `name`, whether it is prepared, described or unknown."""
    if is_prepared(name, data):
        return f"run `{to_train(name, data)}`"
    if command := to_prepare(name, data):
        return f"run `{command}`"
    if closest := did_you_mean(name, prepared(data)):
        return closest
    table = next(
        (quoted(path) for path in _beside(library.TABLES) if path.name.partition(".")[0] == name), "FILE"
    )
    target = quoted(f"{name}.yaml")
    return f"describe its table with `wukongctl datasets init {table} --name {quoted(name)} > {target}`"


def not_prepared(name: str, data: Path) -> UsageError:
    """The failure of a command that needs the prepared dataset `name` in `data`."""
    return UsageError(f"dataset `{name}` is not prepared in `{data}`", hint=to_get(name, data))


def _own_recipes(name: str) -> Iterator[Path]:
    """Recipes of dataset `name` in this folder, those that are called so first."""
    files = sorted(_beside(library.ENDINGS), key=lambda path: path.stem != name)
    mentioned = re.compile(rf"^name:.*{re.escape(name)}", re.MULTILINE)
    for path in files[:MOST_FILES]:
        try:
            if path.stat().st_size > MOST_BYTES or not mentioned.search(path.read_text(encoding="utf-8")):
                continue
            content = read(path).value
        except (OSError, ValueError, UsageError):
            continue  # not ours to complain of
        if isinstance(content, dict) and format_of(set(content)) is DatasetSpec and content["name"] == name:
            yield path


def _beside(endings: Collection[str]) -> list[Path]:
    """Files of this folder with one of the endings, by name."""
    try:
        return sorted(path for path in Path().iterdir() if path.suffix in endings and path.is_file())
    except OSError:
        return []


def _option(option: str, data: Path) -> str:
    """The option that names `data`; nothing where it is the default."""
    return "" if data.resolve() == default_folder().resolve() else f" {option} {quoted(data)}"


def quoted(word: str | Path) -> str:
    """A word as a shell takes it."""
    return shlex.quote(str(word))
