"""The teacher `spectrum`: its law by brute force, and students that obey it."""

import hashlib
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from wukongctl.config.generator import Generator, Order
from wukongctl.data.synthetic import generate, spectrum_teacher
from wukongctl.data.synthetic.planting import BIAS
from wukongctl.data.synthetic.spectrum_teacher import DRAWS, SpectrumTeacher, plant

VARIANCE: dict[Order, float] = {"order2": 1.0, "order3": 0.5, "order4": 0.25}
SMALL = Generator(
    rows=1, seed=3, teacher="spectrum", fields=4, numeric=1, min_values=4, max_values=6, rank=3,
    variance=VARIANCE,
)  # fmt: skip
EIGHT = Generator(rows=1, teacher="spectrum", fields=8, min_values=5, max_values=9, rank=4)


def sets(teacher: SpectrumTeacher) -> list[tuple[tuple[int, ...], float]]:
    """Every planted set of fields with its weight."""
    found = [(pair, teacher.pair_weight) for pair in teacher.pairs]
    for fields, weights in teacher.windows:
        found += [(fields[:order], weight) for order, weight in enumerate(weights, 3) if weight]
    return found


def logit(teacher: SpectrumTeacher, values: list[int]) -> float:
    """The planted logit of one row, every product multiplied out."""
    return BIAS + sum(
        float(scale) * weight * math.prod(float(teacher.bases[field][values[field], r]) for field in fields)
        for r, scale in enumerate(teacher.scales)
        for fields, weight in sets(teacher)
    )


@pytest.mark.parametrize("spec", [SMALL, EIGHT])
def test_probability_is_that_of_the_planted_products(spec: Generator) -> None:
    planted = plant(spec)
    for row in pa.Table.from_batches(generate.chunks(spec, 20)).to_pylist():
        values = [row[f"c{field}"] for field in range(spec.fields)]
        values += [int(row[f"n{field}"] * spectrum_teacher.LEVELS) for field in range(spec.numeric)]
        expected = 1 / (1 + math.exp(-max(min(logit(planted, values), 8), -8)))
        assert row["p"] == pytest.approx(expected, abs=2e-6)


def test_functions_of_a_field_are_orthonormal_under_its_marginal() -> None:
    planted = plant(SMALL)
    for lookup, basis in zip(planted.lookup, planted.bases, strict=True):
        share = np.bincount(lookup) / DRAWS
        assert len(share) == len(basis)
        assert share @ basis == pytest.approx(np.zeros(3), abs=1e-4)
        assert (basis.T * share) @ basis == pytest.approx(np.eye(3), abs=1e-4)


def test_terms_are_uncorrelated_and_carry_the_planted_variances() -> None:
    """Over all combinations of values, weighted by their probabilities: no sampling error."""
    spec = SMALL.model_copy(update={"numeric": 0})
    planted = plant(spec)
    shares = [np.bincount(lookup) / DRAWS for lookup in planted.lookup]
    grid = np.array(list(itertools.product(*(range(len(share)) for share in shares))))
    probability = np.prod([shares[field][grid[:, field]] for field in range(4)], axis=0)
    terms, variances = [], []
    for fields, weight in sets(planted):
        product = np.prod([planted.bases[field][grid[:, field]] for field in fields], axis=0)
        terms += list((product * planted.scales * weight).T)
        share = VARIANCE[f"order{len(fields)}"] / sum(len(other) == len(fields) for other, _ in sets(planted))
        variances += list(share * planted.scales**2)
    parts = np.array(terms)
    assert parts @ probability == pytest.approx(np.zeros(len(parts)), abs=1e-4)
    assert (parts * probability) @ parts.T == pytest.approx(np.diag(variances), abs=1e-4)
    assert sum(variances) == pytest.approx(1.75)


def test_every_set_extends_one_of_the_order_below() -> None:
    planted = plant(EIGHT)
    found = {frozenset(fields) for fields, _ in sets(planted)}
    assert len(found) == len(sets(planted))
    assert [sum(len(fields) == order for fields in found) for order in range(2, 9)] == [28, 4, 2, 1, 1, 1, 1]
    for fields in found:
        assert len(fields) == 2 or any(fields - {field} in found for field in fields)


def test_variances_of_components_fall_as_a_power() -> None:
    scales = plant(EIGHT.model_copy(update={"alpha": 0.7})).scales
    assert (scales**2).sum() == pytest.approx(1)
    assert scales**2 / scales[0] ** 2 == pytest.approx([r**-1.7 for r in range(1, 5)])


def test_numeric_columns_are_uniform() -> None:
    column = pa.Table.from_batches(generate.chunks(SMALL, 60_000))["n0"].to_numpy()
    assert column.dtype == np.float32
    assert np.histogram(column, 10, (0, 1))[0] == pytest.approx(np.full(10, 6000), rel=0.06)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    return -float(np.polyfit(np.log(x), np.log(y), 1)[0])


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


LAW = Generator(
    rows=1, teacher="spectrum", fields=4, min_values=260, max_values=260, rank=256, variance={"order2": 1.0}
)  # fmt: skip


def test_excess_of_students_falls_with_the_planted_exponent() -> None:
    """A student of n components leaves ½ E[p (1 - p)] Σ_{r > n} σ_r², about n^-1."""
    planted = plant(LAW)
    values = planted.values(np.random.default_rng(0), 20_000)
    p = planted.probability(values)
    sizes = np.array([2, 4, 8, 16, 32])
    excess = np.array([kl(p, planted.truncated(int(n)).probability(values)) for n in sizes])
    left = np.array([1 - (planted.scales[:n] ** 2).sum() for n in sizes])
    assert excess == pytest.approx(0.5 * np.mean(p * (1 - p)) * left, rel=0.1)
    assert slope(sizes + 0.5, excess) == pytest.approx(1.0, abs=0.12)


def test_excess_falls_with_the_data_as_theory_says() -> None:
    """Fitting coefficients costs n / 2N: the best n grows as N^(1 / (1 + α)), excess as N^-(α / (1 + α))."""
    planted, rng = plant(LAW), np.random.default_rng(1)
    values = planted.values(rng, 36_000)
    p = planted.probability(values)
    features = np.stack(
        [
            sum(planted.bases[x][values[x], r] * planted.bases[y][values[y], r] for x, y in planted.pairs)
            for r in range(64)
        ],
        axis=1,
    ).astype(np.float64)
    features = np.hstack([np.ones((len(p), 1)), features])
    label = rng.random(len(p)) < p
    test = slice(16_000, None)
    counts = np.array([250, 1_000, 4_000, 16_000])
    best = [
        min(
            kl(p[test], _fitted(features[:rows, : n + 1], label[:rows], features[test, : n + 1]))
            for n in (1, 2, 4, 8, 16, 32, 64)
            if n < rows / 8
        )
        for rows in counts
    ]
    assert slope(counts, np.array(best)) == pytest.approx(0.5, abs=0.1)


def _fitted(x: np.ndarray, label: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Predictions for `new` of the logistic regression of `label` on `x`, by Newton's method."""
    w = np.zeros(x.shape[1])
    for _ in range(6):
        q = 1 / (1 + np.exp(-x @ w))
        w += np.linalg.solve((x.T * (q * (1 - q))) @ x, x.T @ (label - q))
    return 1 / (1 + np.exp(-new @ w))


def test_the_data_of_a_seed_never_change() -> None:
    table = pa.Table.from_batches(generate.chunks(EIGHT.model_copy(update={"numeric": 1}), 1000))
    digest = hashlib.sha256(b"".join(column.to_numpy().tobytes() for column in table.columns))
    assert digest.hexdigest()[:16] == "87809f8437ea749c"
