"""Estimated cost of the runs of a sweep: FLOPs, parameters and memory by count, time by a few steps."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.memory import TrainingMemory, training_memory
from wukongctl.cost.tracing import trace
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch, Schema
from wukongctl.models import build
from wukongctl.models.counts import Counts, count
from wukongctl.sweep.fitting import examples
from wukongctl.training import optimizers
from wukongctl.training.design import Design

STARTUP_SECONDS = 4.0
"""Time to import torch and open the data."""
CELLS_PER_SECOND = 1e8
"""Rows times columns per second that LightGBM processes for one tree on one thread."""
TIMED_SECONDS, TIMED_STEPS = 0.3, 3
TIMED_BYTES = 1 << 30
"""Recipes that need more memory are not timed."""


@dataclass(frozen=True)
class RunEstimate:
    """Estimate of one run. `seconds` is None when it needs too much memory to time, `counts` for LightGBM."""

    counts: Counts | None
    memory: TrainingMemory
    examples: int
    seconds: float | None


def estimate(recipe: TrainingSpec, manifest: Manifest) -> RunEstimate:
    """Count the cost of one run and time a few steps on random ids, on the current number of threads.

    Validation is estimated at a third of the training time per example: once per `evaluate_every`, and once
    on every held-out split at the end. Early stopping is ignored.
    """
    if isinstance(recipe.model, LightGBMSpec):
        return _of_trees(recipe.model, examples(recipe, manifest), manifest)
    schema = manifest.schema()
    with torch.device("meta"):
        model = build(recipe.model, schema, sparse=False)
        traced = trace(model, schema)
    memory = training_memory(model, schema, recipe, activations=sum(traced.saved.values()))
    wanted = examples(recipe, manifest)
    seconds = None
    if memory.total <= TIMED_BYTES:
        per_example = _seconds_per_step(recipe, schema) / recipe.batch_size
        held_out = {name: split.rows for name, split in manifest.splits.items() if name != "train"}
        every = recipe.evaluate_every or -(-manifest.splits["train"].rows // recipe.batch_size)
        validations = -(-wanted // (every * recipe.batch_size))
        evaluated = validations * held_out.get("valid", 0) + sum(held_out.values())
        seconds = STARTUP_SECONDS + per_example * (wanted + evaluated / 3)
    return RunEstimate(count(model), memory, wanted, seconds)


def _of_trees(model: LightGBMSpec, rows: int, manifest: Manifest) -> RunEstimate:
    """A rule of thumb for LightGBM; memory is the feature matrix, raw and binned."""
    design = Design(manifest, {})
    columns = len(design.columns)
    seconds = (
        STARTUP_SECONDS + model.num_iterations * rows * columns / CELLS_PER_SECOND / torch.get_num_threads()
    )
    per_row = columns * (np.dtype(design.dtype).itemsize + 1)
    memory = TrainingMemory(weights=0, gradients=0, optimizer=0, activations=per_row, batch_size=rows)
    return RunEstimate(None, memory, rows, seconds)


def _seconds_per_step(recipe: TrainingSpec, schema: Schema) -> float:
    torch.manual_seed(0)
    model = build(recipe.model, schema, sparse=optimizers.wants_sparse(recipe.optimizer)).train()
    built = optimizers.build(recipe.optimizer, model).values()
    batch = _random_batch(schema, recipe.batch_size)
    steps, started = 0, time.perf_counter()
    while steps < TIMED_STEPS or time.perf_counter() - started < TIMED_SECONDS:
        if steps == 1:  # exclude the first step, which allocates
            started = time.perf_counter()
        binary_cross_entropy_with_logits(model(batch), batch.labels).backward()
        for optimizer in built:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        steps += 1
    return (time.perf_counter() - started) / (steps - 1)


def _random_batch(schema: Schema, rows: int) -> Batch:
    tables = [*range(len(schema.categorical))]
    for sequence in schema.sequences:
        tables += [sequence.table] * sequence.max_len
    columns = [torch.randint(schema.table_rows[table], (rows,), dtype=torch.int32) for table in tables]
    ids = torch.stack(columns, 1) if columns else torch.empty(rows, 0, dtype=torch.int32)
    return Batch(ids, torch.randn(rows, len(schema.dense)), torch.randint(2, (rows,)).float())
