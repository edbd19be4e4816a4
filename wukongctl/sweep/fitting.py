"""The recipes of a sweep and their data: whether they fit, and how many examples they train on."""

from dataclasses import replace

import torch

from wukongctl.config.entries import Entry
from wukongctl.config.loading import locate_problems
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest
from wukongctl.errors import Problem, RecipeError, UsageError
from wukongctl.models import build
from wukongctl.models.counts import count
from wukongctl.training import trees
from wukongctl.training.groups import require_group
from wukongctl.training.optimizers import require_factors_of_weights
from wukongctl.training.plan import require_two_rows


def limited(entry: Entry, manifests: dict[str, Manifest]) -> Entry:
    """The entry with its fraction of the data as `max_examples` of every recipe."""
    if entry.fraction == 1:
        return entry

    def shortened(recipe: TrainingSpec) -> TrainingSpec:
        return recipe.model_copy(
            update={"max_examples": max(1, round(entry.fraction * examples(recipe, manifests[recipe.data])))}
        )

    return replace(
        entry, trials=tuple(replace(trial, recipe=shortened(trial.recipe)) for trial in entry.trials)
    )


def examples(recipe: TrainingSpec, manifest: Manifest) -> int:
    """Number of training examples of a recipe, over all epochs."""
    every = recipe.epochs * manifest.splits["train"].rows
    return min(every, recipe.max_examples or every)


def require_validation(entry: Entry, manifests: dict[str, Manifest]) -> None:
    """Raise UsageError for a search without a validation split."""
    data = entry.trials[0].recipe.data
    if entry.search is not None and "valid" not in manifests[data].splits:
        raise UsageError(
            f"`{entry.name}` has a search, but `{data}` has no validation split to select trials on",
            hint="remove `search`, or prepare the dataset with a `valid` split",
        )


def require_fitting(entries: tuple[Entry, ...], manifests: dict[str, Manifest]) -> None:
    """Raise RecipeError, with all positions, when a recipe does not fit its data.

    UsageError when LightGBM is needed and not installed.
    """
    problems: list[Problem] = []
    built: set[tuple[str, ...]] = set()
    for trial in (trial for entry in entries for trial in entry.trials):
        recipe, manifest = trial.recipe, manifests[trial.recipe.data]
        if not recipe.is_network:
            trees.require()
            continue
        model = recipe.data, recipe.model.digest(), *recipe.optimizer.factors
        try:
            with locate_problems(trial.base, trial.overrides), torch.device("meta"):
                if model not in built:
                    made = build(recipe.model, manifest.schema(), sparse=False)
                    require_factors_of_weights(recipe.optimizer, made)
                require_two_rows(recipe, manifest.splits["train"].rows, recipe.accumulate)
                require_group(recipe, manifest)
        except RecipeError as error:
            problems += error.problems
        built.add(model)
    if problems:
        raise RecipeError(list(dict.fromkeys(problems)))


def require_smallest_first(entries: tuple[Entry, ...], manifests: dict[str, Manifest]) -> None:
    """Raise UsageError when the size whose rates are transferred is not the smallest of its ladder."""

    def macs(entry: Entry) -> int:
        recipe = entry.trials[0].recipe
        if not recipe.is_network:
            return 0
        with torch.device("meta"):
            return count(build(recipe.model, manifests[recipe.data].schema(), sparse=False)).macs

    named = {entry.name: entry for entry in entries}
    for entry in entries:
        if entry.base is not None and macs(entry) < macs(named[entry.base]):
            raise UsageError(
                f"`{entry.name}` is smaller than `{entry.base}`, from which `scale_rates` transfers",
                hint="list the sizes of each ladder from small to large",
            )
