"""The teacher `spectrum`: terms of mixed order on one basis per field, with a power law of variances.

Field f has functions e_f1, …, e_fR of its value, with mean 0, variance 1 and no correlation under the field's
marginal. Fields are independent, so a product Π_{f ∈ S} e_fr has mean 0 and variance 1, and two products that
differ in S or r are uncorrelated. The logit repeats one pattern of field sets S on every component r:

    logit = bias + Σ_r σ_r Σ_S c_S Π_{f ∈ S} e_fr(x_f),    Σ_S c_S² = planted variance,
    σ_r² = r^-(1 + α) / Σ_s s^-(1 + α).

A student with the first n components leaves the variance Σ_{r > n} σ_r² ~ n^-α, at a cost linear in n. No
student that is linear in n numbers per value of a field leaves less of a term of that field: unfolded by the
field, the term is a matrix with singular values proportional to σ_r (Eckart and Young).

The sets lie on a circle of fields in random order: all pairs at most four steps apart, which of nine fields
are all there are, and every second window of 3 neighbors, every fourth of 4, and so on. So a set of order o
contains one of order o - 1; without that, products of many fields would be as hard to learn as parity.
Numeric columns are fields too: their functions are cosines.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from wukongctl.config.generator import Generator
from wukongctl.data.synthetic.planting import DRAWS, Teacher, apportioned, marginals_of, whitened

REACH = 4
"""Steps on the circle between the fields of a pair, at most."""
LEVELS = 1024
"""A numeric column has the values (k + 1/2) / LEVELS, equally likely."""
TAIL_ROWS = 256
"""Rows whose products over all components are in memory together: more leave the cache."""
STEP = 1 << 16
"""Basis functions are multiples of 1 / STEP, so that CPUs that round differently agree."""


class Chain(NamedTuple):
    """Terms of order 3 and up that extend each other by a field."""

    fields: tuple[int, ...]
    weights: tuple[float, ...]
    """c_S of the first 3, 4, … fields."""


@dataclass(frozen=True)
class SpectrumTeacher(Teacher):
    """One pattern of interactions, repeated on every component."""

    lookup: tuple[np.ndarray, ...]
    """Value of each field by 16 random bits, (DRAWS,): its probability is a multiple of 1 / DRAWS."""
    bases: tuple[np.ndarray, ...]
    """e_fr(x) of each field, (V, R) float32."""
    scales: np.ndarray
    """σ_r, (R,)."""
    pairs: tuple[tuple[int, int], ...]
    pair_weight: float
    windows: tuple[Chain, ...]
    tables: tuple[np.ndarray, ...]
    """c_S Σ_r σ_r e_xr e_yr of each pair (x, y), (V_x, V_y)."""

    def values(self, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
        """Random field values, one array of `rows` per field."""
        return [lookup[rng.integers(0, DRAWS, rows, np.uint16)] for lookup in self.lookup]

    def ideal(self, field: int) -> np.ndarray:
        """Values of a field as frequent as they should be, (DRAWS,)."""
        return self.lookup[field]

    def planted(self, values: list[np.ndarray]) -> np.ndarray:
        """The logit without its bias, (rows,)."""
        places = [column.astype(np.intp) for column in values]  # what NumPy would convert them to each time
        total = np.zeros(len(places[0]))
        for table, (x, y) in zip(self.tables, self.pairs, strict=True):
            total += table.ravel().take(places[x] * table.shape[1] + places[y])
        for start in range(0, len(total) if self.windows else 0, TAIL_ROWS):
            rows = slice(start, start + TAIL_ROWS)
            tails = self._tails([column[rows] for column in places])
            total[rows] += np.einsum("nr,r->n", tails, self.scales)
        return total

    def truncated(self, components: int) -> "SpectrumTeacher":
        """The best student of so many components."""
        bases = tuple(np.ascontiguousarray(basis[:, :components]) for basis in self.bases)
        return _with_tables(replace(self, bases=bases, scales=self.scales[:components]))

    def _tails(self, values: list[np.ndarray]) -> np.ndarray:
        """Σ_S c_S Π_{f ∈ S} e_fr over all sets of three fields and more, (rows, R)."""
        rows = {
            field: self.bases[field].take(values[field], axis=0)
            for field in {field for window in self.windows for field in window.fields}
        }
        tails = [_nested(window, rows) for window in self.windows]
        for tail in tails[1:]:
            tails[0] += tail
        return tails[0]


def _nested(window: Chain, rows: dict[int, np.ndarray]) -> np.ndarray:
    """e_1 e_2 e_3 (c_3 + e_4 (c_4 + …)), by Horner's rule, in float32 operations that CPUs agree on."""
    *first, last = (rows[field] for field in window.fields)
    *weights, highest = window.weights
    nested = last * np.float32(highest)
    for position in reversed(range(len(first))):
        if position >= 2 and weights[position - 2]:
            nested += np.float32(weights[position - 2])
        nested *= first[position]
    return nested


def plant(spec: Generator) -> SpectrumTeacher:
    """The teacher that `spec.seed` plants."""
    rng = np.random.default_rng([spec.seed, 4])
    counts = [apportioned(marginal) for marginal in marginals_of(spec)]
    bases = [whitened(rng, count / DRAWS, spec.rank) for count in counts]
    counts += [np.full(LEVELS, DRAWS // LEVELS)] * spec.numeric
    bases += [_cosines(spec.rank)] * spec.numeric
    circle = [int(field) for field in rng.permutation(len(counts))]
    pairs = _pairs(circle)
    variances = np.arange(1, spec.rank + 1, dtype=np.float64) ** -(1 + spec.decay)
    teacher = SpectrumTeacher(
        lookup=tuple(np.repeat(np.arange(len(count), dtype=np.int16), count) for count in counts),
        bases=tuple((np.round(basis * STEP) / STEP).astype(np.float32) for basis in bases),
        scales=np.sqrt(variances / variances.sum()),
        pairs=pairs,
        pair_weight=_weight(spec, 2, len(pairs)),
        windows=tuple(_windows(spec, circle)),
        tables=(),
    )
    return _with_tables(teacher)


def numbers(levels: np.ndarray) -> np.ndarray:
    """The values of a numeric column, (rows,) float32."""
    return ((levels + 0.5) / LEVELS).astype(np.float32)


def _with_tables(teacher: SpectrumTeacher) -> SpectrumTeacher:
    scaled = teacher.pair_weight * teacher.scales
    tables = tuple((teacher.bases[x] * scaled) @ teacher.bases[y].T for x, y in teacher.pairs)
    return replace(teacher, tables=tables)


def _pairs(circle: list[int]) -> tuple[tuple[int, int], ...]:
    """The fields of each pair."""
    near = [
        (circle[i], circle[j])
        for i in range(len(circle))
        for j in range(i + 1, len(circle))
        if min(j - i, len(circle) - (j - i)) <= REACH
    ]
    return tuple(near)


def _weight(spec: Generator, order: int, terms: int) -> float:
    """c_S of each of the `terms` sets of an order."""
    return float(np.sqrt(spec.planted.get(f"order{order}", 0.0) / terms))


def _windows(spec: Generator, circle: list[int]) -> Iterator[Chain]:
    """The sets of three fields and more, at each start the longest with all it extends."""
    starts = {order: range(0, len(circle), 1 << (order - 2)) for order in range(3, 9)}
    for start in starts[3]:
        weights = [
            _weight(spec, order, len(places)) if start in places else 0.0 for order, places in starts.items()
        ]
        longest = max((order for order, weight in zip(starts, weights, strict=True) if weight), default=0)
        if longest:
            fields = (circle + circle)[start : start + longest]
            yield Chain(tuple(fields), tuple(weights[: longest - 2]))


def _cosines(rank: int) -> np.ndarray:
    """√2 cos(π r q) at the levels q of a numeric column, orthonormal on them, (LEVELS, R)."""
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    return np.sqrt(2) * np.cos(np.pi * np.outer(levels, np.arange(1, rank + 1)))
