"""What preparing Criteo 1TB would take on one machine, from rates measured on two million rows.

    python tests/benchmarks/criteo_1tb.py 16 64

The arguments are numbers of cores. Renew `MEASURED` from docs/results/2026-12-preparation.md.
"""

import sys
from typing import NamedTuple

ROWS = 4_373_472_329
SCALE = ROWS / 2e6


class Stage(NamedTuple):
    """CPU-seconds per two million rows, and how many cores can share them; 0 is all."""

    seconds: float
    cores: int


MEASURED = {
    "checksums of raw files": Stage(0.3, 0),
    "reading": Stage(4.2, 0),
    "counting": Stage(0.3, 0),
    "vocabularies": Stage(0.2, 1),
    "encoding, without writing": Stage(0.1, 0),
    "writing Parquet": Stage(1.0, 1),
    "digests": Stage(0.4, 1),
    "AUC of each feature": Stage(0.5, 0),
}
"""Own file; the 1.5 of encoding are divided by what Parquet and digests take."""
AT_ONCE = ("encoding, without writing", "writing Parquet", "digests")
"""Stages that overlap: the slowest decides."""
BYTES_PER_ROW = {"raw text": 248.0, "temporary": 316 / 2, "prepared": 36.5}


def hours(stage: Stage, cores: int) -> float:
    """Wall-clock hours on `cores` cores, if all that can be shared is shared perfectly."""
    return stage.seconds * SCALE / min(cores, stage.cores or cores) / 3600


def total(cores: int) -> float:
    """Hours of all stages one after the other, but for those that overlap."""
    each = {name: hours(stage, cores) for name, stage in MEASURED.items()}
    overlapping = max(each[name] for name in AT_ONCE)
    return overlapping + sum(value for name, value in each.items() if name not in AT_ONCE)


def in_tasks(cores: int) -> float:
    """Hours if parts are read and encoded beside each other, as with Ray."""
    serial = hours(MEASURED["vocabularies"], 1)
    return serial + (sum(hours(stage, 1) for stage in MEASURED.values()) - serial) / cores


def main() -> None:
    cores = [int(argument) for argument in sys.argv[1:]] or [16, 64]
    for name, each in BYTES_PER_ROW.items():
        print(f"{name}: {each * ROWS / 1e9:,.0f} GB")
    print("stage, CPU-hours, hours on", *cores, "cores")
    for name, stage in MEASURED.items():
        print(f"{name}: {hours(stage, 1):.2f}", *(f"{hours(stage, n):.2f}" for n in cores))
    print(
        f"total: {sum(hours(stage, 1) for stage in MEASURED.values()):.2f}",
        *(f"{total(n):.2f}" for n in cores),
    )
    print(f"with parts beside each other: {in_tasks(1):.2f}", *(f"{in_tasks(n):.2f}" for n in cores))
    for n in cores:
        seconds = hours(MEASURED["reading"], n) * 3600
        print(f"{n} cores read {BYTES_PER_ROW['raw text'] * ROWS / seconds / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
