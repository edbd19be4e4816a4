import numpy as np
import pytest

from wukongctl.laws.joint import Grid, fit_joint, obstacle, webb

BESIROGLU = {"E": 1.8172, "A": 482.01, "a": 0.3478, "B": 2085.43, "b": 0.3658}


def grid(sd: float = 0.0, *, seed: int = 0, sizes: int = 7) -> Grid:
    """Points of the law of arXiv 2404.10102 over its ranges of N and D, with log-normal noise."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(4e7, 2e10, sizes), np.geomspace(1e9, 3e11, sizes)))
    p = BESIROGLU
    y = p["E"] + p["A"] * n ** -p["a"] + p["B"] * d ** -p["b"]
    return Grid(n, d, y * np.exp(np.random.default_rng(seed).normal(0, sd, len(y))), np.ones(len(y)))


def test_published_constants_are_recovered_to_1e_6() -> None:
    found = fit_joint(grid())
    assert found.status == "converged"
    assert found.parameters == pytest.approx(BESIROGLU, rel=1e-6)
    assert found.outliers == ()


@pytest.mark.parametrize(("grids", "least"), [(5, 3), pytest.param(20, 17, marks=pytest.mark.slow)])
def test_intervals_have_about_the_stated_coverage(grids: int, least: int) -> None:
    """Noise of 0.3 %, 95 % intervals of three numbers; fewer than the least with p = 0.001 and 0.016."""
    hits = dict.fromkeys("Eab", 0)
    for seed in range(grids):
        found = fit_joint(grid(0.003, seed=seed, sizes=5), draws=200)
        for name in hits:
            low, high = found.intervals[name]
            hits[name] += low <= BESIROGLU[name] <= high
    assert min(hits.values()) >= least, hits


def test_outliers_are_reported_and_have_little_influence_on_a_huber_fit() -> None:
    clean = grid(0.003)
    y = clean.y.copy()
    y[[3, 10, 30]] *= 1.1
    wild = Grid(clean.n, clean.d, y, clean.weights)
    moved = {}
    for delta in (None, 1e-3):
        before, after = fit_joint(clean, delta=delta), fit_joint(wild, delta=delta)
        assert (before.outliers, after.outliers) == ((), (3, 10, 30))
        moved[delta] = abs(after.parameters["b"] - before.parameters["b"])
    assert moved[1e-3] < 0.003
    assert moved[None] > 3 * moved[1e-3]


def test_a_law_without_size_or_data_hits_its_bound() -> None:
    plain = grid()
    flat = fit_joint(Grid(plain.n, plain.d, np.full(len(plain.n), 2.0), plain.weights))
    assert flat.status == "bound hit"
    assert flat.predict(plain.n, plain.d) == pytest.approx(2.0, abs=1e-6)


def test_designs_that_do_not_identify_the_law_are_not_fitted() -> None:
    n, d = np.geomspace(1, 100, 9), np.geomspace(1e3, 1e5, 9)
    ones = np.ones(9)
    assert "grow together" in (obstacle(Grid(n, d, ones, ones)) or "")
    assert "at least 8 are needed" in (obstacle(Grid(n[:4], d[:4], ones[:4], ones[:4])) or "")
    assert "sizes span less" in (obstacle(Grid(n**0.4, d[::-1], ones, ones)) or "")
    assert obstacle(grid()) is None


def test_webb_weights_have_mean_zero_and_variance_one() -> None:
    weights = webb(100_000, 1)
    assert len(np.unique(weights)) == 6
    assert weights.mean() == pytest.approx(0, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.01)
