from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wukongctl.laws.axis import COMPUTE
from wukongctl.laws.batch import logarithmic
from wukongctl.laws.contest import Contest, contest, fit_rival, sample_of
from wukongctl.laws.fit import sizes_of
from wukongctl.laws.forecast import forecast
from wukongctl.laws.rivals import RIVALS, Rival
from wukongctl.report.evidence import contest_sentence

X = np.geomspace(1, 3000, 16)
U = np.log(X) - np.log(X).mean()
NAMED = {rival.name: rival for rival in RIVALS}
THETAS = {
    "power": [-1.0, -0.5, 0.3],
    "power0": [-0.5, 0.2],
    "loglin": [1.0, 0.05],
    "saturation": [-0.6, -0.5, 0.2],
    "m4": [-1.2, -0.1, 0.6, -0.3, 0.4],
    "bnsl1": [-1.5, -0.7, 0.1, 0.4, 0.3, 0.4],
}


def run(y: NDArray[np.float64], *, sd: float = 0.0, seeds: int = 1, seed: int = 0) -> Contest:
    x = np.repeat(X, seeds)
    losses = np.repeat(y, seeds) * np.exp(np.random.default_rng(seed).normal(0, sd, len(x)))
    found = contest(sizes_of(list(x), list(losses)))
    assert found is not None
    return found


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_slopes_are_those_of_finite_differences(rival: Rival) -> None:
    model, theta = rival.model(U), np.array(THETAS[rival.name])
    assert len(theta) == rival.count
    for i in range(rival.count):
        step = np.zeros(rival.count)
        step[i] = 1e-6
        numeric = (model((theta + step)[None])[0] - model((theta - step)[None])[0]) / 2e-6
        assert model(theta[None])[1][..., i] == pytest.approx(numeric, abs=2e-6), i


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_every_form_finds_itself(rival: Rival) -> None:
    y = 0.7 * rival.model(U)(np.array(THETAS[rival.name])[None])[0][0]
    found = fit_rival(rival, sample_of(sizes_of(list(X), list(y))), None)
    assert found is not None
    assert found.error < 2e-3
    assert found.predict(X * 2) == pytest.approx(found.predict(2 * X))
    assert found.predict(X) == pytest.approx(y, rel=6e-3)


def test_m4_solves_its_equation() -> None:
    floor, width, alpha, level, c = np.exp(-1.2), np.exp(-0.1), 0.6, -0.3, 0.4
    y = NAMED["m4"].model(U)(np.array(THETAS["m4"])[None])[0][0]
    left = (y - floor) / width / (1 - (y - floor) / width) ** alpha
    assert left == pytest.approx(np.exp(level - c * U), rel=1e-6)


def test_a_break_is_preferred_and_predicted_where_a_power_law_is_not() -> None:
    y = 0.05 + 0.6 * X**-0.05 * (1 + (X / 60) ** 3) ** (-0.35 / 3)
    found = run(y, sd=2e-3)
    assert "power" not in found.alike
    assert found.chosen.rival.name in ("bnsl1", "m4")
    truth = 0.05 + 0.6 * 9000**-0.05 * (1 + (9000 / 60) ** 3) ** (-0.35 / 3)
    one = forecast(found, 9000.0, level=0.95)
    assert one.interval[0] <= truth <= one.interval[1]
    assert abs(np.log(one.loss / truth)) < 0.05
    assert "the points" in contest_sentence("m", found, COMPUTE)


def test_a_power_law_keeps_its_form_and_too_few_points_cannot_tell() -> None:
    found = run(0.4 + 0.3 * X**-0.4, sd=1e-3, seeds=2)
    assert "power" in found.alike
    assert found.chosen.rival.name == "power"
    few = contest(sizes_of(list(X[:6]), list(0.4 + 0.3 * X[:6] ** -0.4)))
    assert few is not None
    assert few.preferred is None
    assert not few.is_decisive
    assert "too few points to compare forms" in contest_sentence("m", few, COMPUTE)
    assert contest(sizes_of([1, 2, 4], [0.5, 0.4, 0.35])) is None
    assert contest(sizes_of([1, 2, 4, 8, 16], [0.5, 0.4, 0.3, 0.1, -0.1])) is None


def test_intervals_of_new_runs_widen_with_the_distance_and_hold_them() -> None:
    hits = 0
    for seed in range(20):
        found = run(0.4 + 0.3 * X**-0.4, sd=2e-3, seed=seed)
        each = [forecast(found, x, level=0.95) for x in (3000.0, 3e4, 3e5)]
        widths = [np.log(one.interval[1] / one.interval[0]) for one in each]
        assert widths == sorted(widths)
        assert [one.extrapolated for one in each] == [False, True, True]
        truth = (0.4 + 0.3 * 3e4**-0.4) * np.exp(np.random.default_rng([seed, 1]).normal(0, 2e-3))
        hits += each[1].interval[0] <= truth <= each[1].interval[1]
    assert hits >= 16  # binomial, 0.95: fewer with p = 0.003


def test_many_runs_are_binned_without_moving_the_law() -> None:
    x = np.geomspace(1, 1000, 3000)
    y = (0.4 + 0.3 * x**-0.4) * np.exp(np.random.default_rng(0).normal(0, 5e-3, len(x)))
    found = contest(sizes_of(list(x), list(y)))
    assert found is not None
    assert len(found.chosen.sample.u) <= 60
    assert found.chosen.predict(x[::500]) == pytest.approx(0.4 + 0.3 * x[::500] ** -0.4, rel=3e-3)


def half_width(found: Contest, x: float) -> float:
    low, high = forecast(found, x, level=0.95).interval
    return float(np.log(high / low)) / 2


@pytest.mark.parametrize("count", [150, 3000])
def test_an_interval_of_a_new_run_is_as_wide_as_runs_scatter(count: int) -> None:
    x = np.geomspace(1, 1000, count)
    y = (0.4 + 0.3 * x**-0.4) * np.exp(np.random.default_rng(0).normal(0, 5e-3, count))
    found = contest(sizes_of(list(x), list(y)))
    assert found is not None
    assert half_width(found, 100.0) == pytest.approx(1.96 * 5e-3, rel=0.12)


def test_a_new_run_at_sizes_off_the_law_scatters_as_sizes_do() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat(np.geomspace(1, 1000, 12), 5)
    off = np.repeat(rng.normal(0, 1e-2, 12), 5) + rng.normal(0, 1e-3, 60)
    found = contest(sizes_of(list(x), list((0.4 + 0.3 * x**-0.4) * np.exp(off))))
    assert found is not None
    assert 1.5e-2 < half_width(found, 100.0) < 5e-2


def test_smoothed_losses_widen_the_interval() -> None:
    rng, x = np.random.default_rng(2), np.geomspace(1, 1000, 60)
    errors = 1e-2 * np.convolve(rng.normal(size=69), np.full(10, 0.1), mode="valid")
    widths = []
    for these in (errors, rng.permutation(errors)):
        found = contest(sizes_of(list(x), list((0.4 + 0.3 * x**-0.4) * np.exp(these))))
        assert found is not None
        widths.append(half_width(found, 100.0))
    assert widths[0] > 1.5 * widths[1]


def test_forms_that_predict_alike_and_part_ways_widen_the_interval() -> None:
    found = run(0.4 + 0.3 * X**-0.25, sd=4e-3, seed=3)
    assert found.chosen in found.plausible
    assert len(found.plausible) > 1
    alone = replace(found, plausible=(found.chosen,))
    assert half_width(found, X[0]) < 1.5 * half_width(alone, X[0])
    assert half_width(found, 1e6) > 1.1 * half_width(alone, 1e6)
    apart = max(abs(float(np.log(one.predict(np.array([1e6])) / found.chosen.predict(np.array([1e6])))[0]))
                for one in found.plausible)  # fmt: skip
    assert half_width(found, 1e6) > apart / np.sqrt(len(found.plausible))


def test_logarithms_of_a_model_keep_its_slopes() -> None:
    model, theta = NAMED["power"].model(U), np.array(THETAS["power"])[None]
    values, slopes = model(theta)
    logs, relative = logarithmic(model)(theta)
    assert logs == pytest.approx(np.log(values))
    assert relative == pytest.approx(slopes / values[..., None])
