"""Learning rates and initial weights that follow the size of a model.

A recipe tuned at one size, its base, gives those of another size by a rule: each quantity times a power of
the ratio of fan-ins, the number of products in one sum. Initial hidden weights need no rule, as their
variance is already 1 / fan-in (`models.layers.linear`). With Adam, every step moves a weight by about the
learning rate whatever its gradient, so what a layer adds to its sums grows with

    rate x fan-in   of a matrix: hidden layers, W_L, W_R and Y of Wukong, cross layers, the last layer
    rate            of a bias, a norm, an embedding, a numeric feature's vector
    rate² x width   of dot products of two embeddings (DLRM, FM, DeepFM, xDeepFM)

`mup`, the maximal update parametrization of Yang et al. (arXiv 2203.03466) for Adam, keeps each of these
constant. Row-wise AdaGrad and lazy Adam normalize their steps as Adam does, so the same holds for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model_section import ModelSpec
from wukongctl.config.sweep import ScaleRule
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.models import Model, build
from wukongctl.models.fan_in import fan_ins
from wukongctl.training.optimizers import dense_weights, require_factors_of_weights


@dataclass(frozen=True)
class Exponents:
    """Powers of the ratio of sizes."""

    matrix: float
    """Of fan-ins, for the learning rate of each matrix."""
    logit: float
    """Of fan-ins, for the initial weights of the last layer, beyond their 1 / sqrt(fan-in)."""
    products: float
    """Of embedding widths, for learning rate and initial size of embeddings whose dot products are taken."""


RULES: Mapping[ScaleRule, Exponents] = {
    "mup": Exponents(matrix=-1.0, logit=-0.5, products=-0.5),
    "sqrt": Exponents(matrix=-0.5, logit=0.0, products=-0.25),
}
"""Every rule but `same`, which changes nothing."""


def transfer(recipe: TrainingSpec, base: TrainingSpec, schema: Schema, rule: ScaleRule) -> TrainingSpec:
    """`recipe` with the rates of `base` scaled to its size.

    They may differ otherwise in sizes of the model only. The result holds every number: it needs no base.
    Raises Mismatch for factors of weights that the base does not have.
    """
    exponents = RULES.get(rule)
    if exponents is None or isinstance(recipe.model, LightGBMSpec) or isinstance(base.model, LightGBMSpec):
        return recipe
    model, base_model = _meta(recipe, schema), _meta(base, schema)
    require_factors_of_weights(base.optimizer, base_model)
    ratios = _ratios(fan_ins(model), fan_ins(base_model))
    factors = dict.fromkeys(dense_weights(model), 1.0)
    factors |= {name: factor for name, factor in base.optimizer.factors.items() if name in factors}
    factors |= {name: factors[name] * ratio**exponents.matrix for name, ratio in ratios.items()}
    content = recipe.to_dict()
    section, optimizer = content["model"], content["optimizer"]
    optimizer["factors"] = {name: rounded(factor) for name, factor in factors.items() if factor != 1}
    logits = {id(weight) for weight in model.last_weights()}
    last = [ratios[name] for name, weight in model.named_parameters() if id(weight) in logits]
    section["logit_scale"] = rounded(base.model.logit_scale * max(last, default=1.0) ** exponents.logit)
    if (ratio := recipe.model.width / base.model.width) != 1:
        scale = ratio**exponents.products if recipe.model.sums_over_width else 1.0
        section["embedding_init"] = rounded(initial_size(base.model) * scale)
        optimizer["embedding"]["lr"] = rounded(base.optimizer.embedding.lr * scale)
    return TrainingSpec.from_dict(content)


def rates(recipe: TrainingSpec) -> dict[str, Any]:
    """What a rule decides, by dotted key; factors that are 1 are left out. Empty for LightGBM."""
    if isinstance(recipe.model, LightGBMSpec):
        return {}
    return {
        "model.embedding_init": initial_size(recipe.model),
        "model.logit_scale": recipe.model.logit_scale,
        "optimizer.dense.lr": recipe.optimizer.dense.lr,
        "optimizer.embedding.lr": recipe.optimizer.embedding.lr,
        "optimizer.factors": recipe.optimizer.factors,
    }


def initial_size(model: ModelSpec) -> float:
    """Standard deviation of initial embeddings."""
    return model.embedding_init or model.width**-0.5


def rounded(value: float) -> float:
    """Six significant digits, which read well in a recipe."""
    return float(f"{value:.6g}")


def _meta(recipe: TrainingSpec, schema: Schema) -> Model:
    with torch.device("meta"):
        return build(recipe.model, schema, sparse=False)


def _ratios(fan_in: Mapping[str, int], base: Mapping[str, int]) -> dict[str, float]:
    """Fan-in of each matrix relative to that of the same matrix of the base, or of the closest layer."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in base:
        alike.setdefault(_pattern(name), []).append(name)
    found = {name: _closest(name, alike.get(_pattern(name), [])) for name in fan_in}
    return {name: 1.0 if like is None else fan_in[name] / base[like] for name, like in found.items()}


def _pattern(name: str) -> tuple[str, ...]:
    """The parts of a name without the numbers of layers."""
    return tuple("#" if part.isdigit() else part for part in name.split("."))


def _closest(name: str, candidates: Sequence[str]) -> str | None:
    """The candidate with the closest numbers of layers, the first number first; None without any."""
    own = [int(part) for part in name.split(".") if part.isdigit()]

    def distance(candidate: str) -> list[int]:
        numbers = [int(part) for part in candidate.split(".") if part.isdigit()]
        return [abs(one - other) for one, other in zip(own, numbers, strict=True)]

    return min(candidates, key=distance, default=None)
