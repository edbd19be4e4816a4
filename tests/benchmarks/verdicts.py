"""How often a report claims what is not so: verdicts, notes and intervals on curves of known truth.

    python -m tests.benchmarks.verdicts 500 1

The arguments are trials and seeds per size. Six sizes over two decades; a run has a standard deviation of
0.001, or a tenth of it where a break would drown.
"""

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np

from wukongctl.laws.analysis import build
from wukongctl.laws.curves import Curve
from wukongctl.laws.form import Array
from wukongctl.laws.points import Point, PointSet

X = np.geomspace(1, 100, 6)
SD = 1e-3
SCENES: dict[str, tuple[Callable[[Array], Array], float]] = {
    "planted": (lambda x: 0.4 + 0.05 * x**-0.3, SD),
    "planted, quiet": (lambda x: 0.4 + 0.05 * x**-0.3, SD / 10),
    "flat": (lambda x: np.full_like(x, 0.4), SD),
    "flat, quiet": (lambda x: np.full_like(x, 0.4), SD / 10),
    "no floor": (lambda x: 0.4 * x**-0.1, SD),
    "stops at 10": (lambda x: 0.4 + 0.05 * np.minimum(x, 10.0) ** -0.3, SD / 10),
    "steeper from 10 on": (lambda x: 0.4 + 0.05 * x**-0.1 * (1 + (x / 10) ** 4) ** -0.1, SD / 10),
    "rising": (lambda x: 0.4 + 0.01 * np.log(x), SD),
}


def analyzed(scene: str, trial: int, seeds: int) -> Curve:
    """The analysis of one simulated curve."""
    truth, sd = SCENES[scene]
    rng = np.random.default_rng([seeds, trial, list(SCENES).index(scene)])
    points = tuple(
        Point("m", float(x), float(y + rng.normal(0, sd)), seed if seeds > 1 else None)
        for x, y in zip(X, truth(X), strict=True)
        for seed in range(seeds)
    )
    return build(PointSet(points, "logloss"), draws=0, thorough=False).curves[0]


def verdicts(scene: str, trials: int, seeds: int) -> tuple[Counter[str], Counter[str]]:
    """Verdicts and notes counted over trials."""
    found, notes = Counter[str](), Counter[str]()
    for trial in range(trials):
        curve = analyzed(scene, trial, seeds)
        found[curve.plateau.verdict] += 1
        notes.update(curve.notes)
    return found, notes


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    trials, seeds = (*given, *(200, 1)[len(given) :])
    for scene in SCENES:
        found, notes = verdicts(scene, trials, seeds)
        shares = ", ".join(f"{verdict} {count / trials:.1%}" for verdict, count in found.most_common())
        shown = ("misfit", "prediction_failed", "no_gain_better", "curvature_undecided", "lack_of_fit")
        print(f"{scene:20} {shares}; " + ", ".join(f"{code} {notes[code] / trials:.0%}" for code in shown))


if __name__ == "__main__":
    main()
