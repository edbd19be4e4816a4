"""Cost of look-up, backward and row-wise update by rows of the table.

    python tests/benchmarks/table_rows.py

One thread, processor seconds, the two sizes in turn; the same Zipf-distributed ids for both, 4096 x 26
look-ups of width 16. `by count` lays every feature's rows out by falling count, as prepared datasets do;
`spread` puts every row on a page of its own in the large table, the worst case for the processor's address
cache. Untouched rows take no memory: the tables are mapped lazily.
"""

import statistics
import time

import numpy as np
import torch
from criteo_like import zipf

from wukongctl.training.optimizers import RowwiseAdagrad

SIZES = (100_000, 100_000_000)
BATCH, COLUMNS, WIDTH, STEPS = 4096, 26, 16, 30


def step(embedding: torch.nn.Embedding, optimizer: RowwiseAdagrad, ids: torch.Tensor) -> float:
    """Processor seconds of one step."""
    started = time.process_time()
    optimizer.zero_grad(set_to_none=True)
    embedding(ids).square().sum().backward()
    optimizer.step()
    return time.process_time() - started


def measure(layout: str) -> None:
    """Print milliseconds per step for both sizes, and their ratio (lowest and highest of 30 but two)."""
    values = SIZES[0] // COLUMNS
    ranks = zipf(np.random.default_rng(0), BATCH * COLUMNS, values).astype(np.int64).reshape(BATCH, COLUMNS)
    made = []
    for rows in SIZES:
        embedding = torch.nn.Embedding(rows, WIDTH, sparse=True, _weight=torch.zeros(rows, WIDTH))
        within = ranks * (rows // COLUMNS // values) if layout == "spread" else ranks
        ids = torch.from_numpy(within + np.arange(COLUMNS) * (rows // COLUMNS))
        made.append((embedding, RowwiseAdagrad([embedding.weight], lr=0.01, eps=1e-8), ids))
    times = [[step(*each) for each in made] for _ in range(STEPS)][5:]
    for rows, spent in zip(SIZES, zip(*times, strict=True), strict=True):
        print(f"{layout}, {rows:>11,} rows: {1e3 * statistics.median(spent):.2f} ms per step")
    ratios = sorted(large / small for small, large in times)
    print(f"{layout}, ratio {statistics.median(ratios):.3f} ({ratios[2]:.3f} to {ratios[-3]:.3f})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure("by count")
    measure("spread")
