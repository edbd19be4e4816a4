"""How fast batches are read, by decoding threads, and how long a training loop waits for them.

    python tests/benchmarks/criteo_like.py 1200000 criteo_like.tsv
    wukongctl prepare tests/benchmarks/criteo-like.yaml --source .
    python -m tests.benchmarks.loading data/criteo-like --threads 1 2 --rates 50000 800000

First the train split as fast as it can be read: rows per second of wall-clock time and of processor time.
Then with steps that take as long as those of a model at RATE rows per second, asleep, as if it computed on
other cores: how long the loop waits for rows to be read.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wukongctl.data import manifest
from wukongctl.data.batches import BatchReader

BATCH = 4096
EPOCHS = 3


def reader(folder: Path, threads: int) -> BatchReader:
    """Shuffled batches of the train split."""
    return BatchReader(
        folder, manifest.read(folder), "train", batch_size=BATCH, shuffle=True, seed=0, threads=threads
    )


def speed(folder: Path, threads: int, epoch: int) -> tuple[float, float]:
    """Rows per second, and per second of processor time."""
    source, rows = reader(folder, threads), 0
    cpu, wall = time.process_time(), time.perf_counter()
    for batch in source.epoch(epoch):
        rows += len(batch.labels)
    return rows / (time.perf_counter() - wall), rows / (time.process_time() - cpu)


def waits(folder: Path, threads: int, rate: float) -> tuple[float, list[float]]:
    """Seconds that the loop waits for the first window, and for each later one."""
    source, found = reader(folder, threads), []
    windows = source._windows_from

    def timed(*where: Any, **options: Any) -> Iterator[Any]:
        coming, begun = windows(*where, **options), time.perf_counter()
        for window in coming:
            found.append(time.perf_counter() - begun)
            yield window
            begun = time.perf_counter()

    source._windows_from = timed  # type: ignore[method-assign]
    for epoch in range(EPOCHS):
        for rows in source.packed(epoch, then_next=epoch + 1 < EPOCHS):
            source.columns.batch(rows)
            time.sleep(len(rows) / rate)
    return found[0], found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[50_000.0, 800_000.0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rounds = [[speed(given.dataset, n, epoch) for n in given.threads] for epoch in range(given.rounds)]
    for n, each in zip(given.threads, zip(*rounds, strict=True), strict=True):
        wall, cpu = np.median(each, axis=0) / 1e6
        print(f"{n} threads: {wall:.2f} million rows/s, {cpu:.2f} million per CPU-second")
    for rate in given.rates:
        for n in given.threads:
            first, later = waits(given.dataset, n, rate)
            print(
                f"{rate:,.0f} rows/s, {n} threads: first window {first * 1e3:.0f} ms, {len(later)} later ones"
                f" {sum(later) * 1e3:.1f} ms, longest {max(later) * 1e3:.1f} ms"
            )


if __name__ == "__main__":
    main()
