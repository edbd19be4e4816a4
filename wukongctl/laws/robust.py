"""Robust fits by the Huber loss of log residuals, as in Chinchilla.

The loss is quadratic for small relative errors and linear for large ones, so that a few bad runs have little
influence; there are no profile intervals. Huber 1964, https://doi.org/10.1214/aoms/1177703732; threshold 1e-3
as in Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556.
"""

from dataclasses import replace

import numpy as np
from scipy import optimize

from wukongctl.laws.fit import Fit, Sizes, fit, project
from wukongctl.laws.form import Array, Form

STARTS = 12


def fit_robust(sizes: Sizes, form: Form, *, floor: float | None, delta: float) -> Fit | None:
    """`fit` with the Huber loss of log(law / observed); sizes are weighted by their number of runs.

    A form without bounds may predict a negative loss, which has no logarithm; it is fitted by least squares.
    """
    squares = fit(sizes, form, floor=floor)
    if squares is None or form.exponents is None:
        return squares
    fixed = None if form.has_free_level else squares.level
    grid = form.exponents
    starts = [squares.exponent, *grid[:: len(grid) // STARTS]]
    found = [_search(sizes, form, float(c), fixed, delta, float(grid[0]), float(grid[-1])) for c in starts]
    best = min(found, key=lambda one: one.cost)
    theta = best.x if fixed is None else np.array([fixed - sizes.zero, *best.x])
    level, amplitude, c = float(theta[0]) + sizes.zero, float(theta[1]), float(theta[2])
    center = form.center(sizes.x)
    at_bound = tuple(
        name
        for name, active in {"E": fixed is None and theta[0] <= 0, "A": amplitude <= 0,
                             "c": not grid[0] * 1.001 < c < grid[-1] * 0.999}.items()
        if active
    )  # fmt: skip
    residual = sizes.y - level - amplitude * form.basis(sizes.x / center, c)
    return replace(
        squares,
        level=level,
        amplitude=float(amplitude * form.scale(c, center)),
        exponent=c,
        status="bound hit" if at_bound else "converged" if best.status > 0 else "iteration limit",
        at_bound=at_bound,
        rss=float(np.sum(sizes.runs * residual**2)),
    )


def _search(
    sizes: Sizes, form: Form, c: float, floor: float | None, delta: float, low: float, high: float
) -> optimize.OptimizeResult:
    """A local minimum over (E, A, c), or (A, c), from the best floor and amplitude for exponent `c`."""
    log_x, target = np.log(sizes.x / form.center(sizes.x)), np.log(sizes.y - sizes.zero)
    counts = sizes.runs.astype(int)
    first = project(sizes, form, c, floor)

    def residual(theta: Array) -> Array:
        level = theta[0] if floor is None else floor - sizes.zero
        law = level + theta[-2] * form.basis_at_log(log_x, theta[-1])
        return np.repeat(np.log(np.maximum(law, 1e-300)) - target, counts)

    lower, upper = np.array([0.0, 0.0, low]), np.array([np.inf, np.inf, high])
    start = np.array([first.floor - sizes.zero, first.amplitude, c])
    scale = np.array([1.0, max(first.amplitude, 1e-6 * float(np.mean(sizes.y - sizes.zero))), 1.0])
    free = slice(0 if floor is None else 1, 3)
    return optimize.least_squares(
        residual, np.clip(start, lower + 1e-12, upper)[free], bounds=(lower[free], upper[free]),
        x_scale=scale[free], loss="huber", f_scale=delta, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=500,
    )  # fmt: skip
