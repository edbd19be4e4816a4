"""The planted teacher: what it promises about itself, checked by brute force."""

import hashlib
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from wukongctl.config.generator import Generator
from wukongctl.data.pipeline.writer import entropy
from wukongctl.data.synthetic import anova_teacher, generate, pair_teacher
from wukongctl.data.synthetic.planting import BIAS

SMALL = Generator(rows=10, seed=3, fields=8, min_values=3, max_values=6, rank=2)
ANOVA = SMALL.model_copy(update={"teacher": "anova"})


def test_a_longer_dataset_begins_with_the_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "CHUNK", 100)
    short = pa.Table.from_batches(generate.chunks(SMALL, 130))
    long = pa.Table.from_batches(generate.chunks(SMALL, 450))
    assert short.num_rows == 130
    assert long.slice(0, 130).equals(short)


@pytest.mark.parametrize("threads", [2, 5, None])
def test_threads_draw_the_same_rows_in_order(monkeypatch: pytest.MonkeyPatch, threads: int | None) -> None:
    monkeypatch.setattr(generate, "CHUNK", 16)
    one = pa.Table.from_batches(generate.chunks(SMALL, 450, 33))
    assert pa.Table.from_batches(generate.chunks(SMALL, 450, 33, threads)).equals(one)
    assert one.num_rows == 417


def test_seeds_differ() -> None:
    first = pa.Table.from_batches(generate.chunks(SMALL, 50))
    other = pa.Table.from_batches(generate.chunks(SMALL.model_copy(update={"seed": 4}), 50))
    assert not first.equals(other)


def test_probability_is_that_of_the_planted_sum_of_products() -> None:
    """One row at a time, from the teacher's tables, with no array arithmetic."""
    planted = pair_teacher.plant(SMALL)
    rows = pa.Table.from_batches(generate.chunks(SMALL, 40)).to_pylist()
    for row in rows:
        pairs = [
            float(table[row[f"c{x}"], row[f"c{y}"]])
            for table, (x, y) in zip(planted.tables, planted.pairs, strict=True)
        ]
        fours = [pairs[a] * pairs[b] for a, b in planted.order4]
        logit = BIAS + sum(w * s for w, s in zip(planted.weights[0], pairs, strict=True))
        logit += sum(w * s for w, s in zip(planted.weights[1], fours, strict=True))
        logit += sum(
            w * fours[a] * fours[b] for w, (a, b) in zip(planted.weights[2], planted.order8, strict=True)
        )
        assert row["p"] == pytest.approx(1 / (1 + math.exp(-max(min(logit, 8), -8))), abs=1e-6)


def test_terms_of_order_4_and_8_join_disjoint_fields() -> None:
    planted = pair_teacher.plant(Generator(rows=1))
    pairs = [set(pair) for pair in planted.pairs]
    fours = [pairs[a] | pairs[b] for a, b in planted.order4]
    assert (len(planted.pairs), len(fours)) == (32, 64)
    assert all(len(fields) == 4 for fields in fours)
    assert all(len(fours[a] | fours[b]) == 8 for a, b in planted.order8)
    for terms in (planted.pairs, planted.order4, planted.order8):
        assert len(set(terms)) == len(terms) > 0


def test_pair_tables_are_standardized_under_the_zipf_marginals() -> None:
    planted = pair_teacher.plant(SMALL)
    for table, (x, y) in zip(planted.tables, planted.pairs, strict=True):
        p = [1 / (v + 1) ** SMALL.zipf for v in range(table.shape[0])]
        q = [1 / (v + 1) ** SMALL.zipf for v in range(table.shape[1])]
        joint = {
            (i, j): p[i] * q[j] / sum(p) / sum(q) for i, j in itertools.product(range(len(p)), range(len(q)))
        }
        mean = sum(weight * table[at] for at, weight in joint.items())
        variance = sum(weight * table[at] ** 2 for at, weight in joint.items()) - mean**2
        assert mean == pytest.approx(0, abs=1e-9)
        assert variance == pytest.approx(1, rel=1e-9)
        assert (x, y) in planted.pairs


def test_values_are_zipf_distributed() -> None:
    table = pa.Table.from_batches(generate.chunks(SMALL, 60_000))
    for field in range(SMALL.fields):
        counts = np.bincount(table[f"c{field}"].to_numpy())
        shares = np.arange(1, len(counts) + 1.0) ** -SMALL.zipf
        shares /= shares.sum()
        error = np.abs(counts / counts.sum() - shares) / np.sqrt(shares * (1 - shares) / counts.sum())
        assert error.max() < 5  # standard errors


def test_variance_per_order_is_as_requested() -> None:
    spec = Generator(rows=1, variance={"order2": 5.0, "order4": 2.0, "order8": 1.0})
    planted = pair_teacher.plant(spec)
    parts = planted.orders(planted.values(np.random.default_rng(99), 300_000))
    assert [part.var() for part in parts] == pytest.approx([5.0, 2.0, 1.0], rel=0.06)


def test_labels_follow_the_probability_and_the_bayes_loss_is_reached() -> None:
    table = pa.Table.from_batches(generate.chunks(SMALL, 200_000))
    p, label = table["p"].to_numpy(), table["label"].to_numpy()
    for low in np.arange(0, 1, 0.1):
        inside = (p >= low) & (p < low + 0.1)
        error = abs(label[inside].mean() - p[inside].mean()) / math.sqrt(0.25 / inside.sum())
        assert error < 5
    loss = -np.where(label == 1, np.log(p), np.log1p(-p))
    assert abs(loss.mean() - entropy(p) / len(p)) < 5 * loss.std() / math.sqrt(len(p))


def test_orders_can_be_switched_off() -> None:
    spec = Generator(rows=1, fields=4, variance={"order2": 1.0})
    planted = pair_teacher.plant(spec)
    two, four, eight = planted.orders(planted.values(np.random.default_rng(0), 1000))
    assert planted.order8 == ()
    assert two.var() > 0.5
    assert four.any() == eight.any() == False  # noqa: E712


def test_anova_probability_is_that_of_the_planted_products() -> None:
    """One row at a time, every term multiplied out from its own chain of fields."""
    planted = anova_teacher.plant(ANOVA)

    def product(order: int, index: int, row: dict[str, int]) -> float:
        term = planted.terms[order][index]
        own = float(term.factor[row[f"c{term.field}"]])
        return own if term.parent is None else own * product(order - 1, term.parent, row)

    for row in pa.Table.from_batches(generate.chunks(ANOVA, 40)).to_pylist():
        logit = BIAS + sum(
            float(weight) * product(order, index, row)
            for order, weights in enumerate(planted.weights)
            for index, weight in enumerate(weights)
        )
        assert row["p"] == pytest.approx(1 / (1 + math.exp(-max(min(logit, 8), -8))), abs=1e-6)


def test_anova_terms_have_distinct_fields_and_extend_each_other() -> None:
    planted = anova_teacher.plant(Generator(rows=1, teacher="anova"))
    supports = [frozenset({term.field}) for term in planted.terms[0]]
    assert len(supports) == 12
    for terms, size in zip(planted.terms[1:], (2, 3, 4), strict=True):
        supports = [supports[term.parent] | {term.field} for term in terms if term.parent is not None]
        assert len(supports) == len(terms) == len(set(supports))
        assert {len(support) for support in supports} == {size}


def test_anova_variance_per_order_is_exact_and_orders_are_uncorrelated() -> None:
    """All value combinations of a small teacher, weighted by their probabilities: no sampling error."""
    spec = Generator(
        rows=1, fields=4, min_values=3, max_values=4, rank=2, teacher="anova",
        variance={"order1": 1.0, "order2": 2.0, "order3": 0.5, "order4": 0.25},
    )  # fmt: skip
    planted = anova_teacher.plant(spec)
    marginals = [np.diff(cumulative, prepend=0, append=1) for cumulative in planted.cumulative]
    grid = np.array(list(itertools.product(*(range(len(marginal)) for marginal in marginals))))
    weight = np.prod([marginals[field][grid[:, field]] for field in range(4)], axis=0)
    parts = np.array(planted.orders(list(grid.T)))
    assert parts @ weight == pytest.approx(np.zeros(4), abs=1e-12)
    assert (parts * weight) @ parts.T == pytest.approx(np.diag([1.0, 2.0, 0.5, 0.25]), abs=1e-12)


def test_a_steeper_spectrum_puts_more_variance_into_the_first_terms() -> None:
    share = []
    for alpha in (0.0, 2.0):
        weights = pair_teacher.plant(SMALL.model_copy(update={"alpha": alpha})).weights[0]
        share.append(float(weights[0] ** 2 / np.sum(weights**2)))
    assert share[0] < 0.3
    assert share[1] > 0.8


def test_the_data_of_a_seed_never_change() -> None:
    """Prepared datasets and published results depend on it."""
    table = pa.Table.from_batches(generate.chunks(Generator(rows=1000, seed=1), 1000))
    digest = hashlib.sha256(b"".join(column.to_numpy().tobytes() for column in table.columns))
    assert digest.hexdigest()[:16] == "6c1fbffab93a4402"


def test_memory_does_not_grow_with_the_rows() -> None:
    batches = generate.chunks(Generator(rows=1), 10**12)
    assert next(batches).num_rows == next(batches).num_rows == generate.CHUNK
