import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from wukongctl.training.metrics import BLOCK, auc, auc_interval, gauc, logloss_interval, measure
from wukongctl.training.streaming import StreamingScores


def sample(rows: int, seed: int, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.3).astype(np.float32)
    logits = (rng.normal(size=rows) + labels).astype(np.float32)
    return (np.round(logits) if ties else logits), labels


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_logloss_agree_with_scikit_learn(ties: bool) -> None:
    logits, labels = sample(20_000, 0, ties=ties)
    found = measure(logits, labels)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert found.auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    assert found.logloss == pytest.approx(log_loss(labels, probability), abs=1e-12)
    rate = labels.mean(dtype=np.float64)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert found.normalized_entropy == pytest.approx(found.logloss / entropy)
    assert found.calibration == pytest.approx(probability.mean() / rate)


@given(
    st.lists(
        st.tuples(st.floats(-50, 50, width=32), st.booleans()), min_size=2, max_size=40
    ).filter(lambda rows: len({label for _, label in rows}) == 2)
)  # fmt: skip
def test_auc_of_any_scores_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    positives = [score for score, label in rows if label]
    negatives = [score for score, label in rows if not label]
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    scores = np.array([score for score, _ in rows], dtype=np.float32)
    labels = np.array([label for _, label in rows], dtype=np.float32)
    assert auc(scores, labels) == pytest.approx(wins / (len(positives) * len(negatives)), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_gauc_is_the_weighted_mean_of_scikit_learns_auc(ties: bool) -> None:
    logits, labels = sample(3000, 5, ties=ties)
    groups = np.random.default_rng(6).integers(0, 400, 3000).astype(np.int32)
    total = weight = 0.0
    for group in np.unique(groups):
        inside = groups == group
        if 0 < labels[inside].mean() < 1:
            total += inside.sum() * roc_auc_score(labels[inside], logits[inside])
            weight += inside.sum()
    assert gauc(logits, labels, groups) == pytest.approx(total / weight, abs=1e-12)
    assert gauc(logits, np.ones_like(labels), groups) is None
    assert gauc(logits, labels, np.zeros_like(groups)) == pytest.approx(
        roc_auc_score(labels, logits), abs=1e-12
    )


@pytest.mark.parametrize(("bins", "spread"), [(100, 1.0), (100_000, 1.0), (100_000, 1e-3), (10, 0.0)])
def test_the_streaming_auc_is_within_its_bound(bins: int, spread: float) -> None:
    logits, labels = sample(30_000, 7)
    logits = logits * np.float32(spread)
    found = streamed(logits, labels, bins=bins).measure()
    assert found.auc is not None
    assert found.auc_error_bound is not None
    error = abs(found.auc - roc_auc_score(labels, logits))
    assert error <= found.auc_error_bound + 1e-12
    assert found.auc_error_bound <= 0.5
    if bins == 100_000 and spread == 1.0:
        assert found.auc_error_bound < 1e-4
        assert error < 1e-6


def streamed(
    logits: np.ndarray, labels: np.ndarray, probability: np.ndarray | None = None, *, bins: int = 100_000
) -> StreamingScores:
    sums = StreamingScores(bins)
    for start in range(0, len(logits), 7_000):
        part = slice(start, start + 7_000)
        sums.add(logits[part], labels[part], None if probability is None else probability[part])
    return sums


def test_streamed_metrics_are_those_of_all_scores() -> None:
    logits, labels = sample(20_000, 8)
    probability = np.random.default_rng(9).random(20_000).astype(np.float32)
    sums, exact = streamed(logits, labels, probability), measure(logits, labels, probability)
    found = sums.measure().to_dict()
    assert 0 < found.pop("auc_error_bound") < 1e-3
    assert found == pytest.approx(exact.to_dict(), abs=1e-6)
    assert found["logloss"] == pytest.approx(exact.logloss, rel=1e-12)
    assert sums.auc_interval() == pytest.approx(auc_interval(logits, labels), abs=1e-6)
    assert sums.logloss_interval() == pytest.approx(logloss_interval(logits, labels), rel=1e-12)


def test_streamed_scores_may_be_anything_and_of_one_class() -> None:
    extreme = streamed(np.array([-1e30, 1e30], np.float32), np.array([0, 1], np.float32))
    assert extreme.measure().auc == 1.0
    one_class = streamed(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert one_class.measure() == measure(np.zeros(3, np.float32), np.ones(3, np.float32))
    with pytest.raises(ValueError, match="both classes"):
        one_class.auc_interval()


@pytest.mark.parametrize("distinct", [1, 3, 200_000])
def test_ties_that_span_blocks_are_counted_once(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    labels = (rng.random(3 * BLOCK) < 0.3).astype(np.float32)
    scores = rng.integers(0, distinct, len(labels)).astype(np.float32) + labels * (distinct > 1)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_extreme_logits_stay_finite() -> None:
    found = measure(np.array([500.0, -500.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32))
    assert found.logloss == pytest.approx(500.0)


def test_one_class_has_no_auc() -> None:
    found = measure(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert found.auc is None
    assert found.normalized_entropy is None
    assert found.calibration == pytest.approx(0.5)
    with pytest.raises(ValueError, match="both classes"):
        auc(np.zeros(3, np.float32), np.ones(3, np.float32))


def test_excess_logloss_is_the_kl_divergence() -> None:
    p = np.array([0.2, 0.7, 0.0, 1.0], dtype=np.float32)
    q = np.array([0.3, 0.7, 0.1, 0.9])
    logits = np.log(q / (1 - q)).astype(np.float32)
    expected = np.mean([
        0.2 * np.log(0.2 / 0.3) + 0.8 * np.log(0.8 / 0.7), 0.0, -np.log(0.9), -np.log(0.9),
    ])  # fmt: skip
    found = measure(logits, np.array([0, 1, 0, 1], dtype=np.float32), p)
    assert found.excess_logloss == pytest.approx(expected, abs=1e-6)


def test_the_auc_interval_is_delongs() -> None:
    """Variance from the full matrix of pairs, which the code never builds (doi:10.2307/2531595)."""
    scores, labels = sample(300, 3, ties=True)
    positives, negatives = scores[labels == 1], scores[labels == 0]
    kernel = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    variance = kernel.mean(1).var(ddof=1) / len(positives) + kernel.mean(0).var(ddof=1) / len(negatives)
    low, high = auc_interval(scores, labels)
    assert (low + high) / 2 == pytest.approx(kernel.mean(), abs=1e-12)
    assert high - low == pytest.approx(2 * 1.959963985 * variance**0.5, rel=1e-8)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth_logits, truth_labels = sample(400_000, 99)
    true_auc = roc_auc_score(truth_labels, truth_logits)
    true_loss = measure(truth_logits, truth_labels).logloss
    hits = np.zeros(2)
    for seed in range(300):
        logits, labels = sample(500, seed)
        for index, ((low, high), truth) in enumerate([
            (auc_interval(logits, labels), true_auc), (logloss_interval(logits, labels), true_loss),
        ]):  # fmt: skip
            hits[index] += low <= truth <= high
    assert np.all(np.abs(hits / 300 - 0.95) < 0.04)
