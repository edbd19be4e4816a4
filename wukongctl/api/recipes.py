"""What the API accepts as a recipe: a name, a file, a mapping, a model, or a complete recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from wukongctl.api.datasets import Dataset
from wukongctl.config.loading import Override
from wukongctl.config.model import model_names
from wukongctl.config.positions import Document
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps, recipe_sources
from wukongctl.data.recipe_sources import RecipeSource

Recipe: TypeAlias = str | Path | Mapping[str, Any] | TrainingSpec
"""The path of a recipe or the name of a shipped one; the name of a model, sized to the dataset by the default
rules; a recipe as a mapping, such as `{"data": "clicks", "model": {"name": "wukong"}}`; or `Run.recipe`."""
WRITTEN_IN_PYTHON = "recipe"
"""Stands for the file in the problems of a recipe that has none."""


def source_of(recipe: Recipe, dataset: Dataset | None, overrides: Mapping[str, Any]) -> RecipeSource:
    """The recipe with its overrides, for `dataset`; without one, for the dataset that it names, in the
    default folder."""
    data = next_steps.default_folder() if dataset is None else dataset.path.parent
    given = [] if dataset is None else [Override("data", dataset.path.name, ("dataset", 0, 0))]
    given += [Override(key, value, (f"{key}={value!r}", 0, 0)) for key, value in overrides.items()]
    if isinstance(recipe, TrainingSpec):
        return RecipeSource(without_file({"defaults": "fixed"} | recipe.to_dict()), tuple(given), data)
    if isinstance(recipe, Mapping):
        return RecipeSource(without_file(recipe), tuple(given), data)
    if isinstance(recipe, str) and recipe in model_names():
        return RecipeSource(without_file({"model": {"name": recipe}}), tuple(given), data)
    found = recipe_sources.of_recipe(str(recipe), data, ())
    return RecipeSource(found.document, tuple(given), data)


def without_file(content: Mapping[str, Any]) -> Document:
    """A recipe that was written in Python: its problems have no line."""
    return Document(WRITTEN_IN_PYTHON, dict(content), values={(): (0, 0)})
