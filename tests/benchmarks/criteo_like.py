"""A file in the shape of Criteo Kaggle's `train.txt`: 40 tab-separated columns, no header, made-up values.

    python tests/benchmarks/criteo_like.py 2000000 criteo_like.tsv

Cardinalities and missing rates are those reported for the original; values are Zipf-distributed. Chunks
are seeded one by one, so a longer file begins with the shorter one.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

CARDINALITIES = (1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992,
                 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572)  # fmt: skip
CATEGORY_MISSING = {3: 0.03, 4: 0.03, 6: 0.12, 12: 0.03, 16: 0.03, 19: 0.44, 20: 0.44, 21: 0.03, 22: 0.76,
                    24: 0.03, 25: 0.44, 26: 0.44}  # fmt: skip
INTEGER_MISSING = (0.45, 0, 0.21, 0.22, 0.03, 0.22, 0.04, 0.0005, 0.04, 0.45, 0.04, 0.76, 0.22)
INTEGER_SCALE = (3, 100, 25, 7, 18000, 110, 16, 12, 100, 1, 3, 1, 8)
ZIPF = 1.08
CLICK_RATE = 0.256
EFFECT = 0.3
"""Every category moves the logit by up to this much, so that there is something to learn."""
CHUNK = 100_000
HEX = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2").view(np.uint16)


def zipf(rng: np.random.Generator, size: int, values: int) -> np.ndarray:
    """Ranks 0…values-1 with probability about (rank + 1)^-ZIPF, by inverting the continuous distribution."""
    power = 1 - ZIPF
    ranks = ((values + 1) ** power - 1) * rng.random(size) + 1
    return np.minimum(ranks ** (1 / power) - 1, values - 1).astype(np.uint32)


def hexadecimal(ranks: np.ndarray, column: int) -> pa.Array:
    """Eight hex digits per rank, by a bijection of 32-bit numbers that differs between columns."""
    mixed = (ranks * np.uint32(2654435761)) ^ np.uint32(column * 0x9E3779B1 & 0xFFFFFFFF)
    text = HEX[mixed.astype(">u4").view(np.uint8)].view("S8").ravel()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(text), [None, pa.py_buffer(text)])


def chunk(index: int, rows: int, seed: int) -> pa.Table:
    """Rows `index * CHUNK` and following."""
    rng = np.random.default_rng([seed, index])
    columns, logits = [], np.full(rows, np.log(CLICK_RATE / (1 - CLICK_RATE)))
    for missing, scale in zip(INTEGER_MISSING, INTEGER_SCALE, strict=True):
        values = (rng.exponential(1.0, rows) ** 2 * scale).astype(np.int32) - 1
        columns.append(pa.array(values, mask=rng.random(rows) < missing))
    for column, cardinality in enumerate(CARDINALITIES, start=1):
        ranks = zipf(rng, rows, cardinality)
        logits += EFFECT * np.sin(ranks.astype(np.float64) * column)
        text = hexadecimal(ranks, column).cast(pa.string())
        present = pa.array(rng.random(rows) >= CATEGORY_MISSING.get(column, 0.0))
        columns.append(pa.compute.if_else(present, text, pa.scalar(None, pa.string())))
    clicks = rng.random(rows) < 1 / (1 + np.exp(-logits))
    columns.insert(0, pa.array(clicks.astype(np.int8)))
    return pa.table(columns, names=[str(position) for position in range(40)])


def write(path: Path, rows: int, seed: int = 0) -> None:
    """Write `rows` rows to `path`, 100,000 at a time."""
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as sink:
        for index, start in enumerate(range(0, rows, CHUNK)):
            csv.write_csv(chunk(index, min(CHUNK, rows - start), seed), sink, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write(arguments.path, arguments.rows)
