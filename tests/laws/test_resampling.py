from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from wukongctl.laws.bands import band, method_of
from wukongctl.laws.fit import sizes_of
from wukongctl.laws.form import Form
from wukongctl.laws.holdout import extrapolate
from wukongctl.laws.power import POWER, POWER_KNOWN
from wukongctl.laws.resampling import Resampled, draw_counts, expanded_tails, resample
from wukongctl.laws.robust import fit_robust

X = np.repeat(np.geomspace(1, 1000, 12), 2)


def robust(seed: int, form: Form = POWER, *, bad: float = 1.0) -> Resampled:
    y = (0.4 + 0.05 * X**-0.3) * np.exp(np.random.default_rng(seed).normal(0, 1e-3, len(X)))
    y[5] *= bad
    law = fit_robust(sizes_of(list(X), list(y)), form, floor=0.4, delta=1e-3)
    assert law is not None
    found = resample(law, 1e-3, draws=200)
    assert found is not None
    return found


@pytest.mark.parametrize("form", [POWER, POWER_KNOWN])
def test_intervals_hold_the_truth_with_and_without_an_outlier(form: Form) -> None:
    for bad in (1.0, 1.2):
        found = robust(0, form, bad=bad)
        inside = {name: low <= {"E": 0.4, "A": 0.05, "c": 0.3}[name] <= high
                  for name, (low, high) in found.parameters().items()}  # fmt: skip
        assert all(inside.values()), inside
        low, high = found.curve(100.0)
        assert low <= 0.4 + 0.05 * 100**-0.3 <= high
        lowest, highest = found.prediction(100.0, 1)
        assert lowest < low < high < highest
        assert found.gain(10.0, 40.0)[0] > 0


def test_intervals_widen_with_the_distance() -> None:
    found = robust(1)
    widths = [high - low for low, high in (found.curve(x) for x in (100.0, 1e4, 1e6))]
    assert widths == sorted(widths)


def test_the_hidden_size_of_a_robust_law_is_predicted_by_a_robust_law() -> None:
    test = extrapolate(robust(0, bad=1.2).law)
    assert test is not None
    assert test.sizes[0].interval is not None
    assert test.sizes[0].inside
    squares = extrapolate(replace(robust(0, bad=1.2).law, delta=None))
    assert squares is not None
    assert squares.sizes[0].predicted != test.sizes[0].predicted


def test_draws_resample_runs_and_keep_enough_sizes() -> None:
    counts = draw_counts(np.array([1.0, 1, 2, 3, 4]), 500, least=3)
    assert counts is not None
    assert set(counts.sum(axis=1)) == {5.0}
    member = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    assert ((counts @ member.T > 0).sum(axis=1) >= 3).all()
    assert draw_counts(np.array([1.0, 1, 2]), 10, least=3) is None


def test_tails_are_students_for_many_runs_and_wider_for_few() -> None:
    assert expanded_tails(0.95, 10_000, 9_997) == pytest.approx((2.5, 97.5), abs=0.01)
    low, _ = expanded_tails(0.95, 12, 9)
    assert low == pytest.approx(100 * stats.norm.cdf(-stats.t.ppf(0.975, 9) * (12 / 9) ** 0.5))


def test_the_band_of_a_law_follows_its_loss() -> None:
    law = robust(0).law
    assert isinstance(band(law), Resampled)
    assert "bootstrap" in method_of(law)
    assert "profile" in method_of(None)
