import numpy as np
import pytest
from numpy.typing import NDArray

from wukongctl.laws.fit import Fit, fit, sizes_of
from wukongctl.laws.form import Form
from wukongctl.laws.loglinear import LOG_LINEAR
from wukongctl.laws.misfit import serial_correlation
from wukongctl.laws.power import POWER


def law(y: NDArray[np.float64], form: Form = POWER) -> Fit:
    found = fit(sizes_of(list(np.geomspace(1, 100, len(y))), list(y)), form)
    assert found is not None
    return found


def noisy(seed: int, count: int) -> NDArray[np.float64]:
    x = np.geomspace(1, 100, count)
    return 0.4 + 0.05 * x**-0.3 + np.random.default_rng([seed, count]).normal(0, 1e-3, count)


def broken(seed: int, count: int) -> NDArray[np.float64]:
    """A slope of 0.1 up to ten, of 0.5 beyond."""
    x = np.geomspace(1, 100, count)
    y = 0.4 + 0.05 * x**-0.1 * (1 + (x / 10) ** 4) ** (-0.4 / 4)
    return y + np.random.default_rng([seed, count]).normal(0, 3e-4, count)


@pytest.mark.parametrize("count", [6, 8, 130])
def test_p_values_agree_with_simulated_residuals_of_a_straight_line(count: int) -> None:
    """Residuals of a line do not depend on its parameters: noise alone gives their distribution."""
    rng = np.random.default_rng(count)
    columns = np.stack([np.ones(count), np.log(np.geomspace(1, 100, count))], axis=1)
    away = np.eye(count) - columns @ np.linalg.pinv(columns)
    residuals = rng.normal(size=(20_000, count)) @ away
    simulated = np.sum(residuals[:, 1:] * residuals[:, :-1], axis=1) / np.sum(residuals**2, axis=1)
    for seed in range(3):
        found = serial_correlation(law(np.random.default_rng(seed).normal(1, 0.1, count), LOG_LINEAR))
        assert found is not None
        assert found.p_value == pytest.approx(float(np.mean(simulated > found.correlation)), abs=0.015)


def test_true_laws_are_rarely_and_breaks_nearly_always_found() -> None:
    def found(y: NDArray[np.float64]) -> bool:
        serial = serial_correlation(law(y))
        return serial is not None and serial.p_value < 0.05

    assert sum(found(noisy(seed, 6)) for seed in range(60)) <= 9  # binomial, 0.05: more with p = 0.001
    assert sum(found(broken(seed, 7)) for seed in range(20)) >= 18


def test_exact_points_and_points_without_freedom_are_not_tested() -> None:
    x = np.geomspace(1, 100, 8)
    assert serial_correlation(law(0.4 + 0.05 * x**-0.3)) is None
    assert serial_correlation(law(noisy(0, 4))) is None
