import numpy as np
import pytest
from scipy import optimize

from wukongctl.laws.fit import Sizes, fit, sizes_of
from wukongctl.laws.form import Form
from wukongctl.laws.loglinear import LOG_LINEAR
from wukongctl.laws.power import POWER, POWER_KNOWN, POWER_ZERO
from wukongctl.laws.robust import fit_robust

X = np.geomspace(1, 1000, 10)


def curve(seed: int, bad: float = 1.0) -> Sizes:
    y = (0.4 + 0.05 * X**-0.3) * np.exp(np.random.default_rng(seed).normal(0, 5e-4, len(X)))
    y[4] *= bad
    return sizes_of(list(X), list(y))


def huber(law: np.ndarray, sizes: Sizes, delta: float) -> float:
    residual = np.abs(np.log(law / sizes.y))
    return float(np.sum(np.where(residual <= delta, residual**2 / 2, delta * (residual - delta / 2))))


@pytest.mark.parametrize("seed", range(3))
def test_no_search_from_the_truth_finds_a_lower_objective(seed: int) -> None:
    sizes, delta = curve(seed, bad=1.02), 1e-3
    law = fit_robust(sizes, POWER, floor=None, delta=delta)
    assert law is not None

    def objective(theta: np.ndarray) -> float:
        return 1e6 * huber(np.maximum(theta[0] + theta[1] * X ** -theta[2], 1e-9), sizes, delta)

    options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000, "maxfev": 4000}
    oracle = optimize.minimize(objective, [0.4, 0.05, 0.3], method="Nelder-Mead", options=options)
    assert 1e6 * huber(law.predict(X), sizes, delta) <= oracle.fun * (1 + 1e-3)


def test_an_outlier_has_less_influence_than_under_least_squares() -> None:
    moved = []
    for fitted in (fit, lambda s: fit_robust(s, POWER, floor=None, delta=1e-3)):
        clean, wild = fitted(curve(0)), fitted(curve(0, bad=1.05))
        moved.append(abs(float(np.max(np.abs(clean.predict(X) - wild.predict(X))))))
    assert moved[1] < 2e-3
    assert moved[0] > 4 * moved[1]


@pytest.mark.parametrize("form", [POWER_ZERO, POWER_KNOWN])
def test_fixed_floors_stay_fixed_and_clean_points_are_fitted(form: Form) -> None:
    floor = 0.0 if form is POWER_ZERO else 0.3
    sizes = sizes_of(list(X), list(floor + 0.2 * X**-0.2))
    law = fit_robust(sizes, form, floor=floor, delta=1e-3)
    assert law is not None
    assert law.parameters["A"] == pytest.approx(0.2, rel=1e-6)
    assert law.parameters["c"] == pytest.approx(0.2, rel=1e-6)
    line = fit_robust(sizes, LOG_LINEAR, floor=None, delta=1e-3)
    assert line is not None
    assert line.parameters == fit(sizes, LOG_LINEAR).parameters  # type: ignore[union-attr]
