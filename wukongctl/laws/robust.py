"""Robust fits by the Huber loss of log residuals, as in Chinchilla.

The loss is quadratic for small relative errors and linear for large ones, so that a few bad runs have little
influence. Every run counts singly, not the mean of its size. Huber 1964,
https://doi.org/10.1214/aoms/1177703732; threshold 1e-3 as in Hoffmann et al. 2022,
https://arxiv.org/abs/2203.15556.
"""

from dataclasses import replace

import numpy as np
from scipy import optimize

from wukongctl.laws.batch import Model, minimize
from wukongctl.laws.fit import Fit, Sizes, fit, project
from wukongctl.laws.form import Array, Form

STARTS = 12
SMALLEST = 1e-9
"""Smallest floor and amplitude of a search in logarithms, relative to the mean loss."""


def fit_by(sizes: Sizes, form: Form, *, floor: float | None, delta: float | None) -> Fit | None:
    """Fit one form by least squares, or by the Huber loss with threshold `delta`."""
    if delta is None:
        return fit(sizes, form, floor=floor)
    return fit_robust(sizes, form, floor=floor, delta=delta)


def fit_robust(sizes: Sizes, form: Form, *, floor: float | None, delta: float) -> Fit | None:
    """`fit` with the Huber loss of log(law / observed), summed over runs.

    A form without bounds may predict a negative loss, which has no logarithm; it is fitted by least squares.
    """
    squares = fit(sizes, form, floor=floor)
    if squares is None or form.exponents is None:
        return squares
    fixed = None if form.has_free_level else squares.level
    best = _polish(sizes, form, _start(sizes, form, squares.exponent, fixed, delta), fixed, delta)
    theta = best.x if fixed is None else np.array([fixed - sizes.zero, *best.x])
    level, amplitude, c = float(theta[0]) + sizes.zero, float(theta[1]), float(theta[2])
    center, grid = form.center(sizes.x), form.exponents
    negligible = SMALLEST * float(np.mean(sizes.y - sizes.zero))
    bounds = {
        "E": fixed is None and theta[0] <= negligible,
        "A": amplitude <= negligible,
        "c": not grid[0] * 1.001 < c < grid[-1] * 0.999,
    }
    at_bound = tuple(name for name, active in bounds.items() if active)
    residual = sizes.y - level - amplitude * form.basis(sizes.x / center, c)
    return replace(
        squares,
        level=level,
        amplitude=float(amplitude * form.scale(c, center)),
        exponent=c,
        status="bound hit" if at_bound else "converged" if best.status > 0 else "iteration limit",
        at_bound=at_bound,
        rss=float(np.sum(sizes.runs * residual**2)),
        delta=delta,
    )


def log_law(sizes: Sizes, form: Form, log_x: Array, floor: float | None) -> Model:
    """ln of the loss above zero from (ln E, ln A, c), or (ln A, c) with a known floor; x over its center."""
    known = None if floor is None else floor - sizes.zero
    x = np.exp(log_x)

    def model(theta: Array) -> tuple[Array, Array]:
        c = theta[:, -1:]
        term = np.exp(theta[:, -2, None]) * form.basis_at_log(log_x, c)
        level = np.exp(theta[:, :1]) if known is None else known
        total = np.maximum(level + term, 1e-300)
        slopes = [term, -term * form.decay(x, c)]
        if known is None:
            slopes.insert(0, np.broadcast_to(level, term.shape))
        return np.log(total), np.stack(slopes, axis=2) / total[..., None]

    return model


def bounds_of(sizes: Sizes, form: Form, floor: float | None) -> tuple[Array, Array]:
    """Bounds of the parameters of `log_law`."""
    assert form.exponents is not None
    mean = float(np.mean(sizes.y - sizes.zero))
    low, high = np.log(SMALLEST * mean / 10), np.log(1e9 * mean)
    ends = np.array([low, low, form.exponents[0]]), np.array([high, high, form.exponents[-1]])
    first = 0 if floor is None else 1
    return ends[0][first:], ends[1][first:]


def _start(sizes: Sizes, form: Form, c: float, floor: float | None, delta: float) -> Array:
    """The best (E, A, c) of searches from a dozen exponents at once, in units of loss above zero."""
    grid = form.exponents
    assert grid is not None
    starts = []
    for exponent in (c, *grid[:: len(grid) // STARTS]):
        found = project(sizes, form, float(exponent), floor)
        starts.append([found.floor - sizes.zero, found.amplitude, float(exponent)])
    theta = np.array(starts)
    least = SMALLEST * float(np.mean(sizes.y - sizes.zero))
    theta[:, :2] = np.log(np.maximum(theta[:, :2], least))
    x, y = sizes.single_runs
    log_x, target = np.log(x / form.center(sizes.x)), np.log(y - sizes.zero)
    found, costs = minimize(
        log_law(sizes, form, log_x, floor), theta if floor is None else theta[:, 1:], target,
        np.ones((1, len(x))), bounds=bounds_of(sizes, form, floor), delta=delta, steps=80,
    )  # fmt: skip
    best = found[int(np.argmin(costs))]
    return np.array([*np.exp(best[:-1]), best[-1]])


def _polish(
    sizes: Sizes, form: Form, start: Array, floor: float | None, delta: float
) -> optimize.OptimizeResult:
    """A local minimum over (E, A, c), or (A, c), with E and A not in logarithms: they may be zero."""
    assert form.exponents is not None
    x, y = sizes.single_runs
    log_x, target = np.log(x / form.center(sizes.x)), np.log(y - sizes.zero)

    def residual(theta: Array) -> Array:
        level = theta[0] if floor is None else floor - sizes.zero
        law = level + theta[-2] * form.basis_at_log(log_x, theta[-1])
        return np.log(np.maximum(law, 1e-300)) - target

    mean = float(np.mean(sizes.y - sizes.zero))
    lower, upper = np.array([0.0, 0.0, form.exponents[0]]), np.array([np.inf, np.inf, form.exponents[-1]])
    scale = np.array([1.0, max(float(start[-2]), 1e-6 * mean), 1.0])
    free = slice(0 if floor is None else 1, 3)
    return optimize.least_squares(
        residual, np.clip(start, lower[free] + 1e-12, upper[free]), bounds=(lower[free], upper[free]),
        x_scale=scale[free], loss="huber", f_scale=delta, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=500,
    )  # fmt: skip
