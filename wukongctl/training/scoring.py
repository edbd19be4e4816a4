"""Scores of one split, in file order, and their metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wukongctl.data.batches import BatchReader
from wukongctl.data.schema import Batch
from wukongctl.training import metrics
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.hardware import Execution
from wukongctl.training.metrics import Metrics
from wukongctl.training.streaming import StreamingScores

EVALUATION_BATCH = 8192
EXACT_ROWS = 20_000_000
"""Above, metrics are summed up batch by batch: all scores would take some 30 bytes a row to measure."""


@dataclass(frozen=True)
class Scores:
    """logits, labels, probability: (rows,) float32 in file order; ids of the groups, where asked for."""

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    probability: NDArray[np.float32] | None
    groups: NDArray[np.int32] | None = None

    def measure(self) -> Metrics:
        """All metrics of these scores."""
        return metrics.measure(self.logits, self.labels, self.probability)

    def auc_interval(self) -> tuple[float, float]:
        """95 % interval; raises ValueError when a class is absent."""
        return metrics.auc_interval(self.logits, self.labels)

    def logloss_interval(self) -> tuple[float, float]:
        """95 % interval."""
        return metrics.logloss_interval(self.logits, self.labels)


def summarize(
    model: nn.Module, reader: BatchReader, execution: Execution, world: World = ALONE
) -> Scores | StreamingScores:
    """What the metrics of a split are computed from: its scores, or sums over them when there are many."""
    if reader.rows <= EXACT_ROWS:
        return score(model, reader, execution, world)
    sums = StreamingScores()
    with _evaluating(model, execution):
        for logits, batch in _scored(model, reader, execution, world):
            known = None if batch.probability is None else batch.probability.numpy()
            sums.add(logits.numpy(), batch.labels.numpy(), known)
    return sums


def score(
    model: nn.Module,
    reader: BatchReader,
    execution: Execution,
    world: World = ALONE,
    *,
    group: int | None = None,
) -> Scores:
    """Run the model over a split in evaluation mode, and put it back in the mode it was in.

    `group` is the id column to keep as groups.
    """
    logits, labels, probability, groups = [], [], [], []
    with _evaluating(model, execution):
        for scored, batch in _scored(model, reader, execution, world):
            logits.append(scored)
            labels.append(batch.labels)
            if group is not None:
                groups.append(batch.ids[:, group])
            if batch.probability is not None:
                probability.append(batch.probability)
    return Scores(
        torch.cat(logits).numpy(),
        torch.cat(labels).numpy(),
        torch.cat(probability).numpy() if probability else None,
        torch.cat(groups).numpy() if groups else None,
    )


@contextmanager
def _evaluating(model: nn.Module, execution: Execution) -> Iterator[None]:
    was_training = model.training
    model.to(execution.device).eval()
    yield
    model.train(was_training)


def _scored(
    model: nn.Module, reader: BatchReader, execution: Execution, world: World
) -> Iterator[tuple[Tensor, Batch]]:
    """The logits of each batch, (B,) float32 whatever the precision of the run, and the batch.

    Each process of a world scores its share of every batch; all of them get all logits.
    """
    for batch in reader.epoch(0):
        mine, _ = world.shard(batch)
        # FBGEMM's kernels for sharded tables know no inference mode.
        with torch.inference_mode() if world.size == 1 else torch.no_grad():
            with execution.autocast:
                scored = model(mine.to(execution.device))
            scored = scored.float().cpu()
        yield world.all_gather(scored, len(batch.labels)), batch
