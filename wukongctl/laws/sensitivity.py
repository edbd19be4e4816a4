"""How much a law depends on single sizes and single runs: leave one out, and resample runs."""

from dataclasses import dataclass

import numpy as np

from wukongctl.decisions import Interval
from wukongctl.laws.fit import Fit
from wukongctl.laws.form import Array
from wukongctl.laws.resampling import draw_counts, expanded_tails
from wukongctl.laws.robust import fit_by

MOST_BLOCKS = 10
"""With more sizes, blocks of neighboring ones are left out."""
DRAWS, MOST_RUNS = 600, 2000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The law without the sizes from `first` to `last`: its parameters, and its value at the largest size."""

    first: float
    last: float
    parameters: dict[str, float]
    at_largest: float


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentile intervals of laws fitted to `draws` samples of the runs."""

    draws: int
    intervals: dict[str, Interval]


def leave_out(law: Fit, floor: float | None) -> tuple[LeftOut, ...]:
    """The law refitted without each size, or each of ten blocks of sizes; empty with too few sizes."""
    sizes, count = law.sizes, len(law.sizes.x)
    if count <= len(law.form.parameters):
        return ()
    found = []
    for block in np.array_split(np.arange(count), min(count, MOST_BLOCKS)):
        kept = np.ones(count, dtype=bool)
        kept[block] = False
        refit = fit_by(sizes.where(kept), law.form, floor=floor, delta=law.delta)
        if refit is not None:
            value = float(refit.predict(sizes.x[-1:])[0])
            found.append(
                LeftOut(float(sizes.x[block[0]]), float(sizes.x[block[-1]]), refit.parameters, value)
            )
    return tuple(found)


def bootstrap(law: Fit, level: float) -> Bootstrap | None:
    """Resample runs and fit by least squares over the grid of exponents; None for other laws.

    A second opinion on the profile intervals; with one run per size and few sizes it is coarse.
    """
    sizes, grid = law.sizes, law.form.exponents
    x, y = sizes.single_runs
    free = len(law.form.parameters)
    if law.delta is not None or grid is None or not free < len(x) <= MOST_RUNS:
        return None
    counts = draw_counts(x, DRAWS, least=free)
    if counts is None or len(sizes.x) <= free:
        return None
    center, zero = law.form.center(sizes.x), sizes.zero
    log_x, base = np.log(x / center), y - zero
    floor = None if law.form.has_free_level else law.level - zero
    on_grid = law.form.basis_at_log(log_x, grid[:, None])
    moments = counts @ on_grid.T, counts @ (on_grid**2).T, counts @ (on_grid * base).T
    squares = _projected(counts, base, moments, floor)[2]
    exponents = _lowest(grid, squares)
    basis = law.form.basis_at_log(log_x, exponents[:, None])
    drawn = (np.sum(counts * each, axis=1, keepdims=True) for each in (basis, basis**2, basis * base))
    levels, amplitudes, _ = _projected(counts, base, tuple(drawn), floor)
    scaled = amplitudes[:, 0] * law.form.scale(exponents, center)
    named = {"E": levels[:, 0] + zero, "A": scaled, "c": exponents}
    tails = expanded_tails(level, len(x), len(x) - free)
    return Bootstrap(DRAWS, {name: _between(named[name], tails) for name in law.form.parameters})


def _lowest(grid: Array, squares: Array) -> Array:
    """The exponent of the lowest square of every draw, (B,), by a parabola through its neighbors in ln c."""
    best = np.clip(np.argmin(squares, axis=1), 1, len(grid) - 2)
    rows = np.arange(len(squares))
    before, here, after = (squares[rows, best + step] for step in (-1, 0, 1))
    curvature = before - 2 * here + after
    shift = np.where(curvature > 0, (before - after) / np.maximum(2 * curvature, 1e-300), 0.0)
    step = np.log(grid[1] / grid[0])
    return np.clip(grid[best] * np.exp(step * np.clip(shift, -1, 1)), grid[0], grid[-1])


def _projected(
    counts: Array, y: Array, moments: tuple[Array, ...], floor: float | None
) -> tuple[Array, Array, Array]:
    """Floor, amplitude and sum of squares of every draw and exponent, both non-negative: (B, C) each.

    `moments` are the sums of g, g^2 and g y over the runs of each draw, (B, C).
    """
    first, second, cross = moments
    total = counts.sum(axis=1, keepdims=True)
    mean, square = counts @ y[:, None], counts @ (y**2)[:, None]
    known = 0.0 if floor is None else floor
    alone = np.maximum((cross - known * first) / second, 0.0)
    levels, amplitudes = np.full_like(first, known), alone
    if floor is None:
        spread = np.maximum(second - first**2 / total, 1e-300)
        both = (cross - first * mean / total) / spread
        level = (mean - both * first) / total
        feasible = (both >= 0) & (level >= 0)
        levels = np.where(feasible, level, np.where(both < 0, mean / total, 0.0))
        amplitudes = np.where(feasible, both, np.where(both < 0, 0.0, alone))
    squares = (
        square - 2 * levels * mean - 2 * amplitudes * cross + levels**2 * total
        + 2 * levels * amplitudes * first + amplitudes**2 * second
    )  # fmt: skip
    return levels, amplitudes, squares


def _between(values: Array, tails: tuple[float, float]) -> Interval:
    low, high = np.percentile(values, tails)
    return float(low), float(high)
