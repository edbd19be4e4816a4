"""A training recipe and the facts of its dataset → the recipe with every key.

Two lines of YAML, the recipe that `recipes init` prints and `train --data NAME --model NAME` are the same
run: all three come through here.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from wukongctl.config.defaults import DatasetFacts, fill, is_open
from wukongctl.config.loading import Override, validate
from wukongctl.config.positions import Document
from wukongctl.config.training import TrainingSpec

LookUp: TypeAlias = Callable[[str], DatasetFacts | None]
"""The name of a dataset → what is known of it; None where it is not prepared."""


def complete(document: Document, look_up: LookUp, overrides: Sequence[str | Override] = ()) -> TrainingSpec:
    """The recipe of `document`, overridden, its open keys filled by the rules for its dataset.

    Where the dataset is not prepared they take the constants of the format. The document stays as it is.
    Raises RecipeError with all problems.
    """

    def fill_open(recipe: dict[str, Any]) -> None:
        name = recipe.get("data")
        facts = look_up(name) if is_open(recipe) and isinstance(name, str) else None
        if facts is not None:
            fill(recipe, facts)

    return validate(copy.deepcopy(document), TrainingSpec, overrides, fill_open)
