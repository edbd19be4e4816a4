"""The recipes to tune, each with its name and search space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from wukongctl.config import loading
from wukongctl.config.dimensions import Space
from wukongctl.config.entries import Entry, Trial
from wukongctl.config.loading import Override
from wukongctl.config.search_space import changed, own_value, search_space
from wukongctl.config.space_options import SpaceOption
from wukongctl.config.sweep import Search, Setting
from wukongctl.config.training import TrainingSpec, WatchedMetric
from wukongctl.data import manifest as manifests
from wukongctl.data import recipes
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RecipeError, UsageError


@dataclass(frozen=True)
class Candidate:
    """A recipe to tune and its search space. `path` and `overrides` are those it was loaded from."""

    name: str
    recipe: TrainingSpec
    path: Path
    overrides: tuple[str | Override, ...]
    space: Space

    @property
    def own(self) -> Setting:
        """The recipe's own value of every key in the search space."""
        return {key: own_value(self.recipe, key) for key in self.space}

    @property
    def metric(self) -> WatchedMetric:
        """The validation metric to optimize."""
        return self.recipe.early_stopping.metric

    def trial(self, setting: Setting) -> Trial | None:
        """The recipe with that setting; None when the combination is invalid."""
        try:
            return Trial(setting, changed(self.recipe, setting), self.path, self.overrides)
        except ValidationError:
            return None

    def entry(self) -> Entry:
        """The initial sweep entry: its first trial is the recipe unchanged."""
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
    """Every recipe with its search space, and the datasets they train on.

    The space is the model's default without the keys set by `overrides`; dimensions in `wanted` replace those
    of the default. Raises RecipeError for invalid recipes and for options that fit none of them, UsageError
    when names clash, a dataset is not prepared or has no validation split, or no key is left to search.
    """
    set_keys = [text.partition("=")[0] for text in overrides]
    if twice := next((option for option in wanted if option.key in set_keys), None):
        raise UsageError(
            f"`--space {twice.text}` searches a key that `--set` fixes", hint="remove one of them"
        )
    options = {path: (*overrides, f"seed={seed}", *_metric(path, set_keys)) for path in paths}
    loaded = [recipes.load(path, data, options[path]) for path in paths]
    datasets = {name: manifests.read(data / name) for name in sorted({recipe.data for recipe in loaded})}
    _require_validation(datasets)
    used: set[str] = set()
    found = []
    for path, recipe, name in zip(paths, loaded, _names(loaded), strict=True):
        named = recipe.model_copy(update={"name": name, "curve": recipe.curve_name})
        accepted = [
            option for option in wanted if _accepts(path, data, options[path], option, must=len(paths) == 1)
        ]
        used |= {option.text for option in accepted}
        fixed = [*set_keys, *(option.key for option in accepted)]
        space = search_space(recipe, datasets[recipe.data].splits["train"].rows, fixed)
        space |= {option.key: option.dimension(own_value(recipe, option.key)) for option in accepted}
        if not space:
            raise UsageError(f"no key is left to search in `{path}`", hint="fix fewer keys with `--set`")
        found.append(Candidate(name, named, path, options[path], space))
    for option in wanted:
        if option.text not in used:  # raise the reason
            _accepts(paths[0], data, options[paths[0]], option, must=True)
    return found, datasets


def _require_validation(datasets: dict[str, Manifest]) -> None:
    for name, manifest in datasets.items():
        if "valid" not in manifest.splits:
            raise UsageError(
                f"dataset `{name}` has no validation split to select trials on",
                hint="add `valid` to `split` in its recipe and prepare it again",
            )


def _metric(path: Path, set_keys: Sequence[str]) -> tuple[str, ...]:
    """AUC, unless the recipe sets `early_stopping.metric`."""
    is_set = ("early_stopping", "metric") in loading.read(path).values
    is_set |= bool({"early_stopping", "early_stopping.metric"} & set(set_keys))
    return () if is_set else ("early_stopping.metric=auc",)


def _accepts(path: Path, data: Path, overrides: tuple[str, ...], option: SpaceOption, *, must: bool) -> bool:
    """Whether a recipe accepts all values of an option; raises RecipeError if not and `must`."""
    position = f"--space {option.text}", 0, 0
    try:
        for value in option.values:
            recipes.load(path, data, (*overrides, Override(option.key, value, position)))
    except RecipeError:
        if must:
            raise
        return False
    return True


def _names(loaded: Sequence[TrainingSpec]) -> list[str]:
    """The recipe's name or its model's, prefixed by the dataset's when models repeat."""
    names = [recipe.name or recipe.model.name for recipe in loaded]
    if len(set(names)) < len(names):
        names = [recipe.run_name for recipe in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"two recipes have the name `{twice}`", hint="set `name` in one of them, or tune them separately"
        )
    return names
