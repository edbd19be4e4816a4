"""Batches of one split, for a training loop of your own."""

from collections.abc import Iterator
from itertools import islice

from torch.utils.data import IterableDataset, get_worker_info

from wukongctl.data.batches import BatchReader
from wukongctl.data.schema import Batch


class Batches(IterableDataset[Batch]):
    """Batches of a split; iterate over it once per pass, or hand it to `DataLoader(batches,
    batch_size=None)`.

    A batch has `ids` (B, C) int32, `dense` (B, M) float32 and `labels` (B,) float32; the networks of `build`
    take it as it is. `len` is the number of batches of a pass, the last of which may be short. Passes are
    numbered from `epoch`, which counts up: set it to repeat or to skip some. The workers of a DataLoader
    share the batches of a pass.
    """

    def __init__(self, reader: BatchReader) -> None:
        self.reader, self.epoch = reader, 0

    def __len__(self) -> int:
        return self.reader.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        worker = get_worker_info()
        batches = self.reader.epoch(epoch)
        return batches if worker is None else islice(batches, worker.id, None, worker.num_workers)
