"""What `tune` searches: one function per model page, and what all of them have in common.

Ranges are about the values that the literature and the shipped recipes use. They always reach as far as the
recipe's own value, so that the recipe as it stands is a point of its own space.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from wukongctl.config.dimensions import Dimension, Options, Range, Space, Stack, Steps
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model import (
    AFNSpec,
    AutoIntSpec,
    DCNv2Spec,
    DeepFMSpec,
    DLRMSpec,
    FinalMLPSpec,
    FMSpec,
    MaskNetSpec,
    MLPSpec,
    XDeepFMSpec,
)
from wukongctl.config.model_page import DeepSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.config.wukong import WukongSpec

DROPOUT = Range(0.0, 0.5, log=False, natural_low=True)
SHARE = Range(0.4, 1.0, log=False, natural_high=True)
LAYERS = Steps((1, 2, 3, 4), natural_low=True)
DEPTHS = Steps((1, 2, 3))
WIDTHS = Steps((64, 128, 256, 512))
HIDDEN = Stack(WIDTHS, DEPTHS)
SIZES = Steps((4, 8, 16, 32))
BATCHES = (0.25, 0.5, 1, 2)
"""Batch sizes, as multiples of the recipe's."""


def search_space(recipe: TrainingSpec, rows: int, fixed: Sequence[str] = ()) -> Space:
    """The space around a recipe on a train split of `rows`, without keys that `fixed` names or covers."""
    shared = _common(recipe, rows) if recipe.is_network else {}
    every = shared | {f"model.{key}": value for key, value in _model(recipe).items()}
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
        *pages, last = key.split(".")
        page = content
        for name in pages:
            page = page[name]
        page[last] = value
    if recipe.evaluate_every is not None and "batch_size" in setting:
        steps = recipe.evaluate_every * recipe.batch_size / setting["batch_size"]
        content["evaluate_every"] = max(1, round(steps))
    if setting.get("model.bagging_fraction", 1) < 1:
        content["model"]["bagging_freq"] = content["model"]["bagging_freq"] or 1
    return TrainingSpec.from_dict(content)


def _is_single(dimension: Dimension) -> bool:
    return isinstance(dimension, Steps) and len(dimension.values) < 2


def _covers(name: str, key: str) -> bool:
    """Whether setting `name` decides `key`: it is the key, a page that holds it, or part of its value."""
    return name == key or key.startswith(f"{name}.") or name.startswith(f"{key}.")


def _common(recipe: TrainingSpec, rows: int) -> Space:
    """Rates, embeddings and batch size, which every model has."""
    adagrad = recipe.optimizer.embedding.name == "rowwise_adagrad"
    batches = {round(recipe.batch_size * factor) for factor in BATCHES}
    space: Space = {
        "optimizer.dense.lr": Range(1e-4, 3e-2),
        "optimizer.embedding.lr": Range(1e-3, 0.3) if adagrad else Range(1e-4, 3e-2),
        "optimizer.embedding.l2": Range(1e-7, 1e-1, natural_low=True),
        "batch_size": Steps(tuple(sorted(size for size in batches if 16 <= size <= rows))),
        "model.width": Steps((8, 16, 32, 64)),
        "model.embedding_init": Range(1e-2, 0.5),
    }
    if isinstance(recipe.model, DeepSpec):
        space["model.dropout"] = DROPOUT
    if not isinstance(recipe.model, FMSpec):  # which has no last layer
        space["model.logit_scale"] = Range(0.01, 1.0, natural_high=True)
    return space


def _model(recipe: TrainingSpec) -> Space:  # noqa: C901, PLR0911 one case per model
    """The sizes of a model, as keys of its page."""
    model = recipe.model
    match model:
        case WukongSpec():
            return _wukong(model)
        case FMSpec():
            return {}
        case DeepFMSpec() | MLPSpec():
            return {"hidden": HIDDEN}
        case DLRMSpec():
            return {"top": HIDDEN}
        case DCNv2Spec():
            return _dcnv2(model)
        case AutoIntSpec():
            return _autoint(model)
        case AFNSpec():
            return _afn(model)
        case FinalMLPSpec():
            return _finalmlp(model)
        case MaskNetSpec():
            return _masknet(model)
        case XDeepFMSpec():
            return {"cin": Stack(Steps((16, 32, 64, 128)), DEPTHS)} | _mlp(model.hidden)
        case LightGBMSpec():
            return _lightgbm(recipe.early_stopping.patience is not None)
        case _:
            assert_never(model)


def _wukong(model: WukongSpec) -> Space:
    """Sizes that are given layer by layer stay, and the number of layers with them."""
    blocks: Space = {"n_F": SIZES, "n_L": SIZES, "k": SIZES}
    if model.projection == "none":
        del blocks["k"]
    space = {key: steps for key, steps in blocks.items() if isinstance(getattr(model, key), int)}
    by_layer = [key for key in blocks if key not in space]
    if any(isinstance(width, tuple) for width in model.hidden):
        by_layer.append("hidden")
    else:
        space["hidden"] = Stack(WIDTHS, Steps((1, 2), natural_low=True))
    if not by_layer:
        space["layers"] = LAYERS
    return space | {"head": Stack(WIDTHS, Steps((1, 2), natural_low=True))}


def _dcnv2(model: DCNv2Spec) -> Space:
    space: Space = {"cross_layers": LAYERS}
    if model.rank is not None:
        space["rank"] = Steps((16, 32, 64, 128))
    return space if model.structure == "cross" else space | {"hidden": HIDDEN}


def _autoint(model: AutoIntSpec) -> Space:
    widths = tuple(width for width in (16, 32, 64, 128) if width % model.heads == 0)
    space: Space = {"attention_layers": LAYERS}
    if widths:
        space["attention_width"] = Steps(widths)
    return space | _mlp(model.hidden)


def _afn(model: AFNSpec) -> Space:
    space: Space = {
        "neurons": Steps((100, 200, 400, 800)),
        "afn_hidden": HIDDEN,
        "afn_dropout": DROPOUT,
    }
    return space | _mlp(model.hidden)


def _finalmlp(model: FinalMLPSpec) -> Space:
    widths = Steps(tuple(model.heads * max(1, round(width / model.heads)) for width in WIDTHS.values))
    streams: Space = {}
    for name in ("mlp1", "mlp2"):
        streams |= {f"{name}.hidden": Stack(widths, DEPTHS), f"{name}.dropout": DROPOUT}
    return streams


def _masknet(model: MaskNetSpec) -> Space:
    space: Space = {"hidden": HIDDEN, "reduction": Steps((0.5, 1.0, 2.0, 3.0))}
    if model.structure == "serial":
        return space
    return space | {"blocks": LAYERS, "block_width": Steps((32, 64, 128, 256))}


def _lightgbm(stops: bool) -> Space:
    """The ranges of LightGBM's own guide to tuning; early stopping finds the number of trees by itself."""
    space: Space = {
        "learning_rate": Range(0.01, 0.3),
        "num_leaves": Steps((7, 15, 31, 63, 127, 255)),
        "min_data_in_leaf": Steps((5, 10, 20, 50, 100, 200)),
        "lambda_l2": Range(1e-3, 30.0, natural_low=True),
        "feature_fraction": SHARE,
        "bagging_fraction": SHARE,
        "categorical": Options(("native", "ordered")),
        "cat_smooth": Range(1.0, 100.0),
        "cat_l2": Range(1.0, 100.0),
    }
    return space if stops else space | {"num_iterations": Steps((50, 100, 200, 400, 800))}


def _mlp(hidden: tuple[int, ...] | None) -> Space:
    """Of an MLP that a recipe may leave out."""
    return {} if hidden is None else {"hidden": HIDDEN}
