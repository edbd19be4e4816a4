"""Rival forms of a law: power laws, a straight line, and forms that bend where these do not.

All are fitted from several starts at once, on ln x around its mean and on losses in units of their mean above
zero. Parameters in this scale are (ln E, ...), so that every form but the line is positive.

M4: Alabdulmohsin et al. 2022, https://arxiv.org/abs/2209.06640. Broken neural scaling laws: Caballero et al.
2023, https://arxiv.org/abs/2210.14891.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wukongctl.laws.batch import Model
from wukongctl.laws.form import Array

LEAST = -12.0
"""Smallest ln of a floor, relative to the mean loss."""
NEWTON_STEPS = 8


@dataclass(frozen=True, slots=True)
class Rival:
    """A form: its equation, the number of its parameters and what `minimize` needs to fit it.

    `starts` and `bounds` take u, ln x around its mean, (k,), and `starts` the scaled losses, too.
    """

    name: str
    equation: str
    count: int
    model: Callable[[Array], Model]
    starts: Callable[[Array, Array], Array]
    bounds: Callable[[Array], tuple[Array, Array]]


# --- M4 -----------------------------------------------------------------------------------------------------


def _m4(u: Array) -> Model:
    """E + B s, where s / (1 - s)^alpha = h x^-c: parameters (ln E, ln B, alpha, ln h, c)."""

    def model(theta: Array) -> tuple[Array, Array]:
        floor, width = np.exp(theta[:, :1]), np.exp(theta[:, 1:2])
        alpha, level, c = theta[:, 2:3], theta[:, 3:4], theta[:, 4:5]
        logit = _logit(level - c * u, alpha)
        share = 1 / (1 + np.exp(-logit))
        rate = share * (1 - share) / (1 - share + alpha * share)
        slopes = [
            np.broadcast_to(floor, share.shape),
            width * share,
            -width * rate * np.logaddexp(0, logit),
            width * rate,
            -width * rate * u,
        ]
        return floor + width * share, np.stack(slopes, axis=2)

    return model


def _logit(target: Array, alpha: Array) -> Array:
    """v with alpha ln(1 + e^v) - ln(1 + e^-v) = target, by Newton's method from the asymptotes.

    The left side is concave for alpha < 1 and convex beyond, and lies on the other side of its asymptotes:
    the steps approach the root from one side.
    """
    v = np.clip(np.where(target < 0, target, target / alpha), -60, 60)
    for _ in range(NEWTON_STEPS):
        share = 1 / (1 + np.exp(-v))
        value = alpha * np.logaddexp(0, v) - np.logaddexp(0, -v) - target
        v = np.clip(v - value / (1 - share + alpha * share), -60, 60)
    return v


def _m4_starts(_: Array, y: Array) -> Array:
    low, high = np.log(y.min()), np.log(y.max())
    starts = []
    for floor, c in ((0.3, 0.2), (0.9, 0.6)):
        for top in (1.02, 1.5):
            for alpha in (0.2, 1.0):
                width = np.log(top * np.exp(high) - floor * np.exp(low))
                starts.append([low + np.log(floor), width, alpha, 0.0, c])
    return np.array(starts)


def _m4_bounds(u: Array) -> tuple[Array, Array]:
    reach = 3 * float(np.ptp(u)) + 3
    return np.array([LEAST, LEAST, 0.02, -reach, 1e-3]), np.array([3.0, 4.0, 5.0, reach, 3.0])


# --- broken power law ------------------------------------------------------------------------------------


def _broken(u: Array) -> Model:
    """E + A x^-c (1 + (x / d)^(1 / f))^(-k f): parameters (ln E, ln A, c, k, ln d, f)."""

    def model(theta: Array) -> tuple[Array, Array]:
        floor, level, c = np.exp(theta[:, :1]), theta[:, 1:2], theta[:, 2:3]
        change, at, width = theta[:, 3:4], theta[:, 4:5], theta[:, 5:6]
        past = (u - at) / width
        bend = np.logaddexp(0, past)
        share = 1 / (1 + np.exp(-np.clip(past, -60, 60)))
        term = np.exp(np.clip(level - c * u - change * width * bend, -60, 60))
        slopes = [
            np.broadcast_to(floor, term.shape),
            term,
            -term * u,
            -term * width * bend,
            term * change * share,
            -term * change * (bend - share * past),
        ]
        return floor + term, np.stack(slopes, axis=2)

    return model


def _broken_starts(u: Array, y: Array) -> Array:
    level, slope = float(np.mean(np.log(y))), max(-float(np.polyfit(u, np.log(y), 1)[0]), 0.01)
    low = np.log(y.min())
    starts = []
    for at in np.quantile(u, (0.3, 0.7)):
        for floor in (0.05, 0.8):
            for first, then in ((0.3, 1.0), (1.5, -0.8)):
                starts.append([low + np.log(floor), level, first * slope, then * slope, at, 0.3])
    return np.array(starts)


def _broken_bounds(u: Array) -> tuple[Array, Array]:
    low, high = float(u.min()), float(u.max())
    return np.array([LEAST, LEAST, 0.0, -3.0, low, 0.03]), np.array([3.0, 6.0, 3.0, 4.0, high, 2.0])


# --- saturation ---------------------------------------------------------------------------------------------


def _stopped(u: Array) -> Model:
    """The larger of E and A x^-c: parameters (ln E, ln A, c)."""

    def model(theta: Array) -> tuple[Array, Array]:
        floor, term = np.exp(theta[:, :1]), np.exp(theta[:, 1:2] - theta[:, 2:3] * u)
        falling = term > floor
        slopes = [np.where(falling, 0.0, floor), np.where(falling, term, 0), np.where(falling, -term * u, 0)]
        return np.maximum(floor, term), np.stack(slopes, axis=2)

    return model


def _stopped_starts(u: Array, y: Array) -> Array:
    """A straight line through the sizes before each possible end, and the mean of those after it."""
    sizes, log_y = np.unique(u), np.log(y)
    starts = []
    for end in sizes[np.unique(np.linspace(2, len(sizes) - 1, 5).astype(int))]:
        before = u < end
        slope, level = np.polyfit(u[before], log_y[before], 1)
        starts.append([float(np.mean(log_y[~before])), level, max(-slope, 1e-3)])
    return np.array(starts)


def _stopped_bounds(_: Array) -> tuple[Array, Array]:
    return np.array([LEAST, LEAST, 1e-3]), np.array([3.0, 6.0, 3.0])


# --- power laws and the line --------------------------------------------------------------------------------


def _power(u: Array) -> Model:
    """E + A x^-c: parameters (ln E, ln A, c)."""

    def model(theta: Array) -> tuple[Array, Array]:
        floor, term = np.exp(theta[:, :1]), np.exp(theta[:, 1:2] - theta[:, 2:3] * u)
        return floor + term, np.stack([np.broadcast_to(floor, term.shape), term, -term * u], axis=2)

    return model


def _power_starts(u: Array, y: Array) -> Array:
    low, high = np.log(y.min()), np.log(y.max())
    return np.array(
        [[low + np.log(f), np.log(np.exp(high) - f * np.exp(low)) - c * u.max() / 2, c]
         for f in (0.02, 0.9) for c in (0.05, 0.3, 1.0)]
    )  # fmt: skip


def _pure(u: Array) -> Model:
    """A x^-c: parameters (ln A, c)."""

    def model(theta: Array) -> tuple[Array, Array]:
        term = np.exp(theta[:, :1] - theta[:, 1:2] * u)
        return term, np.stack([term, -term * u], axis=2)

    return model


def _pure_starts(u: Array, y: Array) -> Array:
    slope, level = np.polyfit(u, np.log(y), 1)
    return np.array([[level, max(-slope, 1e-6)]])


def _pure_bounds(_: Array) -> tuple[Array, Array]:
    return np.array([LEAST, 1e-6]), np.array([6.0, 3.0])


def _line(u: Array) -> Model:
    """p - q ln x: parameters (p, q)."""

    def model(theta: Array) -> tuple[Array, Array]:
        values = theta[:, :1] - theta[:, 1:2] * u
        return values, np.stack([np.ones_like(values), np.broadcast_to(-u, values.shape)], axis=2)

    return model


def _line_starts(u: Array, y: Array) -> Array:
    slope, level = np.polyfit(u, y, 1)
    return np.array([[level, -slope]])


def _line_bounds(_: Array) -> tuple[Array, Array]:
    return np.full(2, -1e6), np.full(2, 1e6)


RIVALS = (
    Rival("power", "y = E + A x^-c", 3, _power, _power_starts, _stopped_bounds),
    Rival("power0", "y = A x^-c", 2, _pure, _pure_starts, _pure_bounds),
    Rival("loglin", "y = p + q ln x", 2, _line, _line_starts, _line_bounds),
    Rival("saturation", "y = max(E, A x^-c)", 3, _stopped, _stopped_starts, _stopped_bounds),
    Rival("m4", "(y - E) / (E0 - y)^a = b x^-c", 5, _m4, _m4_starts, _m4_bounds),
    Rival("bnsl1", "y = E + A x^-c (1 + (x/d)^(1/f))^(-k f)", 6, _broken, _broken_starts, _broken_bounds),
)
