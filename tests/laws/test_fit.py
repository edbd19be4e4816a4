import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.examples import examples
from tests.laws.paper import DLRM, WUKONG, WUKONG_TASK2
from wukongctl.config.report import FormName
from wukongctl.laws.fit import Fit, f_test, fit, sizes_of
from wukongctl.laws.form import Form
from wukongctl.laws.forms import FORMS, form_named

planted = settings(deadline=None, max_examples=examples(15))


def law(x: list[float], y: list[float], form: FormName = "power", **options: float) -> Fit:
    zero = options.pop("zero", 0.0)
    found = fit(sizes_of(x, y, zero=zero), form_named(form), **options)
    assert found is not None
    return found


@planted
@given(
    floor=st.floats(0.05, 2.0),
    amplitude=st.floats(0.02, 1.0),
    exponent=st.floats(0.1, 1.2),
    smallest=st.floats(1e-6, 10.0),
    count=st.integers(4, 9),
)
def test_a_planted_law_is_recovered(
    floor: float, amplitude: float, exponent: float, smallest: float, count: int
) -> None:
    x = smallest * np.geomspace(1, 300, count)
    true = {"E": floor, "A": amplitude * smallest**exponent, "c": exponent}
    y = floor + amplitude * (x / smallest) ** -exponent
    found = law(list(x), list(y))
    assert found.status == "converged"
    assert found.parameters == pytest.approx(true, rel=1e-6)


@planted
@given(amplitude=st.floats(0.01, 5.0), exponent=st.floats(1e-3, 1.5), floor=st.floats(0.0, 1.0))
def test_a_known_floor_recovers_the_rest(amplitude: float, exponent: float, floor: float) -> None:
    x = np.geomspace(1e-4, 1e-1, 4)
    y = floor + amplitude * (x / 1e-3) ** -exponent
    found = law(list(x), list(y), "power-known-floor", floor=floor)
    assert found.parameters["c"] == pytest.approx(exponent, rel=1e-6)
    assert found.predict(x) == pytest.approx(y, rel=1e-8)


@planted
@given(seed=st.integers(0, 10_000), exponent=st.floats(0.15, 0.8))
def test_noisy_fits_are_at_least_as_good_as_curve_fit(seed: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.geomspace(0.01, 10, 7)
    y = 0.4 + 0.05 * x**-exponent + rng.normal(0, 5e-4, len(x))
    found = law(list(x), list(y))
    start = (0.4, 0.05, exponent)
    bounds = ([0, 0, 1e-3], [np.inf, np.inf, 3])
    best, _ = optimize.curve_fit(lambda x, e, a, c: e + a * x**-c, x, y, p0=start, bounds=bounds, xtol=1e-14)
    theirs = float(np.sum((y - best[0] - best[1] * x ** -best[2]) ** 2))
    assert found.rss <= theirs * (1 + 1e-9)
    assert found.rss == pytest.approx(float(np.sum((y - found.predict(x)) ** 2)), rel=1e-6)


def test_repeated_runs_have_the_weight_of_single_points() -> None:
    rng = np.random.default_rng(3)
    x = np.repeat([0.1, 0.4, 2.0, 9.0, 30.0], [1, 3, 2, 4, 2])
    y = 0.4 + 0.03 * x**-0.4 + rng.normal(0, 1e-3, len(x))
    found = law(list(x), list(y))
    best, _ = optimize.curve_fit(
        lambda x, e, a, c: e + a * x**-c, x, y, p0=(0.4, 0.03, 0.4), xtol=1e-14, ftol=1e-14
    )
    assert list(found.parameters.values()) == pytest.approx(best, rel=1e-4)
    every = float(np.sum((y - found.predict(x)) ** 2))
    assert found.rss + found.sizes.spread_ss == pytest.approx(every)
    assert found.sizes.spread_df == 12 - 5


def test_loglin_is_a_regression_on_the_logarithm() -> None:
    found = law(*map(list, WUKONG), form="loglin", zero=-100)
    oracle = stats.linregress(np.log(WUKONG[0]), WUKONG[1])
    assert found.parameters == pytest.approx({"p": oracle.intercept, "q": oracle.slope})


def test_the_unit_of_compute_changes_only_the_amplitude() -> None:
    x, y = WUKONG
    here, there = law(list(x), list(y), zero=-100), law([v * 1e-9 for v in x], list(y), zero=-100)
    assert there.parameters["c"] == pytest.approx(here.parameters["c"], rel=1e-9)
    assert there.parameters["E"] == pytest.approx(here.parameters["E"], rel=1e-9)


# --- the paper's Table 5 ------------------------------------------------------------------------------------


def test_the_papers_formula_needs_a_negative_exponent() -> None:
    found = law(*map(list, WUKONG), form="power0", zero=-100)
    assert found.parameters["A"] == pytest.approx(99.560, abs=5e-4)
    assert found.parameters["c"] == pytest.approx(0.000707, abs=5e-7)
    assert found.rmse == pytest.approx(0.0294, abs=5e-5)
    per_fourfold = found.predict(np.array([1.0])) - found.predict(np.array([4.0]))
    assert float(per_fourfold[0]) == pytest.approx(0.097, abs=1e-3)


@pytest.mark.parametrize(
    ("points", "floor", "exponent", "rmse"),
    [(WUKONG, -0.843, 0.294, 0.0134), (WUKONG_TASK2, -0.856, 0.283, 0.0156), (DLRM, -0.413, 0.511, 0.0095)],
)
def test_floor_forms_of_table_5(
    points: tuple[tuple[float, ...], tuple[float, ...]], floor: float, exponent: float, rmse: float
) -> None:
    found = law(*map(list, points), zero=-100)
    assert found.parameters["E"] == pytest.approx(floor, abs=5e-4)
    assert found.parameters["c"] == pytest.approx(exponent, abs=5e-4)
    assert found.rmse == pytest.approx(rmse, abs=5e-5)


def test_table_5_does_not_identify_a_floor() -> None:
    pure, line, floored = (
        law(*map(list, WUKONG), form=form, zero=-100) for form in ("power0", "loglin", "power")
    )
    assert [found.aicc for found in (pure, line, floored)] == pytest.approx(
        [-35.40, -35.37, -32.39], abs=0.005
    )
    assert line.parameters["q"] == pytest.approx(-0.0703, abs=5e-5)
    assert f_test(pure, floored) == pytest.approx(0.018, abs=5e-4)


# --- edges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_fewer_sizes_than_parameters_are_not_fitted(form: Form) -> None:
    needed = len(form.parameters)
    x = list(np.geomspace(1, 10, needed))
    assert fit(sizes_of(x[:-1], [0.5] * (needed - 1)), form) is None
    exact = law(x, [0.5, 0.4, 0.35][:needed], form.name)
    assert exact.df == 0
    assert exact.aicc is None
    assert exact.rss == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("losses", "parameter"),
    [
        ([0.5, 0.5, 0.6, 0.7], "A"),
        ([0.8, 0.4, 0.2, 0.1], "E"),
        ([0.8, 0.5, 0.2, 0.05], "E"),
        ([9.0, 0.4001, 0.4, 0.4], "c"),
    ],
)
def test_a_parameter_at_its_bound_is_reported(losses: list[float], parameter: str) -> None:
    found = law([1.0, 2.0, 4.0, 8.0], losses)
    assert found.status == "bound hit"
    assert parameter in found.at_bound


def test_an_exact_fit_has_a_finite_aicc() -> None:
    x = np.geomspace(1, 100, 8)
    assert np.isfinite(law(list(x), list(0.4 + x**-0.5)).aicc or np.nan)


def test_order_of_the_runs_does_not_matter() -> None:
    x, y = map(list, WUKONG)
    assert law(x, y, zero=-100).parameters == law(x[::-1], y[::-1], zero=-100).parameters
