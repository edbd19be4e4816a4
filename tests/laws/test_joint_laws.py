import numpy as np
import pytest

from wukongctl.laws.analysis import build
from wukongctl.laws.joint import Grid, fit_joint
from wukongctl.laws.joint_laws import hold_out, isoflops, optima
from wukongctl.laws.points import Point, PointSet
from wukongctl.report.files import to_html, to_markdown
from wukongctl.report.headline import headline

SIZES, AMOUNTS = np.geomspace(0.01, 10, 6), 10_000 * 4 ** np.arange(6)
TRUE = {"E": 0.3, "A": 0.02, "a": 0.4, "B": 2.0, "b": 0.3}


def loss(n: float, d: float) -> float:
    return TRUE["E"] + TRUE["A"] * n ** -TRUE["a"] + TRUE["B"] * d ** -TRUE["b"]


def grid(sd: float = 1e-4, *, bad: float = 0.0) -> Grid:
    n, d = (axis.ravel() for axis in np.meshgrid(SIZES, AMOUNTS.astype(float)))
    y = loss(n, d) * np.exp(np.random.default_rng(0).normal(0, sd, len(n)))
    y[5] += bad
    return Grid(n, d, y, np.ones(len(n)))


def test_the_optimum_is_the_minimum_over_a_search() -> None:
    law = fit_joint(grid(), draws=100)
    for one in optima(law):
        n = np.geomspace(1e-4, 1e4, 200_001)
        best = n[np.argmin(law.predict(n, one.compute / n))]
        assert one.gflop_per_example == pytest.approx(best, rel=1e-3)
        assert one.gflop_per_example * one.examples == pytest.approx(one.compute)
        assert one.gflop_interval is not None
        low, high = one.gflop_interval
        assert low <= one.gflop_per_example * 1.001
        assert high >= one.gflop_per_example * 0.999
    assert [one.extrapolated for one in optima(law)][-1]


def test_points_of_most_compute_are_predicted_from_the_rest() -> None:
    found = hold_out(grid(), None)
    assert found is not None
    assert found.points + found.fitted == 36
    assert found.rmsle is not None
    assert found.no_gain_rmsle is not None
    assert found.rmsle < 1e-3 < found.no_gain_rmsle


def test_equal_compute_is_viewed_along_its_sizes() -> None:
    n = 4.0 ** np.arange(6)
    d = 4.0 ** np.arange(6, 12)
    n, d = (axis.ravel() for axis in np.meshgrid(n, d))
    y = 0.3 + 0.02 * n**-0.4 + 2 * d**-0.3
    found = list(isoflops(Grid(n, d, y, np.ones(len(n)))))
    assert [one.sizes for one in found] == [3, 4, 5, 6, 5, 4, 3]
    for one in found:
        same = np.isclose(n * d, one.compute)
        assert one.loss == y[same].min()


def test_an_outlier_that_moves_least_squares_is_named_and_the_losses_differ() -> None:
    points = tuple(
        Point("m", float(n), loss(n, d) * (1.4 if (i, j) == (0, 5) else 1 + 1e-4 * ((7 * i + 5 * j) % 3 - 1)),
              0, int(d), 10 * (i + 1))
        for i, n in enumerate(SIZES) for j, d in enumerate(AMOUNTS)
    )  # fmt: skip
    report = build(PointSet(points, "logloss"), draws=200)
    (found,) = report.joint_laws
    assert found.other is not None
    assert found.other.parameters["a"] == pytest.approx(0.4, abs=0.02)
    assert "a" in found.differs
    assert found.outliers == (f"10 MFLOP, {AMOUNTS[-1]:,} examples",)
    assert found.quoted is found.other
    assert f"a = {found.other.parameters['a']:.3g} (" in headline(report)
    assert headline(report).count("(Huber fit)") == 1
    for text in (to_html(report), to_markdown(report)):
        assert "huber-log" in text
        assert "the two losses differ in" in text
        assert found.outliers[0] in text


def test_clean_points_give_the_same_law_by_both_losses() -> None:
    points = tuple(
        Point("m", float(n), loss(n, d) * (1 + 1e-4 * ((i * 7 + j * 5) % 5 - 2)), 0, int(d), 10 * (i + 1))
        for i, n in enumerate(SIZES)
        for j, d in enumerate(AMOUNTS)
    )
    (found,) = build(PointSet(points, "logloss"), draws=200).joint_laws
    assert (found.differs, found.outliers) == ((), ())
    assert found.quoted is found.law


def test_a_zero_loss_has_no_joint_law() -> None:
    points = tuple(
        Point("m", float(n), 0.0 if i == j == 5 else loss(n, d), 0, int(d))
        for i, n in enumerate(SIZES)
        for j, d in enumerate(AMOUNTS)
    )
    (found,) = build(PointSet(points, "loss"), thorough=False).joint_laws
    assert found.reason == "a loss of zero has no logarithm"
