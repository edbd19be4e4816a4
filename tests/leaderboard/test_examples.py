"""Paired differences against loops, scikit-learn, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind
from sklearn.metrics import roc_auc_score

from wukongctl.leaderboard.examples import compare
from wukongctl.training import contributions
from wukongctl.training.contributions import Contributions
from wukongctl.training.scores import Scores


def drawn(seed: int, rows: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated scores with ties, and labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.4).astype(float)
    shared = labels + rng.normal(size=rows)
    return np.round(shared + rng.normal(size=rows), 1), np.round(shared + rng.normal(size=rows), 1), labels


def auc_contributions(scores: np.ndarray, labels: np.ndarray) -> Contributions:
    found = contributions.auc_contributions(Scores(scores, labels))
    assert found is not None
    return found


def loss_contributions(losses: np.ndarray) -> Contributions:
    return Contributions((losses,), (1.0,))


def test_auc_equals_scikit_learns() -> None:
    for seed in range(5):
        scores, _, labels = drawn(seed)
        assert auc_contributions(scores, labels).value == pytest.approx(roc_auc_score(labels, scores))


def test_auc_needs_both_classes() -> None:
    assert contributions.auc_contributions(Scores(np.array([1.0, 2.0]), np.ones(2))) is None


def delong(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """DeLong's variance of AUC(first) - AUC(second) by its definition, one pair of examples at a time."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)

    def psi(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    def components(scores: np.ndarray) -> tuple[list[float], list[float]]:
        ten = [sum(psi(scores[i], scores[j]) for j in negatives) / len(negatives) for i in positives]
        one = [sum(psi(scores[i], scores[j]) for i in positives) / len(positives) for j in negatives]
        return ten, one

    (a10, a01), (b10, b01) = components(first), components(second)
    s10, s01 = np.cov(a10, b10), np.cov(a01, b01)
    covariance = s10 / len(positives) + s01 / len(negatives)
    return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


def test_one_seed_gives_delongs_paired_variance() -> None:
    for seed in range(5):
        first, second, labels = drawn(seed)
        found = compare({0: auc_contributions(first, labels)}, {0: auc_contributions(second, labels)})
        assert found.value == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second))
        assert found.sampling_variance == pytest.approx(delong(first, second, labels))
        assert found.seed_variance is None
        z = found.value / math.sqrt(found.sampling_variance)
        assert found.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))


def test_one_seed_of_losses_is_the_paired_test_of_rows() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.gamma(2, size=(2, 5000))
    found = compare({0: loss_contributions(first)}, {3: loss_contributions(second)})
    assert found.standard_error == pytest.approx((first - second).std(ddof=1) / math.sqrt(5000))
    assert found.p_value == pytest.approx(ttest_1samp(first - second, 0).pvalue, abs=1e-3)


def runs(values: dict[int, float], rows: int = 4) -> dict[int, Contributions]:
    """Runs with the same loss on every row: only seeds vary."""
    return {seed: loss_contributions(np.full(rows, value)) for seed, value in values.items()}


def test_without_variance_over_rows_it_is_the_t_test_over_seeds() -> None:
    paired = compare(runs({0: 1.0, 1: 1.3, 2: 1.5}), runs({0: 0.9, 1: 1.0, 2: 1.3}))
    oracle = ttest_1samp([0.1, 0.3, 0.2], 0)
    assert (paired.p_value, paired.df) == (pytest.approx(oracle.pvalue), 2)
    assert paired.interval() == pytest.approx(tuple(oracle.confidence_interval()))
    apart = compare(runs({0: 1.0, 1: 1.3, 2: 1.5}), runs({5: 0.9, 6: 1.0, 7: 1.3, 8: 1.1}))
    welch = ttest_ind([1.0, 1.3, 1.5], [0.9, 1.0, 1.3, 1.1], equal_var=False)
    assert (apart.p_value, apart.df) == (pytest.approx(welch.pvalue), pytest.approx(welch.df))


def test_a_single_seed_against_several_is_the_t_test_of_equal_variances() -> None:
    """It is assumed to have the variance of the other side, as in Student's test with one value."""
    several, one = {0: 1.0, 1: 1.3, 2: 1.5}, {5: 0.9}
    oracle = ttest_ind([*several.values()], [*one.values()], equal_var=True)
    for found in (compare(runs(several), runs(one)), compare(runs(one), runs(several))):
        assert (found.p_value, found.df) == (pytest.approx(oracle.pvalue), 2)


def test_more_seeds_do_not_reduce_the_variance_over_rows() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 100))
    single = compare({0: loss_contributions(first)}, {0: loss_contributions(second)})
    many = compare(
        {seed: loss_contributions(first) for seed in range(9)},
        {seed: loss_contributions(second) for seed in range(9)},
    )
    assert many.sampling_variance == pytest.approx(single.sampling_variance)
    assert many.seed_variance == 0


def test_equal_models_do_not_differ() -> None:
    found = compare(runs({0: 1.0}), runs({0: 1.0}))
    assert (found.value, found.p_value, found.interval()) == (0, 1, (0, 0))
    assert compare(runs({0: 1.0}), runs({0: 2.0})).p_value == 0


def test_intervals_cover_when_both_rows_and_seeds_vary() -> None:
    """3 seeds, 400 rows, variances of equal size: nominal 95 %."""
    rng = np.random.default_rng(2)
    trials, covered = 2000, 0
    for _ in range(trials):
        rows = rng.normal(size=400)  # difference of the models on each row, the same for all seeds
        effects = rng.normal(size=3) * math.sqrt(3 / 400)
        difference = compare(
            {seed: loss_contributions(rows + effect) for seed, effect in enumerate(effects)},
            runs(dict.fromkeys(range(3), 0.0), rows=400),
        )
        low, high = difference.interval()
        covered += low <= 0 <= high
    assert 0.935 < covered / trials < 0.985
