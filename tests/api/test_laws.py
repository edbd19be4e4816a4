"""A law of a table of points."""

import math

import pytest

import wukongctl as wk
from wukongctl.errors import UsageError
from wukongctl.report import plots

SIZES = [0.001 * 2**i for i in range(8)]
NOISE = [1.004, 0.997, 1.001, 0.998, 1.003, 0.999, 0.998, 1.002]


def table(x: str = "gflop_per_example", y: str = "logloss", scale: float = 1.0) -> dict[str, list[float]]:
    return {
        x: [scale * size for size in SIZES],
        y: [0.4 + n * 0.02 * s**-0.3 for s, n in zip(SIZES, NOISE, strict=True)],
    }


def test_the_planted_law_is_found_with_intervals() -> None:
    law = wk.fit_law(table())
    assert law.form == "power"
    for name, planted in {"E": 0.4, "A": 0.02, "c": 0.3}.items():
        low, high = law.intervals[name]
        assert low < planted < high
        assert low < law.parameters[name] < high
    assert law.parameters["c"] == pytest.approx(0.3, abs=0.05)
    assert "c 0." in repr(law)
    assert all(law.notes.values())


def test_any_column_is_an_axis_in_its_own_unit() -> None:
    compute, examples = (
        wk.fit_law(table()),
        wk.fit_law(table("examples", "loss", 1e9), x="examples", y="loss"),
    )
    assert examples.parameters["c"] == pytest.approx(compute.parameters["c"], rel=1e-3)
    at = examples.predict(1e9)
    assert at.x == 1e9
    assert at.loss == pytest.approx(compute.predict(1.0).loss, rel=1e-3)
    assert at.interval[0] < at.loss < at.interval[1]
    assert at.extrapolated


def test_units_are_those_of_the_column() -> None:
    in_millions = wk.fit_law(table("mflop_per_example", scale=1e3))
    assert in_millions.predict(1e3).loss == pytest.approx(wk.fit_law(table()).predict(1.0).loss, rel=1e-6)


def test_a_metric_of_which_larger_is_better_is_measured_from_its_best_value() -> None:
    points = table()
    points["auc"] = [1 - loss for loss in points.pop("logloss")]
    assert wk.fit_law(points).parameters["c"] == pytest.approx(0.3, abs=0.05)


def test_intervals_widen_beyond_the_sizes() -> None:
    law = wk.fit_law(table())
    inside, outside = (law.predict(x) for x in (0.01, 10.0))
    assert not inside.extrapolated
    widths = [high - low for low, high in (inside.interval, outside.interval)]
    assert widths[0] < widths[1]


def test_the_plot_is_a_figure_with_the_axis_named(monkeypatch: pytest.MonkeyPatch) -> None:
    law = wk.fit_law(table("a {b}", "logloss"), x="a {b}")
    assert law.plot().axes[0].get_xlabel().startswith("a {b}")
    monkeypatch.setattr(plots, "scaling_svg", lambda report: f"<svg>{len(report.curves)}</svg>")
    assert law._repr_svg_() == "<svg>1</svg>"


def test_diverged_rows_are_not_fitted() -> None:
    points = table()
    points["logloss"][2] = math.nan
    law = wk.fit_law(points)
    assert len(law.curve.points) == 7
    assert [run.reason for run in law.report.excluded] == ["diverged"]


def test_two_sizes_have_no_law() -> None:
    law = wk.fit_law({"gflop_per_example": [1.0, 2.0], "logloss": [0.5, 0.4]})
    assert law.parameters == {}
    assert "too few sizes" in repr(law)
    with pytest.raises(UsageError, match="too few to predict from"):
        law.predict(3.0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"hours": [1.0], "logloss": [0.5]}, "compute, parameters, examples or tokens"),
        ({"gflop_per_example": [0.0], "logloss": [0.5]}, "`0` is not positive"),
        ({"gflop_per_example": [math.nan], "logloss": [0.5]}, "`nan` is not finite"),
        ({"gflop_per_example": [1.0], "logloss": ["low"]}, "`low` is not a number"),
        ({"gflop_per_example": [1.0], "logloss": [-0.1]}, "`-0.1` is negative"),
        ({"gflop_per_example": [1.0, 2.0], "logloss": [0.5, 0.4], "model": ["a", "b"]}, "2 curves, a, b"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(points: dict[str, list[object]], message: str) -> None:
    with pytest.raises(UsageError) as error:
        wk.fit_law(points)
    told = [str(error.value), *getattr(error.value, "__notes__", [])]
    assert message in "\n".join(told)
    assert not any("/" in line for line in told), "no path of a temporary file"


def test_x_has_to_be_positive() -> None:
    with pytest.raises(UsageError, match="no loss to predict at -1"):
        wk.fit_law(table()).predict(-1)
