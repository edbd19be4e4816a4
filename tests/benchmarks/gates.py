"""How often gate G2 cries wolf, and how often it finds what it should: simulated from calibration on.

    python -m tests.benchmarks.gates 2000

Every trial measures its own A/A noise from two ladders of three seeds, writes its margin, and then judges a
third ladder against a fourth: unchanged, with every size worse by the margin, with one size and with every
size worse by twice the margin.
"""

import sys
from collections import Counter

import numpy as np

from tests.laws.ladders import SIZES, ladder, point_set
from wukongctl.config.report import AaNoise
from wukongctl.decisions import GateTest, Verdict, decide, overall
from wukongctl.gates.calibration import calibrate
from wukongctl.gates.checks import quality

SCENES = ("unchanged", "all at the margin", "one at twice", "all at twice")


def verdicts(seed: int, *, sd: float = 3e-4, level: float = 0.95) -> dict[str, Verdict]:
    """The overall verdict of one trial in every scene."""
    rng = np.random.default_rng(seed)
    aa = calibrate(point_set(ladder(rng, sd=sd)), point_set(ladder(rng, sd=sd, seeds=(3, 4, 5))), level=level)
    worse = {
        "unchanged": {},
        "all at the margin": dict.fromkeys(range(len(SIZES)), aa.margin),
        "one at twice": {3: 2 * aa.margin},
        "all at twice": dict.fromkeys(range(len(SIZES)), 2 * aa.margin),
    }
    noise = AaNoise(sd=aa.sd, df=aa.df)
    found: dict[str, Verdict] = {}
    for scene in SCENES:
        old, new = ladder(rng, sd=sd), ladder(rng, sd=sd, worse=worse[scene])
        tests = [
            test for test in quality(new, old, margin=aa.margin, noise=noise) if isinstance(test, GateTest)
        ]
        found[scene] = overall(decide(tests, level=level))
    return found


def rates(trials: int) -> dict[str, Counter[Verdict]]:
    """Verdicts counted over trials, per scene."""
    counts: dict[str, Counter[Verdict]] = {scene: Counter() for scene in SCENES}
    for seed in range(trials):
        for scene, verdict in verdicts(seed).items():
            counts[scene][verdict] += 1
    return counts


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for scene, counts in rates(trials).items():
        failed = counts["fail"] / trials
        error = (failed * (1 - failed) / trials) ** 0.5
        shares = ", ".join(
            f"{verdict} {counts[verdict] / trials:.2%}" for verdict in ("pass", "inconclusive")
        )
        print(f"{scene:18} fail {failed:.2%} ± {error:.2%}, {shares}")


if __name__ == "__main__":
    main()
