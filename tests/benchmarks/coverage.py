"""How often the intervals of the default form hold the truth.

Six sizes over two decades, y = 0.4 + 0.05 x^-0.3.

    python -m tests.benchmarks.coverage 1000 3 [huber-log]

The arguments are trials and seeds per size, and the loss of the fit; a single run has a standard deviation of
0.001.
"""

import sys

import numpy as np

from wukongctl.config.report import DEFAULT_DELTA
from wukongctl.laws.bands import band
from wukongctl.laws.fit import sizes_of
from wukongctl.laws.power import POWER
from wukongctl.laws.robust import fit_by

TRUTH = {"E": 0.4, "A": 0.05, "c": 0.3}
SD, BEYOND = 1e-3, 1000.0


def hits(trial: int, seeds: int, delta: float | None = None) -> dict[str, bool]:
    """Which intervals of one simulated curve hold what they should."""
    rng = np.random.default_rng([seeds, trial])
    x = np.repeat(np.geomspace(1, 100, 6), seeds)
    y = TRUTH["E"] + TRUTH["A"] * x ** -TRUTH["c"] + rng.normal(0, SD, len(x))
    law = fit_by(sizes_of(list(x), list(y)), POWER, floor=None, delta=delta)
    laws = None if law is None else band(law)
    if law is None or laws is None:
        raise ValueError("six sizes carry a law")
    found = {name: low <= TRUTH[name] <= high for name, (low, high) in laws.parameters().items()}
    for at, name in ((BEYOND, "curve at 10x"), (10.0, "curve inside")):
        low, high = laws.curve(at)
        found[name] = low <= TRUTH["E"] + TRUTH["A"] * at ** -TRUTH["c"] <= high
    truth = TRUTH["E"] + TRUTH["A"] * BEYOND ** -TRUTH["c"]
    low, high = laws.prediction(BEYOND, 1)
    found["new run at 10x"] = low <= truth + rng.normal(0, SD) <= high
    return found


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:] if argument != "huber-log"]
    trials, seeds = (*given, *(1000, 1)[len(given) :])
    delta = DEFAULT_DELTA if "huber-log" in sys.argv else None
    every = [hits(trial, seeds, delta) for trial in range(trials)]
    for name in every[0]:
        share = sum(one[name] for one in every) / trials
        print(f"{name:16} {share:.2%} ± {(share * (1 - share) / trials) ** 0.5:.2%}")


if __name__ == "__main__":
    main()
