"""How often the interval of `--predict` holds a new run.

Sizes over two decades, y = 0.4 + 0.05 x^-0.3; a run has a standard deviation of 0.001. With a correlation,
the errors of neighboring sizes are alike, as in losses that were averaged over a window.

    python -m tests.benchmarks.predictions 300 10 1 [0.6]

The arguments are trials, sizes, seeds per size and the correlation.
"""

import sys

import numpy as np
from scipy.signal import lfilter

from wukongctl.laws.contest import contest
from wukongctl.laws.fit import sizes_of
from wukongctl.laws.forecast import forecast

SD = 1e-3
PLACES = {"inside": 10.0, "at the end": 100.0, "at ten times the end": 1000.0}


def truth(x: np.ndarray) -> np.ndarray:
    """The law."""
    return 0.4 + 0.05 * x**-0.3


def hits(trial: int, sizes: int, seeds: int, correlation: float) -> dict[str, tuple[bool, float]]:
    """Whether the interval at each place holds a new run, and its half width over the loss."""
    rng = np.random.default_rng([sizes, seeds, trial])
    x = np.geomspace(1, 100, sizes)
    drawn = rng.normal(0, SD, (seeds, sizes))
    drawn[:, 1:] *= np.sqrt(1 - correlation**2)
    errors = lfilter([1], [1, -correlation], drawn, axis=1)
    found = contest(sizes_of(list(np.tile(x, seeds)), list((truth(x) + errors).ravel())))
    if found is None:
        raise ValueError("these sizes carry a law")
    result = {}
    for name, at in PLACES.items():
        one = forecast(found, at, level=0.95)
        low, high = one.interval
        run = float(truth(np.array(at))) + rng.normal(0, SD)
        result[name] = low <= run <= high, (high - low) / 2 / one.loss
    return result


def main() -> None:
    trials, sizes, seeds = map(int, sys.argv[1:4])
    correlation = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    every = [hits(trial, sizes, seeds, correlation) for trial in range(trials)]
    for name in PLACES:
        share = sum(one[name][0] for one in every) / trials
        width = np.median([one[name][1] for one in every])
        print(f"{name:22} {share:.1%} ± {(share * (1 - share) / trials) ** 0.5:.1%}, half width {width:.2%}")


if __name__ == "__main__":
    main()
