"""Many small nonlinear fits at once: Levenberg-Marquardt over a batch of starts or of resampled weights.

Levenberg 1944 and Marquardt 1963; the Huber loss by iterated weights, Holland and Welsch 1977,
https://doi.org/10.1080/03610927708827533.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from wukongctl.laws.form import Array

Model: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""Parameters (B, p) → predictions (B, k) and their derivatives (B, k, p)."""

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-12, 1e12
TOLERANCE = 1e-12


def minimize(
    model: Model, start: Array, target: Array, weights: Array, *, bounds: tuple[Array, Array],
    delta: float | None = None, steps: int = 60,
) -> tuple[Array, Array]:  # fmt: skip
    """The parameters (B, p) that fit `target`, (k,) or (B, k), and their costs (B,).

    `weights` are (B, k) or (1, k), `delta` the threshold of the Huber loss, None for squares; parameters stay
    within `bounds`, (p,) each. A cost only falls, so the result is never worse than the start.
    """
    theta = np.clip(start, *bounds)
    values, slopes = model(theta)
    costs = cost(values - target, weights, delta)
    damping = np.full(len(theta), FIRST_DAMPING)
    for _ in range(steps):
        step = _step(values - target, slopes, weights, damping, delta)
        moved = np.clip(theta - step, *bounds)
        new_values, new_slopes = model(moved)
        new_costs = cost(new_values - target, weights, delta)
        better = new_costs < costs
        done = np.all(costs - np.where(better, new_costs, costs) <= TOLERANCE * costs)
        stuck = np.all(better | (damping > 1e6))
        theta = np.where(better[:, None], moved, theta)
        values = np.where(better[:, None], new_values, values)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        costs = np.where(better, new_costs, costs)
        damping = np.clip(np.where(better, damping / 5, damping * 8), LEAST_DAMPING, MOST_DAMPING)
        if done and stuck:
            break
    return theta, costs


def logarithmic(model: Model) -> Model:
    """ln of a model's predictions, which are raised to 1e-9 where they are not positive."""

    def logs(theta: Array) -> tuple[Array, Array]:
        values, slopes = model(theta)
        positive = np.maximum(values, 1e-9)
        return np.log(positive), slopes / positive[..., None]

    return logs


def exponentiated(model: Model) -> Model:
    """The predictions of a model of logarithms."""

    def values_of(theta: Array) -> tuple[Array, Array]:
        logs, slopes = model(theta)
        values = np.exp(logs)
        return values, slopes * values[..., None]

    return values_of


def cost(residual: Array, weights: Array, delta: float | None) -> Array:
    """Half the weighted squares of residuals (B, k), or their Huber loss: (B,)."""
    if delta is None:
        return np.sum(weights * residual**2, axis=1) / 2
    size = np.abs(residual)
    huber = np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))
    return np.sum(weights * huber, axis=1)


def _step(residual: Array, slopes: Array, weights: Array, damping: Array, delta: float | None) -> Array:
    if delta is not None:
        weights = weights * (delta / np.maximum(np.abs(residual), delta))
    weighted = slopes * weights[..., None]
    hessian = np.swapaxes(weighted, 1, 2) @ slopes
    gradient = np.sum(weighted * residual[..., None], axis=1)
    diagonal = np.einsum("bii->bi", hessian)
    scale = diagonal + 1e-12 * np.max(diagonal, axis=1, keepdims=True) + 1e-300
    system = hessian + (damping[:, None] * scale)[..., None] * np.eye(hessian.shape[1])
    return np.linalg.solve(system, gradient[..., None])[..., 0]


def power_terms(axes: tuple[Array, ...], floor: float | None) -> Model:
    """ln of a floor plus power terms, parameters (ln E, ln A, a, ln B, b, ...) for `axes` = (ln x, ...).

    A known `floor`, in units of the loss, replaces ln E.
    """
    first = 0 if floor is not None else 1

    def model(theta: Array) -> tuple[Array, Array]:
        terms, slopes = [], []
        base = np.full((len(theta), len(axes[0])), floor or 0.0)
        if floor is None:
            base = base + np.exp(theta[:, :1])
            slopes.append(base)
        for index, axis in enumerate(axes):
            level, exponent = theta[:, first + 2 * index, None], theta[:, first + 2 * index + 1, None]
            term = np.exp(level - exponent * axis)
            terms.append(term)
            slopes += [term, -term * axis]
        total = np.maximum(base + sum(terms), 1e-300)
        return np.log(total), np.stack(slopes, axis=2) / total[..., None]

    return model
