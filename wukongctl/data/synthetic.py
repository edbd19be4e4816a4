"""The embedded dataset: clicks drawn from a planted teacher whose click probabilities are known.

Independent categorical fields with Zipf marginals; the logit is a sum over interactions of 2, 4 and 8
fields. A pair is s(x, y) = standardised tanh of a bilinear form of the two fields' hidden vectors; order 4
multiplies two pairs of disjoint fields, order 8 two terms of order 4: the interactions that stacked
factorization machines build by binary exponentiation (Wukong, arXiv:2403.02545, section 3.4). Inside an
order, the variances of terms fall as a power law, so that more capacity always finds a little more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import Generator
from wukongctl.data.progress import Progress, Report, silent

PAIRS, ORDER_4, ORDER_8 = 32, 64, 32
"""Number of planted terms of each order."""
SPECTRUM = 1.3
"""The variance of the j-th term of an order is proportional to j^-SPECTRUM."""
BIAS, CLIP = -0.5, 8.0
CHUNK = 65_536
"""Rows that share one random stream: a longer dataset begins with the shorter one."""
PILOT = 1 << 16
GRID = 1 << 20
"""Probabilities are multiples of 1 / GRID, so that processors that round exp differently still agree."""


@dataclass(frozen=True)
class Teacher:
    """The planted logit. A term of order 4 (8) is the product of two earlier terms of order 2 (4)."""

    cumulative: tuple[np.ndarray, ...]
    """Per field: cumulative probabilities of its values."""
    pairs: tuple[tuple[int, int], ...]
    tables: tuple[np.ndarray, ...]
    """Per pair: s(x, y) for all values of its two fields, (V_x, V_y), mean 0 and variance 1."""
    order4: tuple[tuple[int, int], ...]
    order8: tuple[tuple[int, int], ...]
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Coefficient of each term, per order."""

    def values(self, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
        """Random field values, one array of `rows` per field."""
        return [
            np.searchsorted(cumulative, rng.random(rows), side="right").astype(np.int32)
            for cumulative in self.cumulative
        ]

    def orders(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The parts of the logit carried by interactions of 2, 4 and 8 fields, (rows,) each."""
        pairs = [
            table.ravel()[values[x] * table.shape[1] + values[y]]
            for table, (x, y) in zip(self.tables, self.pairs, strict=True)
        ]
        fours = [pairs[a] * pairs[b] for a, b in self.order4]
        parts = [_weighted(pairs, self.weights[0]), _weighted(fours, self.weights[1])]
        total = np.zeros_like(parts[0])
        for weight, (a, b) in zip(self.weights[2], self.order8, strict=True):
            total += weight * (fours[a] * fours[b])
        return [*parts, total]

    def probability(self, values: list[np.ndarray]) -> np.ndarray:
        """True click probability, (rows,)."""
        logit = np.clip(BIAS + sum(self.orders(values)), -CLIP, CLIP)
        return np.round(GRID / (1 + np.exp(-logit))) / GRID


def teacher(spec: Generator) -> Teacher:
    """The teacher that `spec.seed` plants; a pilot sample scales each order to its planned variance."""
    rng = np.random.default_rng([spec.seed, 0])
    marginals = [_zipf(size, spec.zipf) for size in _vocabulary_sizes(spec)]
    hidden = [_whitened(rng, marginal, spec.rank) for marginal in marginals]
    pairs = _distinct_pairs(rng, spec.fields, PAIRS)
    tables = tuple(_pair_table(rng, hidden[x], hidden[y], marginals[x], marginals[y]) for x, y in pairs)
    order4 = _disjoint(rng, [set(pair) for pair in pairs], ORDER_4)
    fields4 = [set(pairs[a]) | set(pairs[b]) for a, b in order4]
    order8 = _disjoint(rng, fields4, ORDER_8) if spec.fields >= 8 else ()
    unscaled = [_spectrum(rng, len(terms)) for terms in (pairs, order4, order8)]
    cumulative = tuple(np.cumsum(marginal)[:-1] for marginal in marginals)
    draft = Teacher(cumulative, pairs, tables, order4, order8, (unscaled[0], unscaled[1], unscaled[2]))
    return _scaled(draft, spec)


def chunks(spec: Generator, rows: int) -> Iterator[pa.RecordBatch]:
    """`rows` rows with the columns `label`, `c0`, `c1`, … and `p`, the true click probability."""
    planted = teacher(spec)
    names = ["label", *(f"c{field}" for field in range(spec.fields)), "p"]
    for index, start in enumerate(range(0, rows, CHUNK)):
        rng = np.random.default_rng([spec.seed, 2, index])
        values = planted.values(rng, CHUNK)
        p = planted.probability(values)
        label = (rng.random(CHUNK) < p).astype(np.int8)
        batch = pa.RecordBatch.from_arrays([pa.array(column) for column in (label, *values, p)], names)
        yield batch.slice(0, min(CHUNK, rows - start))


def write(spec: Generator, rows: int, path: Path, report: Report = silent) -> None:
    """Generate `rows` rows into a Parquet file."""
    writer: pq.ParquetWriter | None = None
    done = 0
    for batch in chunks(spec, rows):
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="lz4")
        writer.write_batch(batch)
        done += batch.num_rows
        report(Progress("generating rows", done, rows, "rows"))
    if writer is not None:
        writer.close()


def _vocabulary_sizes(spec: Generator) -> list[int]:
    sizes = np.geomspace(spec.min_values, spec.max_values, spec.fields)
    return [int(size) for size in np.round(sizes)]


def _zipf(size: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def _whitened(rng: np.random.Generator, marginal: np.ndarray, rank: int) -> np.ndarray:
    """Random vectors per value, (V, min(rank, V - 1)), with mean 0 and unit covariance under `marginal`."""
    width = min(rank, len(marginal) - 1)
    vectors = rng.standard_normal((len(marginal), width))
    vectors -= marginal @ vectors
    covariance = (vectors * marginal[:, None]).T @ vectors
    return vectors @ np.linalg.inv(np.linalg.cholesky(covariance)).T


def _pair_table(
    rng: np.random.Generator, left: np.ndarray, right: np.ndarray, p_left: np.ndarray, p_right: np.ndarray
) -> np.ndarray:
    """Standardised tanh of the bilinear form, for every pair of values, (V_left, V_right)."""
    form = left @ rng.standard_normal((left.shape[1], right.shape[1])) @ right.T
    joint = np.outer(p_left, p_right)
    return _standardized(np.tanh(_standardized(form, joint)), joint)


def _standardized(table: np.ndarray, probability: np.ndarray) -> np.ndarray:
    centred = table - (table * probability).sum()
    return centred / np.sqrt((centred**2 * probability).sum())


def _distinct_pairs(rng: np.random.Generator, fields: int, count: int) -> tuple[tuple[int, int], ...]:
    every = [(x, y) for x in range(fields) for y in range(x + 1, fields)]
    chosen = rng.permutation(len(every))[:count]
    return tuple(every[index] for index in chosen)


def _disjoint(rng: np.random.Generator, fields: list[set[int]], count: int) -> tuple[tuple[int, int], ...]:
    """Up to `count` distinct pairs of earlier terms that share no field."""
    every = [
        (a, b) for a in range(len(fields)) for b in range(a + 1, len(fields)) if not fields[a] & fields[b]
    ]
    chosen = rng.permutation(len(every))[:count]
    return tuple(every[index] for index in chosen)


def _spectrum(rng: np.random.Generator, terms: int) -> np.ndarray:
    magnitudes = np.arange(1, terms + 1, dtype=np.float64) ** (-SPECTRUM / 2)
    return magnitudes * rng.choice([-1.0, 1.0], terms)


def _scaled(draft: Teacher, spec: Generator) -> Teacher:
    values = draft.values(np.random.default_rng([spec.seed, 1]), PILOT)
    wanted = [spec.variance.get(order, 0.0) for order in ("order2", "order4", "order8")]
    scaled = [
        weights * np.sqrt(variance / part.var()) if len(weights) else weights
        for weights, variance, part in zip(draft.weights, wanted, draft.orders(values), strict=True)
    ]
    return Teacher(
        draft.cumulative,
        draft.pairs,
        draft.tables,
        draft.order4,
        draft.order8,
        (scaled[0], scaled[1], scaled[2]),
    )


def _weighted(terms: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    total = np.zeros_like(terms[0])
    for weight, term in zip(weights, terms, strict=True):
        total += weight * term
    return total
