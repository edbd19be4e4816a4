import numpy as np
import pytest

from wukongctl.laws.analysis import build
from wukongctl.laws.curves import Curve
from wukongctl.laws.points import Point, PointSet


@pytest.mark.parametrize(
    ("exponent", "amplitude", "noise", "verdict"),
    [(0.3, 0.02, 1e-5, "improving"), (2.5, 0.05, 1e-6, "plateau"), (0.3, 0.002, 1e-3, "undecided")],
)
def test_plateau_verdict(exponent: float, amplitude: float, noise: float, verdict: str) -> None:
    rng = np.random.default_rng(5)
    points = tuple(
        Point("m", float(x), float(0.4 + amplitude * x**-exponent + rng.normal(0, noise)), seed)
        for x in np.geomspace(1, 100, 6)
        for seed in range(3)
    )
    (curve,) = build(PointSet(points, "logloss")).curves
    assert curve.plateau.verdict == verdict
    assert curve.plateau.margin == pytest.approx(2e-4 * curve.sizes[-1].loss)


def test_the_plateau_is_judged_with_a_free_floor_even_when_one_is_known() -> None:
    """A curve that levels off above the known floor: a fixed floor would call it improving."""
    points = tuple(
        Point("m", float(x), float(0.05 + 0.05 * x**-2.5), passes=1.0) for x in np.geomspace(1, 100, 7)
    )
    source = PointSet(points, "excess_logloss", floor=0.0, bayes_logloss=0.4)
    (curve,) = build(source, form="power-known-floor").curves
    assert curve.form.name == "power-known-floor"
    assert curve.plateau.verdict == "plateau"
    assert curve.plateau.gain is not None
    assert curve.plateau.gain.form == "power"
    assert curve.plateau.margin == pytest.approx(2e-4 * 0.45, rel=1e-3)


def ladder(smallest: float, largest: float) -> Curve:
    """Four sizes with two seeds each, on a power law."""
    rng = np.random.default_rng(3)
    points = tuple(
        Point("m", float(x), float(0.4 + 0.02 * (x / largest) ** -0.3 + rng.normal(0, 1e-4)), seed)
        for x in np.geomspace(smallest, largest, 4)
        for seed in range(2)
    )
    (curve,) = build(PointSet(points, "logloss")).curves
    return curve


@pytest.mark.parametrize(
    ("smallest", "measured"), [(798.0, False), (202.0, False), (200.75, True), (80.0, True)]
)
def test_a_gain_needs_a_factor_of_four_that_was_measured(smallest: float, measured: bool) -> None:
    curve = ladder(smallest, 803.0)
    assert curve.law is not None
    assert (curve.gain is not None) == measured
    assert (curve.plateau.gain is not None) == measured
    assert measured or curve.plateau.verdict == "undecided"
