"""The planted teacher: what it promises about itself, checked by brute force."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from wukongctl.config.dataset import Generator
from wukongctl.data import synthetic
from wukongctl.data.writer import entropy

SMALL = Generator(rows=10, seed=3, fields=8, min_values=3, max_values=6, rank=2)


def test_a_longer_dataset_begins_with_the_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "CHUNK", 100)
    short = pa.Table.from_batches(synthetic.chunks(SMALL, 130))
    long = pa.Table.from_batches(synthetic.chunks(SMALL, 450))
    assert short.num_rows == 130
    assert long.slice(0, 130).equals(short)


def test_seeds_differ() -> None:
    first = pa.Table.from_batches(synthetic.chunks(SMALL, 50))
    other = pa.Table.from_batches(synthetic.chunks(SMALL.model_copy(update={"seed": 4}), 50))
    assert not first.equals(other)


def test_probability_is_that_of_the_planted_sum_of_products() -> None:
    """One row at a time, from the teacher's tables, with no array arithmetic."""
    planted = synthetic.teacher(SMALL)
    rows = pa.Table.from_batches(synthetic.chunks(SMALL, 40)).to_pylist()
    for row in rows:
        pairs = [
            float(table[row[f"c{x}"], row[f"c{y}"]])
            for table, (x, y) in zip(planted.tables, planted.pairs, strict=True)
        ]
        fours = [pairs[a] * pairs[b] for a, b in planted.order4]
        logit = synthetic.BIAS + sum(w * s for w, s in zip(planted.weights[0], pairs, strict=True))
        logit += sum(w * s for w, s in zip(planted.weights[1], fours, strict=True))
        logit += sum(
            w * fours[a] * fours[b] for w, (a, b) in zip(planted.weights[2], planted.order8, strict=True)
        )
        assert row["p"] == pytest.approx(1 / (1 + math.exp(-max(min(logit, 8), -8))), abs=1e-6)


def test_terms_of_order_4_and_8_join_disjoint_fields() -> None:
    planted = synthetic.teacher(Generator(rows=1))
    pairs = [set(pair) for pair in planted.pairs]
    fours = [pairs[a] | pairs[b] for a, b in planted.order4]
    assert (len(planted.pairs), len(fours)) == (32, 64)
    assert all(len(fields) == 4 for fields in fours)
    assert all(len(fours[a] | fours[b]) == 8 for a, b in planted.order8)
    for terms in (planted.pairs, planted.order4, planted.order8):
        assert len(set(terms)) == len(terms) > 0


def test_pair_tables_are_standardized_under_the_zipf_marginals() -> None:
    planted = synthetic.teacher(SMALL)
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
    table = pa.Table.from_batches(synthetic.chunks(SMALL, 60_000))
    for field in range(SMALL.fields):
        counts = np.bincount(table[f"c{field}"].to_numpy())
        shares = np.arange(1, len(counts) + 1.0) ** -SMALL.zipf
        shares /= shares.sum()
        error = np.abs(counts / counts.sum() - shares) / np.sqrt(shares * (1 - shares) / counts.sum())
        assert error.max() < 5  # standard errors


def test_variance_per_order_is_the_one_asked_for() -> None:
    spec = Generator(rows=1, variance={"order2": 5.0, "order4": 2.0, "order8": 1.0})
    planted = synthetic.teacher(spec)
    parts = planted.orders(planted.values(np.random.default_rng(99), 300_000))
    assert [part.var() for part in parts] == pytest.approx([5.0, 2.0, 1.0], rel=0.06)


def test_labels_follow_the_probability_and_the_bayes_loss_is_reached() -> None:
    table = pa.Table.from_batches(synthetic.chunks(SMALL, 200_000))
    p, label = table["p"].to_numpy(), table["label"].to_numpy()
    for low in np.arange(0, 1, 0.1):
        inside = (p >= low) & (p < low + 0.1)
        error = abs(label[inside].mean() - p[inside].mean()) / math.sqrt(0.25 / inside.sum())
        assert error < 5
    loss = -np.where(label == 1, np.log(p), np.log1p(-p))
    assert abs(loss.mean() - entropy(p) / len(p)) < 5 * loss.std() / math.sqrt(len(p))


def test_orders_can_be_switched_off() -> None:
    spec = Generator(rows=1, fields=4, variance={"order2": 1.0})
    planted = synthetic.teacher(spec)
    two, four, eight = planted.orders(planted.values(np.random.default_rng(0), 1000))
    assert planted.order8 == ()
    assert two.var() > 0.5
    assert four.any() == eight.any() == False  # noqa: E712
