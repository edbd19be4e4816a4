"""The teacher `anova`: products over 1 to 4 fields, with exact variance per order.

A factor of field f is a(x_f) = a · z(x_f), with a random unit vector a and hidden vectors z that are white
under the field's marginal, so it has mean 0 and variance 1. A term is the product of the factors of its
fields. Terms with different fields are uncorrelated, so the variance of an order is exactly the sum of its
squared coefficients. A term of order o extends one of order o - 1 by a field; without that, products of many
fields are as hard to learn as parity.
"""

from dataclasses import dataclass

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

TERMS = (24, 32, 32)
"""Number of planted terms of orders 2, 3 and 4; order 1 has one per field."""


@dataclass(frozen=True)
class Term:
    """The product of an earlier term (None for order 1) and a factor of one more field."""

    parent: int | None
    field: int
    factor: np.ndarray
    """(V,), by value of the field."""


@dataclass(frozen=True)
class AnovaTeacher(ZipfTeacher):
    """Terms per order, each extending a term of the order before."""

    terms: tuple[tuple[Term, ...], ...]
    weights: tuple[np.ndarray, ...]
    """Coefficient of each term, per order."""

    def orders(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The parts of the logit carried by interactions of 1, 2, 3 and 4 fields, (rows,) each."""
        parts, before = [], []
        for terms, weights in zip(self.terms, self.weights, strict=True):
            products = [_product(term, before, values) for term in terms]
            parts.append(weighted(products, weights))
            before = products
        return parts


def _product(term: Term, before: list[np.ndarray], values: list[np.ndarray]) -> np.ndarray:
    factor = term.factor[values[term.field]]
    return factor if term.parent is None else before[term.parent] * factor


def plant(spec: Generator) -> AnovaTeacher:
    """The teacher that `spec.seed` plants."""
    rng = np.random.default_rng([spec.seed, 3])
    marginals = marginals_of(spec)
    hidden = [whitened(rng, marginal, spec.rank) for marginal in marginals]
    first = tuple(Term(None, field, _factor(rng, hidden[field])) for field in range(spec.fields))
    terms, fields = [first], [frozenset({field}) for field in range(spec.fields)]
    for count in TERMS:
        extended, fields = _extended(rng, fields, hidden, count)
        terms.append(extended)
    weights = [
        _scaled(spectrum(rng, len(planted), spec.decay), spec.planted.get(f"order{order}", 0.0))
        for order, planted in enumerate(terms, start=1)
    ]
    return AnovaTeacher(cumulative_of(marginals), tuple(terms), tuple(weights))


def _factor(rng: np.random.Generator, vectors: np.ndarray) -> np.ndarray:
    direction = rng.standard_normal(vectors.shape[1])
    return vectors @ (direction / np.linalg.norm(direction))


def _extended(
    rng: np.random.Generator, fields: list[frozenset[int]], hidden: list[np.ndarray], count: int
) -> tuple[tuple[Term, ...], list[frozenset[int]]]:
    """Up to `count` terms of the next order on distinct sets of fields, and those sets."""
    parents: dict[frozenset[int], tuple[int, int]] = {}
    for step in rng.permutation(len(fields) * len(hidden)):
        parent, field = divmod(int(step), len(hidden))
        if field not in fields[parent]:
            parents.setdefault(fields[parent] | {field}, (parent, field))
    chosen = list(parents.items())[:count]
    terms = tuple(Term(parent, field, _factor(rng, hidden[field])) for _, (parent, field) in chosen)
    return terms, [support for support, _ in chosen]


def _scaled(coefficients: np.ndarray, variance: float) -> np.ndarray:
    """`coefficients` scaled so that their squares add up to `variance`."""
    return coefficients * np.sqrt(variance / np.sum(coefficients**2))
