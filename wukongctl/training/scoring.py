"""Score a split with a model: scores in file order, or sums over them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.errors import UsageError
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.finished_run import FinishedRun
from wukongctl.training.hardware import CPU, Execution
from wukongctl.training.metrics import summed
from wukongctl.training.scores import Scores
from wukongctl.training.streaming import StreamingScores

EVALUATION_BATCH, EVALUATION_BATCH_ON_GPU = 8192, 65536
EXACT_ROWS = 20_000_000
"""Above, metrics are summed up batch by batch: all scores would take some 30 bytes a row to measure."""


def evaluation_batch(device: torch.device) -> int:
    """Examples scored at a time."""
    return EVALUATION_BATCH if device == CPU else EVALUATION_BATCH_ON_GPU


def reader(trained: FinishedRun, split: str) -> BatchReader:
    """Batches of a split in file order, to score with a finished run; raises UsageError without the split."""
    require_split(trained.manifest, split)
    return BatchReader(
        trained.dataset,
        trained.manifest,
        split,
        batch_size=evaluation_batch(trained.execution.device),
        shuffle=False,
        seed=0,
    )


def require_split(manifest: Manifest, split: str) -> None:
    """UsageError for a split that the dataset does not have."""
    if split not in manifest.splits:
        raise UsageError(f"`{manifest.dataset}` has no `{split}` split, only {', '.join(manifest.splits)}")


def summarize(
    model: nn.Module,
    reader: BatchReader,
    execution: Execution,
    world: World = ALONE,
    *,
    groups: NDArray[np.int32] | None = None,
) -> Scores | StreamingScores:
    """The scores of a split, or sums over them if there are many, to compute metrics from.

    With `groups`, (rows,) ids in file order, always its scores.
    """
    if groups is not None or reader.rows <= EXACT_ROWS:
        return score(model, reader, execution, world, groups=groups)
    sums: StreamingScores | None = None
    with _evaluating(model, execution):
        for logits, batch in _scored(model, reader, execution, world):
            known = None if batch.probability is None else batch.probability.numpy()
            if sums is None:
                has_probability = known is not None
                sums = StreamingScores(
                    summed(has_probability=has_probability), has_probability=has_probability
                )
            sums.add(logits.cpu().numpy(), batch.labels.numpy(), known)
    assert sums is not None, "splits are not empty"
    return sums


def score(
    model: nn.Module,
    reader: BatchReader,
    execution: Execution,
    world: World = ALONE,
    *,
    groups: NDArray[np.int32] | None = None,
) -> Scores:
    """Score a split in evaluation mode, and restore the model's mode."""
    logits, labels, probability = [], [], []
    with _evaluating(model, execution):
        for scored, batch in _scored(model, reader, execution, world):
            logits.append(scored)
            labels.append(batch.labels)
            if batch.probability is not None:
                probability.append(batch.probability)
    return Scores(
        torch.cat(logits).cpu().numpy(),  # the only wait for a GPU
        torch.cat(labels).numpy(),
        torch.cat(probability).numpy() if probability else None,
        groups,
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
    """The logits of each batch, (B,) float32 on the device of the run, and the batch on the host.

    Each process of a world scores its share of every batch; all of them get all logits.
    """
    for rows in reader.packed(0):
        mine, _ = world.shard(rows)
        batch = reader.columns.batch(mine.to(execution.device))
        # FBGEMM's kernels for sharded tables know no inference mode.
        with torch.inference_mode() if world.size == 1 else torch.no_grad(), execution.autocast:
            scored = model(batch)
        stays = world.size == 1 and execution.device == CPU
        yield world.all_gather(scored.float(), len(rows)), batch if stays else reader.columns.batch(rows)
