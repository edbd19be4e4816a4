import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats

from tests.benchmarks.coverage import hits
from tests.examples import examples
from tests.laws.paper import DLRM, WUKONG
from wukongctl.config.report import FormName
from wukongctl.laws.fit import Fit, Sizes, fit, sizes_of
from wukongctl.laws.forms import form_named
from wukongctl.laws.holdout import extrapolate
from wukongctl.laws.intervals import Region, noise, region

Curve = tuple[tuple[float, ...], tuple[float, ...]]


def fitted(sizes: Sizes, form: FormName = "power", floor: float | None = None) -> tuple[Fit, Region]:
    law = fit(sizes, form_named(form), floor=floor)
    assert law is not None
    laws = region(law)
    assert laws is not None
    return law, laws


def noisy(seed: int, *, seeds: int = 1, scatter: float = 1e-3, count: int = 6) -> Sizes:
    rng = np.random.default_rng(seed)
    x = np.repeat(np.geomspace(1, 100, count), seeds)
    return sizes_of(list(x), list(0.4 + 0.05 * x**-0.3 + rng.normal(0, scatter, len(x))))


def brute_rss(sizes: Sizes, target: str, value: float, x0: float = 1.0) -> float:
    """Smallest sum of squares with one quantity held at `value`: a bounded search from many starts."""

    def loss(free: NDArray[np.float64]) -> float:
        first, c = free
        if target == "E":
            floor, amplitude = value, first
        elif target == "A":
            floor, amplitude = first, value
        else:  # the curve at x0
            amplitude = first
            floor = value - amplitude * x0**-c
        if floor < sizes.zero:
            return 1e6 * (1 + sizes.zero - floor)
        return 1e6 * float(np.sum(sizes.runs * (sizes.y - floor - amplitude * sizes.x**-c) ** 2))

    starts = [(f, c) for f in (0.01, 0.05, 0.2, 0.4) for c in (0.02, 0.1, 0.3, 0.8)]
    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000, "maxfev": 4000}
    bounds = [(0, 200), (1e-3, 3)]
    found = (optimize.minimize(loss, s, method="Nelder-Mead", bounds=bounds, options=options) for s in starts)
    return min(float(result.fun) for result in found) / 1e6


# --- the paper's Table 5 ------------------------------------------------------------------------------------


def test_exponent_interval_of_table_5() -> None:
    """By hand: squares from numpy's lstsq on a fine grid, kept below 1 + F(1, 4) / 4 times the best."""
    x, y = np.array(WUKONG[0]), np.array(WUKONG[1])
    grid = np.linspace(0.05, 0.6, 5501)
    rss = np.array([np.linalg.lstsq(np.stack([np.ones(7), x**-c], 1), y, rcond=None)[1][0] for c in grid])
    kept = grid[rss <= rss.min() * (1 + stats.f.ppf(0.95, 1, 4) / 4)]
    _, laws = fitted(sizes_of(*map(list, WUKONG), zero=-100))
    assert laws.parameters()["c"] == pytest.approx((kept[0], kept[-1]), abs=2e-4)
    assert laws.parameters()["c"] == pytest.approx((0.087, 0.510), abs=1e-3)


def test_floor_of_table_5_reaches_the_best_loss() -> None:
    _, laws = fitted(sizes_of(*map(list, WUKONG), zero=-100))
    low, high = laws.parameters()["E"]
    assert low < -1.4
    assert high > min(WUKONG[1])


# --- against brute force --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_profile_ends_are_where_the_profile_meets_the_cutoff(seed: int) -> None:
    sizes = noisy(seed)
    _, laws = fitted(sizes)
    found = laws.parameters() | {"curve": laws.curve(1000.0)}
    for target in ("E", "A", "curve"):
        low, high = found[target]
        for end in (low, high):
            if target == "E" and end <= sizes.zero:
                continue
            assert brute_rss(sizes, target, end, 1000.0) == pytest.approx(laws.cutoff, rel=2e-3), (
                target,
                end,
            )


@pytest.mark.parametrize("seed", [0, 1])
def test_a_floor_bounded_by_zero_loss_cuts_the_region(seed: int) -> None:
    """Without the bound E >= 0 the amplitude and the extrapolated curve would reach further."""
    rng = np.random.default_rng(seed)
    x = np.geomspace(1, 100, 7)
    sizes = sizes_of(list(x), list(0.4 * x**-0.3 + rng.normal(0, 4e-3, len(x))))
    _, laws = fitted(sizes)
    assert laws.parameters()["E"][0] == 0
    for target, (low, high) in (("A", laws.parameters()["A"]), ("curve", laws.curve(1000.0))):
        for end in (low, high):
            assert brute_rss(sizes, target, end, 1000.0) == pytest.approx(laws.cutoff, rel=2e-3), target


def test_intervals_with_a_known_floor_meet_the_cutoff() -> None:
    sizes = noisy(3)
    _, laws = fitted(sizes, "power-known-floor", 0.4)
    grid = np.geomspace(0.05, 2, 40_001)

    def smallest(amplitude: NDArray[np.float64]) -> float:
        errors = sizes.y - 0.4 - amplitude[:, None] * sizes.x ** -grid[:, None]
        return float(np.min(np.sum(errors**2, axis=1)))

    for end in laws.parameters()["A"]:
        assert smallest(np.full(len(grid), end)) == pytest.approx(laws.cutoff, rel=1e-3)
    for end in laws.curve(30.0):
        assert smallest((end - 0.4) * 30.0**grid) == pytest.approx(laws.cutoff, rel=1e-3)


def test_linear_forms_have_the_textbook_intervals() -> None:
    sizes = sizes_of(*map(list, DLRM), zero=-100)
    _, laws = fitted(sizes, "loglin")
    oracle = stats.linregress(np.log(DLRM[0]), DLRM[1])
    t = stats.t.ppf(0.975, 4)
    slope, intercept = t * oracle.stderr, t * oracle.intercept_stderr
    assert laws.parameters()["q"] == pytest.approx((oracle.slope - slope, oracle.slope + slope))
    assert laws.parameters()["p"] == pytest.approx(
        (oracle.intercept - intercept, oracle.intercept + intercept)
    )


@settings(deadline=None, max_examples=examples(10))
@given(seed=st.integers(0, 10_000), x=st.floats(0.1, 1000))
def test_every_interval_contains_the_estimate(seed: int, x: float) -> None:
    law, laws = fitted(noisy(seed))
    for name, (low, high) in laws.parameters().items():
        assert low <= law.parameters[name] * (1 + 1e-9) + 1e-12
        assert high >= law.parameters[name] * (1 - 1e-9) - 1e-12
    low, high = laws.curve(x)
    middle = float(law.predict(np.array([x]))[0])
    assert low - 1e-9 <= middle <= high + 1e-9
    lowest, highest = laws.prediction(x, 1)
    assert lowest < low
    assert highest > high
    assert laws.gain(x, 4 * x)[0] >= 0


def test_a_known_floor_narrows_the_exponent() -> None:
    sizes = noisy(4)
    free, known = fitted(sizes)[1], fitted(sizes, "power-known-floor", 0.4)[1]
    (low, high), (tight_low, tight_high) = free.parameters()["c"], known.parameters()["c"]
    assert (high - low) > 3 * (tight_high - tight_low)


# --- noise ----------------------------------------------------------------------------------------------


def test_noise_pools_residuals_and_seeds_unless_the_law_does_not_fit() -> None:
    sizes = noisy(1, seeds=3)
    law, _ = fitted(sizes)
    estimate = noise(law)
    assert estimate is not None
    assert (estimate.df, estimate.source) == (18 - 3, "residuals and seeds")
    assert estimate.variance == pytest.approx((law.rss + sizes.spread_ss) / 15)
    bumpy = Sizes(sizes.x, sizes.y + 0.02 * np.array([1, -1, 1, -1, 1, -1]), sizes.runs, sizes.spread_ss, 12)
    far, _ = fitted(bumpy)
    worse = noise(far)
    assert worse is not None
    assert (worse.df, worse.source) == (3, "residuals")


def test_seeds_alone_give_intervals_where_the_law_is_exact() -> None:
    sizes = noisy(2, seeds=2, count=3)
    law, laws = fitted(sizes)
    assert law.df == 0
    assert laws.noise.source == "seeds"
    exact = fit(sizes_of([1, 2, 4], [0.5, 0.4, 0.35]))
    assert exact is not None
    assert region(exact) is None


# --- the hidden largest size --------------------------------------------------------------------------------


@settings(max_examples=examples(30), deadline=None)
@given(st.floats(0.05, 1), st.floats(0.001, 3), st.floats(0.05, 1), st.sampled_from([3, 4, 6]))
def test_points_exactly_on_a_law_have_intervals_around_it(
    floor: float, amplitude: float, exponent: float, count: int
) -> None:
    """All of the sum of squares is rounding, whose last digits differ between processors."""
    x = np.repeat(np.geomspace(1e-6, 1e-6 * 4 ** (count - 1), count), 2)
    sizes = sizes_of(list(x), list(floor + amplitude * (x / 1e-6) ** -exponent))
    law, laws = fitted(sizes)
    low, high = laws.curve(1e-5)
    assert low <= high
    assert float(law.predict(np.array([1e-5]))[0]) == pytest.approx((low + high) / 2, rel=1e-6)


def test_the_hidden_size_does_not_enter_its_own_prediction() -> None:
    x, y = list(WUKONG[0]), list(WUKONG[1])
    wild = [*y[:-1], 5.0]
    honest, fooled = (fit(sizes_of(x, losses, zero=-100)) for losses in (y, wild))
    assert honest is not None
    assert fooled is not None
    tests = [extrapolate(law) for law in (honest, fooled)]
    first, second = (test.sizes[0] for test in tests if test is not None)
    assert first.predicted == second.predicted
    assert first.interval == second.interval
    assert (first.inside, second.inside) == (True, False)
    assert first.error == pytest.approx(first.predicted + 0.76)
    assert first.no_gain_error == pytest.approx(-0.70 + 0.76)
    line = np.polyval(np.polyfit(np.log(x[:-1]), y[:-1], 1), np.log(x[-1]))
    assert first.loglin_error == pytest.approx(line + 0.76)
    assert first.distance == pytest.approx(np.log(108 / 61) / np.log(61 / 0.53))


def test_two_hidden_sizes_and_too_few_sizes() -> None:
    law = fit(sizes_of(*map(list, WUKONG), zero=-100))
    assert law is not None
    both = extrapolate(law, hidden=2)
    assert both is not None
    assert [size.x for size in both.sizes] == [61.0, 108.0]
    logs = [np.log((100 + size.predicted) / (100 + size.observed)) for size in both.sizes]
    assert both.rmsle == pytest.approx(float(np.sqrt(np.mean(np.square(logs)))))
    short = fit(sizes_of([1, 2, 4], [0.5, 0.4, 0.35]))
    assert short is not None
    assert extrapolate(short) is None


# --- coverage -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_coverage_is_within_two_points_of_the_level(seeds: int) -> None:
    """1,000 simulated curves: 95 % within two points, and three standard errors of the simulation."""
    every = [hits(trial, seeds) for trial in range(1000)]
    slack = 0.02 + 3 * (0.95 * 0.05 / 1000) ** 0.5
    shares = {name: sum(one[name] for one in every) / 1000 for name in every[0]}
    assert all(abs(share - 0.95) <= slack for share in shares.values()), shares
