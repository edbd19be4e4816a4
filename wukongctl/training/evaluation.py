"""Scores of one split, in file order."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wukongctl.data.batches import BatchReader
from wukongctl.models import Model
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.hardware import Execution
from wukongctl.training.metrics import Metrics, measure

EVALUATION_BATCH = 8192


@dataclass(frozen=True)
class Scores:
    """logits, labels, probability: (rows,) float32 in file order; ids of the groups, where asked for."""

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    probability: NDArray[np.float32] | None
    groups: NDArray[np.int32] | None = None

    def measure(self) -> Metrics:
        """All metrics of these scores."""
        return measure(self.logits, self.labels, self.probability)


def score(
    model: Model,
    reader: BatchReader,
    execution: Execution,
    world: World = ALONE,
    *,
    group: int | None = None,
) -> Scores:
    """Run the model over a split in evaluation mode, and put it back in the mode it was in.

    Each process of a world scores its share of every batch; all of them get all scores. The precision is
    the run's, the logits are float32 in any. `group` is the id column to keep as groups.
    """
    was_training = model.training
    model.to(execution.device).eval()
    logits, labels, probability, groups = [], [], [], []
    # FBGEMM's kernels for sharded tables know no inference mode.
    with torch.inference_mode() if world.size == 1 else torch.no_grad():
        for batch in reader.epoch(0):
            mine, _ = world.share(batch)
            with execution.autocast:
                scored = model(mine.to(execution.device)).float().cpu()
            logits.append(world.whole(scored, len(batch.labels)))
            labels.append(batch.labels)
            if group is not None:
                groups.append(batch.ids[:, group])
            if batch.probability is not None:
                probability.append(batch.probability)
    model.train(was_training)
    return Scores(
        torch.cat(logits).numpy(),
        torch.cat(labels).numpy(),
        torch.cat(probability).numpy() if probability else None,
        torch.cat(groups).numpy() if groups else None,
    )
