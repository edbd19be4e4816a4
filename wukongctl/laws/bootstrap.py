"""Thousands of refits at once: the wild cluster bootstrap over sizes, beside the profile intervals.

Every size is one cluster: all its runs keep their deviation from the law and get one random weight, so noise
that differs from size to size, or that seeds share, stays as it was. Cameron, Gelbach and Miller 2008,
https://doi.org/10.1162/rest.90.3.414. At few sizes its intervals are too short; the report's own are the
profile intervals, and a bootstrap interval much wider than those says that their assumptions fail.
"""

import numpy as np

from wukongctl.decisions import Interval
from wukongctl.laws.fit import Array, Fit, Sizes, centre, exponent_grid
from wukongctl.laws.joint import webb

LEAST_RUNS = 3
COARSE, ZOOM, ROUNDS, CHUNK = 2, 17, 4, 250


def wild_intervals(law: Fit, *, draws: int, level: float) -> dict[str, Interval]:
    """Percentile intervals of E, A and c; empty where a size has fewer than three runs or no spare size."""
    if law.form == "loglin" or law.df <= 0 or float(np.min(law.sizes.runs)) < LEAST_RUNS or draws == 0:
        return {}
    fitted = law.predict(law.sizes.x)
    count = len(fitted)
    residual = (law.sizes.y - fitted) * np.sqrt(count / law.df)
    y = fitted + residual * webb(draws, count)
    floor = None if law.form == "power" else law.floor
    chunks = [refit(law.sizes, y[i : i + CHUNK], law.form, floor) for i in range(0, draws, CHUNK)]
    found = dict(zip(("E", "A", "c"), np.concatenate(chunks).T, strict=True))
    tails = [50 * (1 - level), 50 * (1 + level)]
    return {name: _ends(found[name], tails) for name in law.parameters}


def _ends(values: Array, tails: list[float]) -> Interval:
    low, high = np.percentile(values, tails)
    return float(low), float(high)


def refit(sizes: Sizes, y: Array, form: str, floor: float | None) -> Array:
    """E, A and c of many curves over the same sizes: losses y (R, k) to (R, 3)."""
    grid = exponent_grid("power" if form == "power" else "power0")[::COARSE]
    best = np.argmin(_project(sizes, y, grid[None], floor)[2], axis=1)
    low, high = (grid[np.clip(best + step, 0, len(grid) - 1)] for step in (-1, 1))
    rows, exponents = np.arange(len(y)), grid[best]
    for _ in range(ROUNDS):
        fine = np.geomspace(low, high, ZOOM, axis=1)
        best = np.argmin(_project(sizes, y, fine, floor)[2], axis=1)
        exponents = fine[rows, best]
        low, high = (fine[rows, np.clip(best + step, 0, ZOOM - 1)] for step in (-1, 1))
    level, amplitude, _ = (part[:, 0] for part in _project(sizes, y, exponents[:, None], floor))
    return np.stack([level, amplitude * centre(sizes) ** exponents, exponents], axis=1)


def _project(sizes: Sizes, y: Array, exponents: Array, floor: float | None) -> tuple[Array, Array, Array]:
    """Best floor, amplitude and sum of squares for exponents (R or 1, C): each (R, C)."""
    basis = np.exp(-exponents[..., None] * np.log(sizes.x / centre(sizes)))  # (R or 1, C, k)
    weights, base = sizes.runs, sizes.zero if floor is None else floor
    target = (y - base)[:, None, :]
    moment = np.sum(weights * basis**2, axis=-1)
    amplitude = np.maximum(np.sum(weights * basis * target, axis=-1) / moment, 0.0)
    level = np.zeros_like(amplitude)
    if floor is None:
        mean = np.average(basis, axis=-1, weights=weights)[..., None]
        flat = np.average(target, axis=-1, weights=weights)
        deviation = basis - mean
        free = np.sum(weights * deviation * target, axis=-1) / np.sum(weights * deviation**2, axis=-1)
        above = flat - free * mean[..., 0]
        inside = (free >= 0) & (above >= 0)
        level = np.where(inside, above, np.where(free < 0, flat, 0.0))
        amplitude = np.where(inside, free, np.where(free < 0, 0.0, amplitude))
    residual = target - level[..., None] - amplitude[..., None] * basis
    return level + base, amplitude, np.sum(weights * residual**2, axis=-1)
