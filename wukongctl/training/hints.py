"""Hints of warnings: options that work when typed."""

import math
from collections.abc import Mapping

from wukongctl.config.dataset import SplitName
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps
from wukongctl.training.run_facts import RunFacts

FEW_UPDATES = 100
"""Adam moves a weight by about the learning rate per update: with fewer, weights hardly change."""
SMALLEST_BATCH = 16
"""Below this, gradients are mostly noise: hints suggest more epochs instead."""


def more_updates(facts: RunFacts) -> str:
    """Smaller batches; if these would be too small, more epochs."""
    recipe, rows = facts.recipe, facts.splits["train"].rows
    wanted = max(min(facts.examples, rows) // FEW_UPDATES, SMALLEST_BATCH)
    batch = min(recipe.batch_size, 1 << (wanted.bit_length() - 1))
    settings: dict[str, int] = {"batch_size": batch} if batch < recipe.batch_size else {}
    if min(recipe.epochs * rows, recipe.max_examples or math.inf) < FEW_UPDATES * batch:
        settings["epochs"] = max(recipe.epochs, -(-FEW_UPDATES // -(-rows // batch)))
        if recipe.max_examples is not None:
            settings["max_examples"] = FEW_UPDATES * batch
    if lasting := _patience(recipe, rows, settings):
        settings["early_stopping.patience"] = lasting
    if not settings:
        return "updates were skipped: see `divergence` in the recipe"
    return f"make at least {FEW_UPDATES}: {options(settings)}"


def _patience(recipe: TrainingSpec, rows: int, settings: Mapping[str, int]) -> int | None:
    """The patience that allows enough updates even if only the first evaluation improves; None if the
    recipe's does."""
    patience = recipe.early_stopping.patience
    if patience is None:
        return None
    every = recipe.evaluate_every or -(-rows // settings.get("batch_size", recipe.batch_size))
    lasting = -(-FEW_UPDATES // every)
    return lasting if patience < lasting - 1 else None


def slower(recipe: TrainingSpec) -> str:
    """A third of both learning rates."""
    rates = {"dense": recipe.optimizer.dense.lr, "embedding": recipe.optimizer.embedding.lr}
    return options({f"optimizer.{name}.lr": f"{rate / 3:.1g}" for name, rate in rates.items()})


def regularize(facts: RunFacts) -> str:
    """Dropout if the model has it, else an L2 penalty on embeddings; for trees, fewer or smaller ones."""
    if isinstance(facts.recipe.model, LightGBMSpec):
        return _smaller_trees(facts.recipe, facts.recipe.model)
    dropout = getattr(facts.recipe.model, "dropout", None)
    l2 = 10 * facts.recipe.optimizer.embedding.l2 or 1e-3
    settings: dict[str, object] = {"optimizer.embedding.l2": f"{l2:.6g}"}
    if dropout is not None and dropout < 0.2:
        settings = {"model.dropout": 0.2}
    fewer = ", or train fewer epochs" if facts.passes > 1 and not facts.improves else ""
    return f"regularize it, {options(settings)}{fewer}"


def _smaller_trees(recipe: TrainingSpec, trees: LightGBMSpec) -> str:
    """Half the leaves with twice the rows; without early stopping, that first."""
    smaller = options(
        {
            "model.num_leaves": max(2, trees.num_leaves // 2),
            "model.min_data_in_leaf": max(1, 2 * trees.min_data_in_leaf),
        }
    )
    if recipe.early_stopping.patience:
        return f"grow smaller trees, {smaller}"
    return f"stop early, {options({'early_stopping.patience': 20})}, or grow smaller trees, {smaller}"


def show(facts: RunFacts) -> str:
    """The command that shows the dataset."""
    return f"`{next_steps.to_show(facts.recipe.data, facts.data or next_steps.default_folder())}`"


def options(settings: Mapping[str, object]) -> str:
    """Command-line options that set keys."""
    return f"`{' '.join(f'--set {key}={value}' for key, value in settings.items())}`"


def on_each(what: str, values: Mapping[SplitName, float], digits: str) -> str:
    """`AUC is 0.9 on valid and 0.8 on test`."""
    return f"{what} {listed([f'{value:{digits}} on {name}' for name, value in values.items()])}"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
