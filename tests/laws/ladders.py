"""Simulated ladders of runs whose law and noise are known."""

from collections.abc import Sequence

import numpy as np

from wukongctl.laws.points import Point, PointSet

SIZES = np.geomspace(1, 100, 6)


def law(x: float) -> float:
    return 0.4 + 0.05 * x**-0.3


def ladder(
    rng: np.random.Generator,
    *,
    sd: float = 2e-4,
    seeds: Sequence[int | None] = (0, 1, 2),
    worse: dict[int, float] | None = None,
    model: str = "wukong",
    sizes: Sequence[float] = tuple(SIZES),
) -> tuple[Point, ...]:
    """Runs of every size and seed; `worse` adds to the loss of the size at an index."""
    return tuple(
        Point(
            model, float(x), law(x) + (worse or {}).get(i, 0.0) + rng.normal(0, sd), seed, 1000, 10 * (i + 1)
        )
        for i, x in enumerate(sizes)
        for seed in seeds
    )


def point_set(points: tuple[Point, ...]) -> PointSet:
    return PointSet(points, "logloss", "test", "synthetic", "f1", "6 x MAC")
