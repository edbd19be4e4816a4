from collections.abc import Sequence

import numpy as np
import pytest

from tests.benchmarks.verdicts import verdicts
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.points import Point, PointSet
from wukongctl.report.files import to_html, to_markdown
from wukongctl.report.headline import headline

X = np.geomspace(1, 100, 7)


def report_of(
    y: Sequence[float], *, noise: float = 0.0, seeds: int = 1, x: Sequence[float] = tuple(X)
) -> Report:
    rng = np.random.default_rng(0)
    points = tuple(
        Point("m", float(at), float(loss + rng.normal(0, noise)), seed if seeds > 1 else None)
        for at, loss in zip(x, y, strict=True)
        for seed in range(seeds)
    )
    return build(PointSet(points, "logloss"), draws=0)


def test_two_equal_last_losses_are_not_improving() -> None:
    """One seed, a steady fall, then nothing: the law misses the hidden size and `no gain` hits it."""
    y = [*(0.5 - 0.02 * np.arange(6)), 0.4]
    (curve,) = report_of(y).curves
    assert curve.plateau.verdict == "undecided"
    assert {"prediction_failed", "no_gain_better"} <= set(curve.notes)
    assert set(curve.plateau.doubts) <= set(curve.notes)
    report = report_of(y)
    assert "failed to predict" in headline(report)
    for text in (to_html(report), to_markdown(report)):
        assert "improving up to its largest size" not in text
        assert "No verdict, because of" in text or "undecided" in text


def test_a_break_inside_the_range_is_a_misfit_without_any_repeated_seed() -> None:
    y = 0.4 + 0.05 * X**-0.1 * (1 + (X / 10) ** 4) ** -0.1
    report = report_of(y, noise=1e-4)
    (curve,) = report.curves
    assert "misfit" in curve.notes
    assert curve.plateau.verdict == "undecided"
    assert curve.descriptive
    assert "| no law |" in to_markdown(report)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_rising_loss_is_worse_with_size(seeds: int) -> None:
    report = report_of(0.4 + 0.02 * np.log(X), noise=1e-3, seeds=seeds)
    (curve,) = report.curves
    assert curve.plateau.verdict == "rising"
    assert "worse with size" in to_markdown(report)
    assert "The loss rises with size." in to_html(report)


def test_an_interval_wider_than_all_losses_is_no_test() -> None:
    report = report_of([0.6, 0.5, 0.45, 0.44, 0.4], x=tuple(X[:5]))
    size = report.curves[0].extrapolation[0].sizes[0]
    assert size.inside
    assert not size.informative
    assert "The law's prediction of its held-out largest size is too uncertain to test it." in headline(
        report
    )


def test_a_rise_within_the_noise_is_not_a_note() -> None:
    """Three seeds at distance 1e-3: 2.4 standard errors of a difference of means are 1.9e-3."""
    y = 0.4 + 0.05 * X**-0.3
    for rise, noted in ((1.8e-3, False), (2.1e-3, True)):
        losses = [*y[:-1], y[-2] + rise]
        points = tuple(
            Point("m", float(x), float(loss + 1e-3 * (seed - 1)), seed)
            for x, loss in zip(X, losses, strict=True)
            for seed in range(3)
        )
        (curve,) = build(PointSet(points, "logloss")).curves
        assert ("nonmonotone" in curve.notes) == noted


def share(scene: str, verdict: str, trials: int, seeds: int) -> float:
    found, _ = verdicts(scene, trials, seeds)
    return found[verdict] / trials


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_flat_and_broken_curves_are_rarely_improving(seeds: int) -> None:
    """At most 5 % and three standard errors of 150 trials; a true law keeps its verdict most of the time."""
    most = 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    for scene in ("flat", "flat, quiet", "stops at 10", "steeper from 10 on", "rising"):
        assert share(scene, "improving", 150, seeds) <= most, scene
    assert share("planted, quiet", "improving", 150, seeds) >= 0.7
    assert share("rising", "rising", 150, seeds) >= 0.9
