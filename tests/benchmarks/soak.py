"""A long training run with its memory sampled: whether it stays flat.

    wukongctl prepare synthetic-2m
    python tests/benchmarks/soak.py synthetic/wukong --set data=synthetic-2m --minutes 30 --samples soak.csv

Trains epoch after epoch, with validations and checkpoints, until the minutes are over, then asks the run to
stop as a scheduler would (SIGTERM), which ends it with exit code 143. The line fitted to the resident memory
leaves out the first tenth, in which buffers and kernels are made. Whole windows of rows are read and let go,
so memory moves by tens of megabytes: what must not grow is the highest and the mean of each third.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ENDLESS = ("epochs=100000", "evaluate_every=2000", "checkpoint.every_seconds=30")
SETTLING = 0.1


def resident_megabytes(process: int) -> float:
    """What the process holds in memory, from Linux's own account."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def samples(training: "subprocess.Popen[str]", seconds: float, every: float) -> Iterator[tuple[float, float]]:
    """(seconds, megabytes) until the time is over; ends early when the run does."""
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds and training.poll() is None:
        yield now, resident_megabytes(training.pid)
        time.sleep(every)


def report(taken: list[tuple[float, float]], stopped: str, code: int) -> dict[str, object]:
    """Slope and range of the samples after settling."""
    seconds, megabytes = np.array(taken[round(SETTLING * len(taken)) :]).T
    slope, _ = np.polyfit(seconds / 3600, megabytes, 1)
    return {
        "minutes": round(taken[-1][0] / 60, 1),
        "samples": len(seconds),
        "megabytes_per_hour": round(float(slope), 2),
        "median_megabytes": round(float(np.median(megabytes)), 1),
        "range_megabytes": [round(float(megabytes.min()), 1), round(float(megabytes.max()), 1)],
        "highest_by_third": [round(float(part.max()), 1) for part in np.array_split(megabytes, 3)],
        "mean_by_third": [round(float(part.mean()), 1) for part in np.array_split(megabytes, 3)],
        "exit_code": code,
        "stopped": stopped.strip().splitlines()[-2:],
    }


def main() -> None:
    """Train, sample, stop, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--data", default="data")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--samples", type=Path, default=Path("soak.csv"))
    arguments = parser.parse_args()
    settings = [word for each in (*ENDLESS, *arguments.overrides) for word in ("--set", each)]
    with tempfile.TemporaryDirectory() as out, arguments.samples.open("w") as file:
        command = [sys.executable, "-m", "wukongctl", "train", arguments.recipe, *settings]
        training = subprocess.Popen(
            [*command, "--data", arguments.data, "--out", out], stderr=subprocess.PIPE, text=True
        )
        taken = []
        file.write("seconds,megabytes\n")
        for sample in samples(training, 60 * arguments.minutes, arguments.every):
            taken.append(sample)
            file.write(f"{sample[0]:.1f},{sample[1]:.2f}\n")
            file.flush()
        training.send_signal(signal.SIGTERM)
        _, said = training.communicate()
    print(json.dumps(report(taken, said, training.returncode)))


if __name__ == "__main__":
    main()
