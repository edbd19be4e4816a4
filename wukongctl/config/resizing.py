"""A model section with all its widths multiplied, for checks across widths."""

from typing import Any

from pydantic import ValidationError

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError

WIDTH_KEYS = frozenset(
    ("width", "hidden", "head", "bottom", "top", "rank", "neurons", "afn_hidden", "attention_width")
) | {"value_hidden", "layer_hidden", "block_width"}
"""Keys that hold widths. Numbers of layers, heads and embeddings (`n_F`, `n_L`, `k`) stay as they are."""


def resized(recipe: TrainingSpec, width: int) -> TrainingSpec:
    """The recipe with embeddings of `width`, and hidden widths larger by the same factor.

    Raises UsageError for LightGBM and when a width does not fit the model's other keys.
    """
    content = recipe.to_dict()
    content["model"] = _times(content["model"], width / width_of(recipe))
    try:
        return TrainingSpec.from_dict(content)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ").splitlines()[0]
        hint = "choose other `--widths`"
        raise UsageError(f"the model cannot have width {width}: {why}", hint=hint) from None


def width_of(recipe: TrainingSpec) -> int:
    """The width of embeddings; raises UsageError for LightGBM, which has none."""
    if isinstance(recipe.model, LightGBMSpec):
        raise UsageError(f"model `{recipe.model.name}` has no widths", hint="name the recipe of a network")
    return recipe.model.width


def _times(section: dict[str, Any], factor: float) -> dict[str, Any]:
    return {key: _scaled(key, value, factor) for key, value in section.items()}


def _scaled(key: str, value: Any, factor: float) -> Any:
    """A value of a section: widths are multiplied, sections and lists searched for more."""
    if isinstance(value, dict):
        return _times(value, factor)
    if isinstance(value, list):
        return [_scaled(key, each, factor) for each in value]
    if key in WIDTH_KEYS and isinstance(value, int):
        return max(1, round(value * factor))
    return value
