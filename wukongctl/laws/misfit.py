"""A test of the form that needs no repeated seeds: are residuals of neighboring sizes alike?

Where the form is wrong, residuals come in runs of one sign. The statistic is their lag-1 autocorrelation.
Fitted residuals are correlated even under a true law, so its distribution follows from the projection onto
the space of residuals: a Beta law with the exact mean and variance, between the exact ends.

Durbin and Watson 1950 and 1951, https://doi.org/10.1093/biomet/38.1-2.159.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from wukongctl.laws.fit import EXACT, Fit
from wukongctl.laws.form import Array

LARGEST_EXACT = 100
"""Sizes up to which the ends of the statistic are computed; with more, they are those of any residuals."""


@dataclass(frozen=True, slots=True)
class Serial:
    """Lag-1 autocorrelation of residuals in order of size, and the probability of a larger one by chance."""

    correlation: float
    p_value: float


def serial_correlation(law: Fit) -> Serial | None:
    """The autocorrelation of residuals; None for exact points, or with less than two degrees of freedom."""
    root = np.sqrt(law.sizes.runs)
    residual = root * _residuals(law)
    square = float(np.sum(residual**2))
    columns = root[:, None] * _slopes(law)
    basis, triangle = np.linalg.qr(columns)
    rank = int(np.sum(np.abs(np.diag(triangle)) > 1e-10 * np.abs(triangle).max()))
    free = len(residual) - rank
    if free < 2 or square <= float(np.sum((EXACT * root * (law.sizes.y - law.sizes.zero)) ** 2)):
        return None
    correlation = float(np.sum(residual[1:] * residual[:-1])) / square
    return Serial(correlation, _tail(correlation, basis[:, :rank], free))


def _residuals(law: Fit) -> Array:
    """Residuals of the mean losses; relative ones, clipped to six robust deviations, for a robust law."""
    residual = law.sizes.y - law.predict(law.sizes.x)
    if law.delta is None:
        return residual
    relative = residual / (law.sizes.y - law.sizes.zero)
    reach = 6 * 1.4826 * float(np.median(np.abs(relative)))
    return np.clip(relative, -reach, reach)


def _slopes(law: Fit) -> Array:
    """Derivatives of the law by its free parameters, those at a bound left out: (k, p)."""
    scaled = law.sizes.x / law.form.center(law.sizes.x)
    basis = law.form.basis(scaled, law.exponent)
    columns = [basis]
    if law.form.has_free_level and "E" not in law.at_bound:
        columns.insert(0, np.ones_like(basis))
    if law.form.exponents is not None and not {"A", "c"} & set(law.at_bound):
        columns.append(basis * law.form.decay(scaled, law.exponent))
    if "A" in law.at_bound:
        columns = [np.ones_like(basis)]
    slopes = np.stack(columns, axis=1)
    return slopes if law.delta is None else slopes / (law.sizes.y - law.sizes.zero)[:, None]


def _tail(correlation: float, basis: Array, free: int) -> float:
    """The probability that independent errors give a larger autocorrelation."""
    count = len(basis)
    shifted = _shift(basis)
    inner = basis.T @ shifted
    trace = -float(np.trace(inner))
    square = (count - 1) / 2 - 2 * float(np.sum(shifted**2)) + float(np.sum(inner**2))
    mean = trace / free
    variance = 2 * (free * square - trace**2) / (free**2 * (free + 2))
    low, high = _ends(basis, free)
    if variance <= 0 or high - low < 1e-12:
        return 1.0
    at = (mean - low) / (high - low)
    total = at * (1 - at) * (high - low) ** 2 / variance - 1
    return float(stats.beta.sf((correlation - low) / (high - low), at * total, (1 - at) * total))


def _shift(columns: Array) -> Array:
    """The mean of the neighbors of each row, counted as 0 beyond the ends."""
    shifted = np.zeros_like(columns)
    shifted[1:] += columns[:-1] / 2
    shifted[:-1] += columns[1:] / 2
    return shifted


def _ends(basis: Array, free: int) -> tuple[float, float]:
    """The smallest and largest possible autocorrelation of residuals."""
    count = len(basis)
    if count > LARGEST_EXACT:
        reach = float(np.cos(np.pi / (count + 1)))
        return -reach, reach
    complete, _ = np.linalg.qr(basis, mode="complete")
    residual_space = complete[:, count - free :]
    values = np.linalg.eigvalsh(residual_space.T @ _shift(residual_space))
    return float(values[0]), float(values[-1])
