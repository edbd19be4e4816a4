"""What `tune` searches: what a model's section says (`search_space`), and what all of them have in common.

Ranges are about the values that the literature and the shipped recipes use. They always reach as far as the
recipe's own value, so that the recipe as it stands is a point of its own space.
"""

from collections.abc import Sequence
from typing import Any

from wukongctl.config.dimensions import DROPOUT, Dimension, OneOf, RealRange, Space, Steps
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model_section import DeepSpec, ModelSpec
from wukongctl.config.training import TrainingSpec

SHARE = RealRange(0.4, 1.0, log=False, natural_high=True)
BATCHES = (0.25, 0.5, 1, 2)
"""Batch sizes, as multiples of the recipe's."""


def search_space(recipe: TrainingSpec, rows: int, fixed: Sequence[str] = ()) -> Space:
    """The space around a recipe on a train split of `rows`, without keys that `fixed` names or covers."""
    model = recipe.model
    if isinstance(model, LightGBMSpec):
        shared, own = {}, _lightgbm(recipe.early_stopping.patience is not None)
    else:
        shared, own = _common(recipe, model, rows), model.search_space()
    every = shared | {f"model.{key}": value for key, value in own.items()}
    kept = {key: found for key, found in every.items() if not any(_covers(name, key) for name in fixed)}
    space = {key: found.including(own_value(recipe, key)) for key, found in kept.items()}
    return {key: found for key, found in space.items() if not _is_single(found)}


def own_value(recipe: TrainingSpec, key: str) -> Any:
    """The value that a recipe has at a dotted key."""
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return list(value) if isinstance(value, tuple) else value


def changed(recipe: TrainingSpec, setting: dict[str, Any]) -> TrainingSpec:
    """A recipe with other values at dotted keys; raises pydantic's ValidationError where they do not agree.

    `evaluate_every` follows the batch size, so that every trial is looked at after as many examples, and
    LightGBM's `bagging_freq` allows a `bagging_fraction`.
    """
    content = recipe.to_dict()
    for key, value in setting.items():
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section[name]
        section[last] = value
    if recipe.evaluate_every is not None and "batch_size" in setting:
        steps = recipe.evaluate_every * recipe.batch_size / setting["batch_size"]
        content["evaluate_every"] = max(1, round(steps))
    if setting.get("model.bagging_fraction", 1) < 1:
        content["model"]["bagging_freq"] = content["model"]["bagging_freq"] or 1
    return TrainingSpec.from_dict(content)


def _is_single(dimension: Dimension) -> bool:
    return isinstance(dimension, Steps) and len(dimension.values) < 2


def _covers(name: str, key: str) -> bool:
    """Whether setting `name` decides `key`: it is the key, a section that holds it, or part of its value."""
    return name == key or key.startswith(f"{name}.") or name.startswith(f"{key}.")


def _common(recipe: TrainingSpec, model: ModelSpec, rows: int) -> Space:
    """Learning rates, embeddings and batch size, which every model has."""
    adagrad = recipe.optimizer.embedding.name == "rowwise_adagrad"
    batches = {round(recipe.batch_size * factor) for factor in BATCHES}
    space: Space = {
        "optimizer.dense.lr": RealRange(1e-4, 3e-2),
        "optimizer.embedding.lr": RealRange(1e-3, 0.3) if adagrad else RealRange(1e-4, 3e-2),
        "optimizer.embedding.l2": RealRange(1e-7, 1e-1, natural_low=True),
        "batch_size": Steps(tuple(sorted(size for size in batches if 16 <= size <= rows))),
        "model.width": Steps((8, 16, 32, 64)),
        "model.embedding_init": RealRange(1e-2, 0.5),
    }
    if isinstance(model, DeepSpec):
        space["model.dropout"] = DROPOUT
    if model.has_last_layer:
        space["model.logit_scale"] = RealRange(0.01, 1.0, natural_high=True)
    return space


def _lightgbm(stops: bool) -> Space:
    """The ranges of LightGBM's own guide to tuning; early stopping finds the number of trees by itself."""
    space: Space = {
        "learning_rate": RealRange(0.01, 0.3),
        "num_leaves": Steps((7, 15, 31, 63, 127, 255)),
        "min_data_in_leaf": Steps((5, 10, 20, 50, 100, 200)),
        "lambda_l2": RealRange(1e-3, 30.0, natural_low=True),
        "feature_fraction": SHARE,
        "bagging_fraction": SHARE,
        "categorical": OneOf(("native", "ordered")),
        "cat_smooth": RealRange(1.0, 100.0),
        "cat_l2": RealRange(1.0, 100.0),
    }
    return space if stops else space | {"num_iterations": Steps((50, 100, 200, 400, 800))}
