"""The model of a recipe, and its number of examples and steps."""

from pathlib import Path

import torch

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.memory import training_memory
from wukongctl.data import vectors
from wukongctl.data.manifest import Manifest
from wukongctl.errors import UsageError
from wukongctl.machine import available_memory
from wukongctl.models import Model, build
from wukongctl.models.counts import count
from wukongctl.models.embeddings import store_tables
from wukongctl.training import optimizers


def new_model(recipe: TrainingSpec, manifest: Manifest, data: Path) -> Model:
    """The recipe's model, freshly initialized, for the prepared dataset in folder `data`."""
    model = build(
        recipe.model,
        manifest.schema(),
        sparse=optimizers.wants_sparse(recipe.optimizer),
        vectors=vectors.load(data, manifest),
    )
    store_tables(model, getattr(torch, recipe.embedding_dtype))
    return model


def require_memory(recipe: TrainingSpec, manifest: Manifest, device: torch.device, *, sharded: bool) -> None:
    """Raise UsageError if weights, gradients and optimizer state do not fit into the memory of this machine.

    Otherwise the operating system would kill the process, without a word. Only for a run that trains in it:
    whole, on the CPU.
    """
    if sharded or device.type != "cpu":
        return
    with torch.device("meta"):
        model = build(recipe.model, manifest.schema(), sparse=optimizers.wants_sparse(recipe.optimizer))
    frozen = 4 * count(model).frozen_values  # read from the disk as needed
    needed = training_memory(model, manifest.schema(), recipe, activations=0).total - frozen
    free = available_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"training needs {needed / 1e9:,.1f} GB for weights, gradients and optimizer state, and "
            f"{free / 1e9:,.1f} GB of memory are free",
            hint="reduce the widths in the recipe, or set `optimizer.embedding.name: rowwise_adagrad`, which "
            "keeps one number per embedding row",
        )


def require_two_rows(recipe: TrainingSpec, rows: int, pieces: int) -> None:
    """Raise Mismatch if a piece of a batch has a single row, of which BatchNorm has no variance."""
    if not recipe.model.needs_two_rows:
        return
    total = total_examples(recipe, rows)
    batches = {min(recipe.batch_size, total), min(rows, total) % recipe.batch_size}
    batches.add(total % rows % recipe.batch_size)
    if any(0 < batch < 2 * pieces for batch in batches):
        what = (
            f"`batch_norm` needs two rows in every piece of a batch, and {rows:,} rows in batches of "
            f"{recipe.batch_size:,} leave a single row"
        )
        hint = f"try `--set batch_size={recipe.batch_size + 1}`"
        raise Mismatch([Mistake(what, ("batch_size",), hint, others=(("model",),))])


def total_examples(recipe: TrainingSpec, rows: int) -> int:
    """Training examples of the whole run on a train split of `rows`."""
    return min(recipe.epochs * rows, recipe.max_examples or recipe.epochs * rows)


def total_steps(recipe: TrainingSpec, rows: int) -> int:
    """Steps of the whole run, or trees; the last batch of each epoch and of the run may be short."""
    if isinstance(recipe.model, LightGBMSpec):
        return recipe.model.num_iterations
    epochs, rest = divmod(total_examples(recipe, rows), rows)
    return epochs * -(-rows // recipe.batch_size) + -(-rest // recipe.batch_size)
