import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from wukongctl.training import metrics
from wukongctl.training.auc import BLOCK, auc, gauc, group_areas, placements
from wukongctl.training.contributions import gauc_contributions
from wukongctl.training.metrics import AUC, COMPARED, LOGLOSS, METRICS, Metric, summed
from wukongctl.training.run_record import SplitMetrics
from wukongctl.training.scores import Scores, losses
from wukongctl.training.streaming import StreamingScores


def measure(logits: np.ndarray, labels: np.ndarray, probability: np.ndarray | None = None) -> SplitMetrics:
    return metrics.measure(Scores(logits, labels, probability))


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
    assert found["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    assert found["logloss"] == pytest.approx(log_loss(labels, probability), abs=1e-12)
    rate = labels.mean(dtype=np.float64)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert found["normalized_entropy"] == pytest.approx(found["logloss"] / entropy)
    assert found["calibration"] == pytest.approx(probability.mean() / rate)


@given(
    st.lists(
        st.tuples(st.floats(-50, 50, width=32), st.booleans()), min_size=2, max_size=40
    ).filter(lambda rows: len({label for _, label in rows}) == 2)
)  # fmt: skip
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[float, bool]]) -> None:
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
    found = metrics.measure(streamed(logits, labels, bins=bins))
    error = abs(found["auc"] - roc_auc_score(labels, logits))
    assert error <= found["auc_error_bound"] + 1e-12
    assert found["auc_error_bound"] <= 0.5
    if bins == 100_000 and spread == 1.0:
        assert found["auc_error_bound"] < 1e-4
        assert error < 1e-6


def streamed(
    logits: np.ndarray, labels: np.ndarray, probability: np.ndarray | None = None, *, bins: int = 100_000
) -> StreamingScores:
    known = probability is not None
    sums = StreamingScores(summed(has_probability=known), has_probability=known, bins=bins)
    for start in range(0, len(logits), 7_000):
        part = slice(start, start + 7_000)
        sums.add(logits[part], labels[part], None if probability is None else probability[part])
    return sums


def test_streamed_metrics_are_those_of_all_scores() -> None:
    logits, labels = sample(20_000, 8)
    probability = np.random.default_rng(9).random(20_000).astype(np.float32)
    sums, exact = streamed(logits, labels, probability), measure(logits, labels, probability)
    found = metrics.measure(sums)
    assert 0 < found.pop("auc_error_bound") < 1e-3
    assert found == pytest.approx(exact, abs=1e-6)
    assert found["logloss"] == pytest.approx(exact["logloss"], rel=1e-12)
    everything = Scores(logits, labels, probability)
    for metric, tolerance in ((AUC, {"abs": 1e-6}), (LOGLOSS, {"rel": 1e-12})):
        assert metric.interval is not None
        assert metric.interval(sums) == pytest.approx(metric.interval(everything), **tolerance)
    assert AUC.interval(everything) == placements(logits, labels).interval()


def test_streamed_scores_may_be_anything_and_of_one_class() -> None:
    extreme = streamed(np.array([-1e30, 1e30], np.float32), np.array([0, 1], np.float32))
    assert metrics.measure(extreme)["auc"] == 1.0
    one_class = streamed(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert metrics.measure(one_class) == measure(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert one_class.placements is None


@pytest.mark.parametrize("distinct", [1, 3, 200_000])
def test_ties_that_span_blocks_are_counted_once(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    labels = (rng.random(3 * BLOCK) < 0.3).astype(np.float32)
    scores = rng.integers(0, distinct, len(labels)).astype(np.float32) + labels * (distinct > 1)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_extreme_logits_stay_finite() -> None:
    found = measure(np.array([500.0, -500.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32))
    assert found["logloss"] == pytest.approx(500.0)


def test_one_class_has_no_auc() -> None:
    found = measure(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert {"rows", "logloss", "calibration"} <= found.keys()
    assert found.keys().isdisjoint({"auc", "gauc", "normalized_entropy"})
    assert found["calibration"] == pytest.approx(0.5)
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
    assert found["excess_logloss"] == pytest.approx(expected, abs=1e-6)


def test_the_auc_interval_is_delongs() -> None:
    """Variance from the full matrix of pairs, which the code never builds (doi:10.2307/2531595)."""
    scores, labels = sample(300, 3, ties=True)
    positives, negatives = scores[labels == 1], scores[labels == 0]
    kernel = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    variance = kernel.mean(1).var(ddof=1) / len(positives) + kernel.mean(0).var(ddof=1) / len(negatives)
    low, high = placements(scores, labels).interval()
    assert (low + high) / 2 == pytest.approx(kernel.mean(), abs=1e-12)
    assert high - low == pytest.approx(2 * 1.959963985 * variance**0.5, rel=1e-8)


def test_intervals_have_their_nominal_coverage() -> None:
    truth_logits, truth_labels = sample(400_000, 99)
    true_auc = roc_auc_score(truth_labels, truth_logits)
    true_loss = measure(truth_logits, truth_labels)["logloss"]
    hits = np.zeros(2)
    for seed in range(300):
        logits, labels = sample(500, seed)
        for index, ((low, high), truth) in enumerate([
            (placements(logits, labels).interval(), true_auc),
            (Scores(logits, labels).mean_interval(losses), true_loss),
        ]):  # fmt: skip
            hits[index] += low <= truth <= high
    assert np.all(np.abs(hits / 300 - 0.95) < 0.04)


# --- a metric is one entry --------------------------------------------------------------------------------


def squared_errors(logits: np.ndarray, labels: np.ndarray, _: np.ndarray | None = None) -> np.ndarray:
    return (1 / (1 + np.exp(-logits.astype(np.float64))) - labels) ** 2


def test_a_new_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    brier = Metric(
        "brier", "Brier", lambda m: m.mean(squared_errors), higher_is_better=False, means=(squared_errors,)
    )
    monkeypatch.setitem(METRICS, "brier", brier)
    logits, labels = sample(20_000, 11)
    expected = brier_score_loss(labels, 1 / (1 + np.exp(-logits.astype(np.float64))))
    assert measure(logits, labels)["brier"] == pytest.approx(expected, rel=1e-9)
    assert metrics.measure(streamed(logits, labels))["brier"] == pytest.approx(expected, rel=1e-9)


def test_every_metric_knows_which_of_two_values_is_better() -> None:
    better = {name: [m.gain(0.5, 0.6) > 0, m.best([0.5, 0.6, 0.6]), m.index_of_best([0.5, 0.6, 0.6])]
              for name, m in METRICS.items() if m.higher_is_better is not None}  # fmt: skip
    higher, lower = [True, 0.6, 1], [False, 0.5, 0]
    shipped = {
        "auc": higher, "gauc": higher, "logloss": lower, "normalized_entropy": lower, "excess_logloss": lower,
    }  # fmt: skip
    assert {name: better[name] for name in shipped} == shipped
    assert all(found in (higher, lower) for found in better.values())
    items = [("a", 0.5), ("b", 0.6), ("c", 0.5)]
    assert [name for name, _ in METRICS["auc"].ranked(items, lambda item: item[1])] == ["b", "a", "c"]
    assert [name for name, _ in METRICS["logloss"].ranked(items, lambda item: item[1])] == ["a", "c", "b"]


def test_contributions_add_up_to_the_metric() -> None:
    logits, labels = sample(3000, 12, ties=True)
    rng = np.random.default_rng(13)
    groups = rng.integers(0, 300, 3000).astype(np.int32)
    scores = Scores(logits, labels, rng.random(3000).astype(np.float32), groups)
    assert {metric.name for metric in COMPARED} >= {"auc", "gauc", "logloss", "excess_logloss"}
    for metric in COMPARED:
        assert metric.contributions is not None
        found = metric.contributions(scores)
        assert found is not None
        assert found.value == pytest.approx(metric.value(scores), rel=1e-12)
    for nothing in (Scores(logits, np.ones_like(labels), groups=scores.groups), Scores(logits, labels)):
        assert gauc_contributions(nothing) is None


def test_variance_of_gauc_agrees_with_the_group_bootstrap() -> None:
    """Against the bootstrap over whole groups, whose sizes differ with their quality."""
    rng = np.random.default_rng(14)
    groups = np.repeat(np.arange(400), rng.integers(2, 60, 400)).astype(np.int32)
    quality = (groups % 7) / 4
    labels = (rng.random(len(groups)) < 0.4).astype(np.float32)
    logits = (rng.normal(size=len(groups)) + quality * labels).astype(np.float32)
    found = gauc_contributions(Scores(logits, labels, groups=groups))
    assert found is not None
    (part,) = found.parts
    areas, rows = group_areas(logits, labels, groups)
    drawn = rng.integers(0, len(areas), (4000, len(areas)))
    again = (areas[drawn] * rows[drawn]).sum(1) / rows[drawn].sum(1)
    assert part.std(ddof=1) / len(part) ** 0.5 == pytest.approx(again.std(), rel=0.06)
