from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.laws.paper import WUKONG
from wukongctl.config.report import LossMetric
from wukongctl.laws.analysis import build
from wukongctl.laws.curves import Curve
from wukongctl.laws.fit import fit, sizes_of
from wukongctl.laws.notes import EXPLANATIONS, doubts_of
from wukongctl.laws.points import Point, PointSet


def curve_of(
    x: Sequence[float],
    y: Sequence[float],
    *,
    seeds: int = 3,
    scatter: float = 1e-6,
    metric: LossMetric = "logloss",
    **facts: Any,
) -> Curve:
    rng = np.random.default_rng(0)
    points = tuple(
        Point("m", float(at), float(loss + rng.normal(0, scatter)), seed, **facts)
        for at, loss in zip(x, y, strict=True)
        for seed in range(seeds)
    )
    return build(PointSet(points, metric, split="test")).curves[0]


X = np.geomspace(1, 200, 8)
CLEAN = 0.4 + 0.05 * X**-0.4


def test_a_clean_curve_has_no_notes() -> None:
    curve = curve_of(X, CLEAN, scatter=1e-5, examples=10, passes=1.0, selected_on="valid.logloss")
    assert curve.notes == ()
    assert not curve.descriptive


def test_the_papers_curve_does_not_identify_a_floor() -> None:
    curve = curve_of(*WUKONG, seeds=1, scatter=0, metric="relative_logloss")
    assert curve.notes == ("floor_not_identified", "exponent_weak", "curvature_undecided", "single_seed")
    assert curve.descriptive


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("few_sizes", lambda: curve_of(X[:4], CLEAN[:4])),
        ("short_range", lambda: curve_of(np.geomspace(1, 9, 8), CLEAN)),
        ("floor_not_identified", lambda: curve_of(X, 0.4 * X**-0.1, scatter=1e-3)),
        ("exponent_weak", lambda: curve_of(X, CLEAN, scatter=2e-2)),
        ("bound_hit", lambda: curve_of(X, CLEAN[::-1])),
        ("curvature_undecided", lambda: curve_of(*WUKONG, seeds=1, scatter=0, metric="relative_logloss")),
        ("lack_of_fit", lambda: curve_of(X, CLEAN + 0.01 * (-1) ** np.arange(8))),
        ("single_seed", lambda: curve_of(X, CLEAN, seeds=1)),
        ("nonmonotone", lambda: curve_of(X, CLEAN + 0.01 * (-1) ** np.arange(8))),
        ("multi_epoch", lambda: curve_of(X, CLEAN, passes=2.0)),
        ("test_set_reused", lambda: curve_of(X, CLEAN, selected_on="test.auc")),
    ],
)
def test_each_code_is_raised_by_its_cause(code: str, make: Callable[[], Curve]) -> None:
    assert code in make().notes
    assert code in EXPLANATIONS


def test_a_law_with_lack_of_fit_is_always_descriptive() -> None:
    curve = curve_of(X, CLEAN + 0.01 * (-1) ** np.arange(8))
    assert "lack_of_fit" in curve.notes
    assert curve.descriptive


def test_one_rise_by_chance_among_many_sizes_is_not_a_note() -> None:
    """Of 999 rises between neighbors on a true law, some twenty are above two standard errors."""
    x = np.geomspace(1, 1e4, 1000)
    noise = np.random.default_rng(5).normal(0, 1e-3, len(x))
    sizes = sizes_of(list(x), list(0.4 + 0.05 * x**-0.3 + noise))
    law = fit(sizes)
    assert law is not None
    assert np.sum(np.diff(sizes.y) > 2 * np.sqrt(2) * 1e-3) > 5
    assert not doubts_of(sizes, law, None)["nonmonotone"]


def test_unequal_data_has_a_note() -> None:
    points = tuple(
        Point("m", float(x), float(y), examples=100 + n)
        for n, (x, y) in enumerate(zip(X, CLEAN, strict=True))
    )
    report = build(PointSet(points, "logloss"))
    assert "unequal_data" in report.curves[0].notes
    assert report.remarks == ("Runs were trained on between 100 and 107 examples.",)


def test_every_explanation_has_a_code() -> None:
    assert len(EXPLANATIONS) == 16
    assert all(text.endswith(".") for text in EXPLANATIONS.values())


def test_different_models_of_equal_cost_have_a_note_and_no_joint_law() -> None:
    points = tuple(
        Point("m", n, 0.3 + 0.01 * n**-0.4 + 2.0 * d**-0.3, 0, d, dense, 1.0)
        for n in X[:5]
        for d, dense in ((10_000, 5), (40_000, 5), (160_000, 6))
    )
    report = build(PointSet(points, "logloss"))
    assert report.joint_laws[0].reason == "runs of one size differ in their parameters"
    assert all("unequal_params" in law.notes for law in report.data_laws)
    assert "unequal_params" not in report.curves[0].notes
