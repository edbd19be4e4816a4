"""Everything about a law comes from its form: shown with a form that is not shipped."""

from typing import get_args

import numpy as np
import pytest

from wukongctl.config.report import FormName
from wukongctl.laws.curves import Method, analyze
from wukongctl.laws.fit import fit, sizes_of
from wukongctl.laws.form import Array, Form
from wukongctl.laws.forms import FORMS, form_named
from wukongctl.laws.holdout import extrapolate
from wukongctl.laws.intervals import region
from wukongctl.laws.points import Point, PointSet
from wukongctl.laws.robust import fit_robust


class Exponential(Form):
    """y = E + A exp(-c x): nothing but what the base class asks for."""

    name = "exponential"  # type: ignore[assignment]
    equation = "y = E + A exp(-c x)"
    floor = "free"
    exponents = np.geomspace(1e-3, 10.0, 200)

    def basis(self, x: Array, c: float | Array) -> Array:
        return np.exp(-c * x)


X = np.repeat(np.linspace(0.2, 4.0, 8), 3)
TRUE = {"E": 0.4, "A": 0.1, "c": 0.7}


def losses(noise: float) -> list[float]:
    return list(0.4 + 0.1 * np.exp(-0.7 * X) + np.random.default_rng(2).normal(0, noise, len(X)))


def test_form_names_equal_those_of_recipes() -> None:
    assert tuple(form.name for form in FORMS) == get_args(FormName)
    assert [form_named(form.name) for form in FORMS] == list(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_decay_is_minus_the_logarithmic_derivative(form: Form) -> None:
    if form.exponents is None:
        return
    x, c, step = np.array([0.3, 1.0, 7.0]), 0.4, 1e-6
    numeric = -(np.log(form.basis(x, c + step)) - np.log(form.basis(x, c - step))) / (2 * step)
    assert form.decay(x, c) == pytest.approx(numeric, abs=1e-8)
    assert Form.decay(form, x, c) == pytest.approx(form.decay(x, c), abs=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_basis_and_basis_at_log_agree(form: Form) -> None:
    x, c = np.array([0.3, 1.0, 7.0]), np.array([[0.1], [0.9]])
    assert form.basis(x, c) == pytest.approx(form.basis_at_log(np.log(x), c))


def test_a_custom_form_is_fitted_exactly() -> None:
    law = fit(sizes_of(list(X), losses(0.0)), Exponential())
    assert law is not None
    assert law.status == "converged"
    assert law.parameters == pytest.approx(TRUE, rel=1e-6)
    assert law.predict(np.array([2.0])) == pytest.approx(0.4 + 0.1 * np.exp(-1.4))


def test_intervals_and_robust_fits_of_a_custom_form_contain_the_truth() -> None:
    sizes = sizes_of(list(X), losses(1e-4))
    law = fit(sizes, Exponential())
    assert law is not None
    laws = region(law)
    assert laws is not None
    for name, (low, high) in laws.parameters().items():
        assert low < TRUE[name] < high
        assert low < law.parameters[name] < high
    robust = fit_robust(sizes, Exponential(), floor=None, delta=1e-3)
    assert robust is not None
    assert robust.parameters == pytest.approx(TRUE, rel=0.05)
    test = extrapolate(law)
    assert test is not None
    assert test.sizes[0].inside


def test_a_curve_is_analyzed_with_a_custom_form() -> None:
    points = tuple(Point("m", float(x), y) for x, y in zip(X, losses(1e-4), strict=True))
    curve = analyze("m", points, PointSet(points, "logloss"), Method(Exponential()), draw_to=8.0)
    assert curve.law is not None
    assert set(curve.intervals) == {"E", "A", "c"}
    assert curve.trace is not None
    assert curve.gain is not None
    assert curve.gain.form == "exponential"
