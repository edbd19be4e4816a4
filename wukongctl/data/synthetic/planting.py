"""What planted teachers share: Zipf-distributed fields, white hidden vectors, and the click probability."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from wukongctl.config.generator import Generator

BIAS, CLIP = -0.5, 8.0
BLOCK = 4096
"""Rows evaluated together, so that their terms stay in the CPU cache."""
DRAWS = 1 << 16
"""Rows of a sample in which values are as frequent as they should be."""
GRID = 1 << 20
"""Probabilities are multiples of 1 / GRID, so that CPUs that round exp differently agree."""


class Teacher(ABC):
    """Random field values, and a logit planted on them."""

    @abstractmethod
    def values(self, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
        """Random field values, one array of `rows` per field."""

    @abstractmethod
    def ideal(self, field: int) -> np.ndarray:
        """Values of a field as frequent as they should be, (DRAWS,)."""

    @abstractmethod
    def planted(self, values: list[np.ndarray]) -> np.ndarray:
        """The logit without its bias, (rows,)."""

    def probability(self, values: list[np.ndarray]) -> np.ndarray:
        """True click probability, (rows,)."""
        logit = np.empty(len(values[0]))
        for start in range(0, len(logit), BLOCK):
            rows = slice(start, start + BLOCK)
            logit[rows] = BIAS + self.planted([column[rows] for column in values])
        return np.round(GRID / (1 + np.exp(-np.clip(logit, -CLIP, CLIP)))) / GRID


@dataclass(frozen=True)
class ZipfTeacher(Teacher):
    """Zipf-distributed fields, and a logit that is a sum of parts by order of interaction."""

    cumulative: tuple[np.ndarray, ...]
    """Cumulative probabilities of the values of each field."""

    @abstractmethod
    def orders(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The parts of the logit by ascending order of interaction, (rows,) each."""

    def ideal(self, field: int) -> np.ndarray:
        """Values of a field as frequent as they should be, (DRAWS,)."""
        shares = np.diff(self.cumulative[field], prepend=0.0, append=1.0)
        return np.repeat(np.arange(len(shares), dtype=np.int32), apportioned(shares))

    def planted(self, values: list[np.ndarray]) -> np.ndarray:
        """The sum of all orders, (rows,)."""
        return np.asarray(sum(self.orders(values)))

    def values(self, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
        """Random field values, one array of `rows` per field."""
        return [
            np.searchsorted(cumulative, rng.random(rows), side="right").astype(np.int32)
            for cumulative in self.cumulative
        ]


def marginals_of(spec: Generator) -> list[np.ndarray]:
    """Zipf probabilities of the values of each field; vocabulary sizes are log-spaced."""
    sizes = np.geomspace(spec.min_values, spec.max_values, spec.fields)
    return [_zipf(int(size), spec.zipf) for size in np.round(sizes)]


def _zipf(size: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def apportioned(marginal: np.ndarray) -> np.ndarray:
    """`marginal` in multiples of 1 / DRAWS, at least one for each value."""
    counts = np.maximum(np.floor(marginal * DRAWS), 1).astype(np.int64)
    counts[0] += DRAWS - counts.sum()
    return counts


def cumulative_of(marginals: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Upper ends of the values of each field on the unit interval."""
    return tuple(np.cumsum(marginal)[:-1] for marginal in marginals)


def whitened(rng: np.random.Generator, marginal: np.ndarray, rank: int) -> np.ndarray:
    """A random vector per value, (V, min(rank, V - 1)), with mean 0 and unit covariance under `marginal`."""
    width = min(rank, len(marginal) - 1)
    vectors = rng.standard_normal((len(marginal), width))
    vectors -= marginal @ vectors
    covariance = (vectors * marginal[:, None]).T @ vectors
    return vectors @ np.linalg.inv(np.linalg.cholesky(covariance)).T


def spectrum(rng: np.random.Generator, terms: int, alpha: float) -> np.ndarray:
    """Coefficients of random sign; the variance of the j-th is proportional to j^-(1 + alpha)."""
    magnitudes = np.arange(1, terms + 1, dtype=np.float64) ** (-(1 + alpha) / 2)
    return magnitudes * rng.choice([-1.0, 1.0], terms)


def weighted(terms: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Σ_t w_t s_t, (rows,)."""
    total = np.zeros_like(terms[0])
    for weight, term in zip(weights, terms, strict=True):
        total += weight * term
    return total
