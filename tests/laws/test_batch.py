import numpy as np
import pytest
from scipy import optimize

from wukongctl.laws.batch import minimize, power_terms

U, V = (axis.ravel() for axis in np.meshgrid(np.linspace(-2, 2, 6), np.linspace(-3, 3, 5)))
TRUE = np.array([0.5, -1.0, 0.35, -1.4, 0.4])
MODEL = power_terms((U, V), None)
BOUNDS = np.array([-30.0, -30, 1e-3, -30, 1e-3]), np.array([30.0, 30, 3, 30, 3])


def test_slopes_are_those_of_finite_differences() -> None:
    _, slopes = MODEL(TRUE[None])
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        numeric = (MODEL((TRUE + step)[None])[0] - MODEL((TRUE - step)[None])[0]) / 2e-6
        assert slopes[..., i] == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize("delta", [None, 1e-3])
def test_every_batch_member_reaches_the_optimum_of_scipy(delta: float | None) -> None:
    rng = np.random.default_rng(0)
    target = MODEL(TRUE[None])[0][0] + rng.normal(0, 2e-3, len(U))
    weights = rng.multinomial(len(U), np.full(len(U), 1 / len(U)), 8).astype(float)
    found, costs = minimize(
        MODEL, np.tile(TRUE, (8, 1)), target, weights, bounds=BOUNDS, delta=delta, steps=200
    )
    for row, theta, reached in zip(weights, found, costs, strict=True):
        repeated = np.repeat(np.arange(len(U)), row.astype(int))
        oracle = optimize.least_squares(
            lambda t, at=repeated: (MODEL(t[None])[0][0] - target)[at], TRUE, bounds=BOUNDS,
            loss="linear" if delta is None else "huber", f_scale=delta or 1.0, xtol=1e-15, ftol=1e-15,
        )  # fmt: skip
        assert reached <= oracle.cost * (1 + 1e-3)
        assert theta == pytest.approx(oracle.x, abs=0.05)


def test_a_cost_never_rises() -> None:
    target = MODEL(TRUE[None])[0][0]
    start = TRUE + np.array([[2.0, 2, 1, 2, 1], [-3.0, 1, -0.3, 0, 2]])
    first = MODEL(np.clip(start, *BOUNDS))[0] - target
    _, costs = minimize(MODEL, start, target, np.ones((1, len(U))), bounds=BOUNDS, steps=3)
    assert np.all(costs <= np.sum(first**2, axis=1) / 2)
