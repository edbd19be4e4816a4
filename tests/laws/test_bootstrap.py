import time

import numpy as np
import pytest

from wukongctl.laws.bootstrap import refit, wild_intervals
from wukongctl.laws.fit import Form, fit, sizes_of

X = np.geomspace(1, 100, 6)


def noisy(seed: int, *, seeds: int = 3):
    x = np.repeat(X, seeds)
    return sizes_of(list(x), list(0.4 + 0.05 * x**-0.3 + np.random.default_rng(seed).normal(0, 1e-3, len(x))))


@pytest.mark.parametrize(("form", "floor"), [("power", None), ("power0", 0.0), ("power-known-floor", 0.39)])
def test_many_refits_are_the_single_fit(form: Form, floor: float | None) -> None:
    curves = [noisy(seed) for seed in range(20)]
    together = refit(curves[0], np.stack([one.y for one in curves]), form, floor)
    for row, sizes in zip(together, curves, strict=True):
        alone = fit(sizes, form, floor=floor)
        assert alone is not None
        level, amplitude, c = row
        predicted = level + amplitude * sizes.x**-c
        assert predicted == pytest.approx(alone.predict(sizes.x), abs=2e-6)
        assert np.sum(sizes.runs * (sizes.y - predicted) ** 2) == pytest.approx(alone.rss, rel=1e-4)


def test_the_interval_holds_the_estimate_and_repeats() -> None:
    law = fit(noisy(1))
    assert law is not None
    found = wild_intervals(law, draws=300, level=0.95)
    assert found == wild_intervals(law, draws=300, level=0.95)
    for name, value in law.parameters.items():
        assert found[name][0] <= value <= found[name][1]


def test_two_seeds_are_too_few() -> None:
    law = fit(noisy(1, seeds=2))
    assert law is not None
    assert wild_intervals(law, draws=100, level=0.95) == {}


def test_two_thousand_refits_take_a_moment() -> None:
    law = fit(noisy(1))
    assert law is not None
    start = time.process_time()
    wild_intervals(law, draws=2000, level=0.95)
    assert time.process_time() - start < 3
