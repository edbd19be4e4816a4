"""The network of a recipe, and what it costs."""

from pathlib import Path
from typing import Any

from wukongctl.api.datasets import Dataset
from wukongctl.api.explained import explained
from wukongctl.api.recipes import WRITTEN_IN_PYTHON, Recipe, source_of
from wukongctl.config.loading import locate_problems
from wukongctl.config.model_section import ModelSpec
from wukongctl.cost.flops import FlopReport, analyze
from wukongctl.data import vectors
from wukongctl.data.columns import known_columns
from wukongctl.models import Model
from wukongctl.models import build as build_network


@explained
def build(
    recipe: Recipe | ModelSpec,
    dataset: Dataset,
    *,
    sparse: bool = False,
    seed: int | None = None,
    **overrides: Any,
) -> Model:
    """The network of a recipe for the columns of `dataset`: an `nn.Module` from a batch to (B,) logits.

    `recipe` may also be the section `model` of a recipe that is complete. `overrides` are keys of the recipe,
    dotted as in `--set`: `**{"model.layers": 2}`. Weights are drawn from torch's generator, from `seed` if
    given. `sparse` requests sparse gradients of the embedding table. Raises UsageError, or RecipeError with
    every problem.
    """
    import torch

    if seed is not None:
        torch.manual_seed(seed)
    frozen = vectors.load(dataset.path, dataset.manifest)
    if isinstance(recipe, ModelSpec):
        return build_network(recipe, dataset.schema, sparse=sparse, vectors=frozen)
    source = source_of(recipe, dataset, overrides)
    with locate_problems(source.document, source.overrides):
        return build_network(source.recipe().model, dataset.schema, sparse=sparse, vectors=frozen)


@explained
def flops(recipe: Recipe, dataset: Dataset | None = None, **overrides: Any) -> FlopReport:
    """FLOPs, parameters and memory of a recipe, counted by formula and checked by a trace; nothing is
    allocated.

    `counts.gflop` is training GFLOP per example, `modules` the same by part. Without `dataset`, tables have
    the sizes of the dataset that the recipe names if it is prepared, else those that its recipe gives. Raises
    UsageError for LightGBM, CheckFailed if formula and trace disagree.
    """
    source = source_of(recipe, dataset, overrides)
    spec = source.recipe()
    columns = known_columns(spec.data, source.data)
    name = str(recipe) if isinstance(recipe, str | Path) else WRITTEN_IN_PYTHON
    with locate_problems(source.document, source.overrides):
        return analyze(name, spec, columns.schema, embedding_rows_known=columns.rows_known)
