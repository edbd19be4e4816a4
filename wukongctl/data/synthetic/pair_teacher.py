"""The teacher `pair`: interactions of 2, 4 and 8 fields, each a product of two interactions of half the
order.

A pair is s(x, y) = standardized tanh of a bilinear form of the two fields' hidden vectors; order 4 multiplies
two pairs of disjoint fields, order 8 two terms of order 4: the interactions that stacked factorization
machines build by binary exponentiation (Wukong, arXiv:2403.02545, section 3.4). Within an order, the
variances of terms fall as a power law, so that more capacity always finds a little more.
"""

from dataclasses import dataclass, replace

import numpy as np

from wukongctl.config.generator import Generator
from wukongctl.data.synthetic.planting import (
    ZipfTeacher,
    cumulative_of,
    marginals_of,
    spectrum,
    weighted,
    whitened,
)

PAIRS, ORDER_4, ORDER_8 = 32, 64, 32
"""Number of planted terms of each order."""
PILOT = 1 << 16
"""Rows from which the variance of each order is measured."""


@dataclass(frozen=True)
class PairTeacher(ZipfTeacher):
    """A term of order 4 (8) is the product of two earlier terms of order 2 (4)."""

    pairs: tuple[tuple[int, int], ...]
    tables: tuple[np.ndarray, ...]
    """Per pair: s(x, y) for all values of its two fields, (V_x, V_y), mean 0 and variance 1."""
    order4: tuple[tuple[int, int], ...]
    order8: tuple[tuple[int, int], ...]
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Coefficient of each term, per order."""

    def orders(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The parts of the logit carried by interactions of 2, 4 and 8 fields, (rows,) each."""
        pairs = [
            table.ravel()[values[x] * table.shape[1] + values[y]]
            for table, (x, y) in zip(self.tables, self.pairs, strict=True)
        ]
        fours = [pairs[a] * pairs[b] for a, b in self.order4]
        parts = [weighted(pairs, self.weights[0]), weighted(fours, self.weights[1])]
        total = np.zeros_like(parts[0])
        for weight, (a, b) in zip(self.weights[2], self.order8, strict=True):
            total += weight * (fours[a] * fours[b])
        return [*parts, total]


def plant(spec: Generator) -> PairTeacher:
    """The teacher that `spec.seed` plants; a pilot sample scales each order to its planned variance."""
    rng = np.random.default_rng([spec.seed, 0])
    marginals = marginals_of(spec)
    hidden = [whitened(rng, marginal, spec.rank) for marginal in marginals]
    pairs = _distinct_pairs(rng, spec.fields, PAIRS)
    tables = tuple(_pair_table(rng, hidden[x], hidden[y], marginals[x], marginals[y]) for x, y in pairs)
    order4 = _disjoint(rng, [set(pair) for pair in pairs], ORDER_4)
    fields4 = [set(pairs[a]) | set(pairs[b]) for a, b in order4]
    order8 = _disjoint(rng, fields4, ORDER_8) if spec.fields >= 8 else ()
    unscaled = [spectrum(rng, len(terms), spec.decay) for terms in (pairs, order4, order8)]
    weights = (unscaled[0], unscaled[1], unscaled[2])
    return _scaled(PairTeacher(cumulative_of(marginals), pairs, tables, order4, order8, weights), spec)


def _pair_table(
    rng: np.random.Generator, left: np.ndarray, right: np.ndarray, p_left: np.ndarray, p_right: np.ndarray
) -> np.ndarray:
    """Standardized tanh of the bilinear form, for every pair of values, (V_left, V_right)."""
    form = left @ rng.standard_normal((left.shape[1], right.shape[1])) @ right.T
    joint = np.outer(p_left, p_right)
    return _standardized(np.tanh(_standardized(form, joint)), joint)


def _standardized(table: np.ndarray, probability: np.ndarray) -> np.ndarray:
    centered = table - (table * probability).sum()
    return centered / np.sqrt((centered**2 * probability).sum())


def _distinct_pairs(rng: np.random.Generator, fields: int, count: int) -> tuple[tuple[int, int], ...]:
    pairs = [(x, y) for x in range(fields) for y in range(x + 1, fields)]
    chosen = rng.permutation(len(pairs))[:count]
    return tuple(pairs[index] for index in chosen)


def _disjoint(rng: np.random.Generator, fields: list[set[int]], count: int) -> tuple[tuple[int, int], ...]:
    """Up to `count` distinct pairs of earlier terms that share no field."""
    pairs = [
        (a, b) for a in range(len(fields)) for b in range(a + 1, len(fields)) if not fields[a] & fields[b]
    ]
    chosen = rng.permutation(len(pairs))[:count]
    return tuple(pairs[index] for index in chosen)


def _scaled(draft: PairTeacher, spec: Generator) -> PairTeacher:
    values = draft.values(np.random.default_rng([spec.seed, 1]), PILOT)
    wanted = [spec.planted.get(order, 0.0) for order in ("order2", "order4", "order8")]
    scaled = [
        weights * np.sqrt(variance / part.var()) if len(weights) else weights
        for weights, variance, part in zip(draft.weights, wanted, draft.orders(values), strict=True)
    ]
    return replace(draft, weights=(scaled[0], scaled[1], scaled[2]))
