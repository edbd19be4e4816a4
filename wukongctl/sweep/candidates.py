"""The recipes that `tune` is given, each with its name and its space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from wukongctl.config import loading
from wukongctl.config.dimensions import Space
from wukongctl.config.entries import Entry, Trial
from wukongctl.config.loading import Override
from wukongctl.config.search_space import changed, own_value, search_space
from wukongctl.config.space_options import SpaceOption
from wukongctl.config.sweep import Search, Setting
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data import recipes
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RecipeError, UsageError


@dataclass(frozen=True)
class Candidate:
    """A recipe to tune, complete, and what may change; `path`, changed by `overrides`, is where it stands."""

    name: str
    recipe: TrainingSpec
    path: Path
    overrides: tuple[str | Override, ...]
    space: Space

    @property
    def own(self) -> Setting:
        """The recipe's own value of every key that is searched."""
        return {key: own_value(self.recipe, key) for key in self.space}

    @property
    def metric(self) -> Literal["auc", "logloss"]:
        """The validation metric that decides."""
        return self.recipe.early_stopping.metric

    def trial(self, setting: Setting) -> Trial | None:
        """The recipe with that setting; None where its keys do not agree."""
        try:
            return Trial(setting, changed(self.recipe, setting), self.path, self.overrides)
        except ValidationError:
            return None

    def entry(self) -> Entry:
        """What a sweep knows of it at first: the recipe as it stands, which is the first trial."""
        search = Search(settings=(self.own,), metric=self.metric, seed=self.recipe.seed)
        own = Trial(self.own, self.recipe, self.path, self.overrides)
        return Entry(self.name, self.recipe.curve_name, 1.0, search, (own,))


def read(
    paths: Sequence[Path],
    overrides: tuple[str, ...],
    wanted: Sequence[SpaceOption],
    data: Path,
    *,
    seed: int,
) -> tuple[list[Candidate], dict[str, Manifest]]:
    """Every recipe with its space, and the datasets they train on.

    A space is that of the model without keys that `overrides` set, those of `wanted` taking the place of its
    own. Raises RecipeError, also for an option that fits no recipe, or UsageError: names clash, a dataset is
    not prepared or has no validation split, nothing is left to search.
    """
    set_keys = [text.partition("=")[0] for text in overrides]
    if twice := next((option for option in wanted if option.key in set_keys), None):
        raise UsageError(
            f"`--space {twice.text}` searches a key that `--set` fixes", hint="leave one of them out"
        )
    options = {path: (*overrides, f"seed={seed}", *_metric(path, set_keys)) for path in paths}
    loaded = [recipes.load(path, data, options[path]) for path in paths]
    datasets = {name: manifests.read(data / name) for name in sorted({recipe.data for recipe in loaded})}
    _require_validation(datasets)
    used: set[str] = set()
    found = []
    for path, recipe, name in zip(paths, loaded, _names(loaded), strict=True):
        named = recipe.model_copy(update={"name": name, "curve": recipe.curve_name})
        taken = [
            option for option in wanted if _takes(path, data, options[path], option, must=len(paths) == 1)
        ]
        used |= {option.text for option in taken}
        fixed = [*set_keys, *(option.key for option in taken)]
        space = search_space(recipe, datasets[recipe.data].splits["train"].rows, fixed)
        space |= {option.key: option.dimension(own_value(recipe, option.key)) for option in taken}
        if not space:
            raise UsageError(f"nothing is left to search in `{path}`", hint="fix fewer keys with `--set`")
        found.append(Candidate(name, named, path, options[path], space))
    for option in wanted:
        if option.text not in used:  # say why
            _takes(paths[0], data, options[paths[0]], option, must=True)
    return found, datasets


def _require_validation(datasets: dict[str, Manifest]) -> None:
    for name, manifest in datasets.items():
        if "valid" not in manifest.splits:
            raise UsageError(
                f"dataset `{name}` has no validation split to choose by",
                hint="add `valid` to the split of its recipe, and prepare it again",
            )


def _metric(path: Path, set_keys: Sequence[str]) -> tuple[str, ...]:
    """AUC decides, unless the recipe says by what its weights are chosen."""
    said = ("early_stopping", "metric") in loading.read(path).values
    said |= bool({"early_stopping", "early_stopping.metric"} & set(set_keys))
    return () if said else ("early_stopping.metric=auc",)


def _takes(path: Path, data: Path, overrides: tuple[str, ...], option: SpaceOption, *, must: bool) -> bool:
    """Whether a recipe takes the values of an option; if it `must` and does not, RecipeError."""
    place = f"--space {option.text}", 0, 0
    try:
        for value in option.values:
            recipes.load(path, data, (*overrides, Override(option.key, value, place)))
    except RecipeError:
        if must:
            raise
        return False
    return True


def _names(given: Sequence[TrainingSpec]) -> list[str]:
    """The recipe's name or its model's; with that of the dataset where models are the same."""
    names = [recipe.name or recipe.model.name for recipe in given]
    if len(set(names)) < len(names):
        names = [recipe.run_name for recipe in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"two recipes would be called `{twice}`", hint="give one of them a `name`, or tune them apart"
        )
    return names
