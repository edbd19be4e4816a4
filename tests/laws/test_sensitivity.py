import numpy as np
import pytest

from wukongctl.laws.fit import Fit, fit, sizes_of
from wukongctl.laws.intervals import region
from wukongctl.laws.power import POWER_ZERO
from wukongctl.laws.sensitivity import MOST_BLOCKS, bootstrap, leave_out


def law(count: int, *, seeds: int = 3, seed: int = 0, bad: float = 0.0) -> Fit:
    x = np.repeat(np.geomspace(1, 100, count), seeds)
    y = 0.4 + 0.05 * x**-0.3 + np.random.default_rng(seed).normal(0, 3e-4, len(x))
    y[-seeds:] += bad
    found = fit(sizes_of(list(x), list(y)))
    assert found is not None
    return found


def test_every_size_is_left_out_once() -> None:
    whole = law(6)
    found = leave_out(whole, None)
    assert [one.first for one in found] == pytest.approx(whole.sizes.x)
    for i, one in enumerate(found):
        kept = np.arange(6) != i
        oracle = fit(whole.sizes.where(kept))
        assert oracle is not None
        assert one.parameters == oracle.parameters
    assert len(leave_out(law(40, seeds=1), None)) == MOST_BLOCKS
    assert leave_out(law(3), None) == ()


def test_one_bad_size_shows_as_the_one_that_matters() -> None:
    whole = law(7, bad=0.01)
    changes = [abs(one.at_largest - (0.4 + 0.05 * 100**-0.3)) for one in leave_out(whole, None)]
    assert int(np.argmin(changes)) == 6


def test_bootstrap_intervals_hold_the_truth_and_resemble_the_profile() -> None:
    whole = law(12)
    found, laws = bootstrap(whole, 0.95), region(whole)
    assert found is not None
    assert laws is not None
    for name, truth in {"E": 0.4, "A": 0.05, "c": 0.3}.items():
        low, high = found.intervals[name]
        assert low <= truth <= high
        profile = laws.parameters()[name]
        assert 0.4 < (high - low) / (profile[1] - profile[0]) < 2.5


def test_bootstrap_of_a_law_with_a_fixed_floor() -> None:
    x = np.repeat(np.geomspace(1, 100, 8), 2)
    y = 0.3 * x**-0.2 * np.exp(np.random.default_rng(0).normal(0, 1e-3, len(x)))
    whole = fit(sizes_of(list(x), list(y)), POWER_ZERO)
    assert whole is not None
    found = bootstrap(whole, 0.95)
    assert found is not None
    assert set(found.intervals) == {"A", "c"}
    assert found.intervals["c"][0] <= 0.2 <= found.intervals["c"][1]
