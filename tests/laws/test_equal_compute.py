from dataclasses import replace

import numpy as np
import pytest

from wukongctl.laws.analysis import Report, build
from wukongctl.laws.equal_compute import difference, exponent_differences, pairs_within_groups
from wukongctl.laws.points import Point, PointSet
from wukongctl.report.files import to_html, to_markdown


def report_of(count: int, *, groups: int = 1, compare_all: bool = False) -> Report:
    rng = np.random.default_rng(0)
    points = tuple(
        Point(
            f"m{m:02d}",
            float(x),
            0.4 + (0.03 + 0.01 * m) * x ** -(0.3 - 0.05 * (m % 2)) + rng.normal(0, 1e-4),
            seed,
            group=f"g{m % groups}" if groups > 1 else None,
        )
        for m in range(count)
        for x in np.geomspace(1, 100, 7)
        for seed in range(2)
    )
    return build(PointSet(points, "logloss"), draws=0, compare_all=compare_all, thorough=False)


def test_differences_of_losses_and_exponents_hold_the_truth() -> None:
    report = report_of(2)
    (exponent,) = report.comparisons.exponents
    assert (exponent.curve, exponent.reference) == ("m00", "m01")
    low, high = exponent.interval
    assert low <= 0.05 <= high
    losses = report.comparisons.equal_compute
    assert [one.x for one in losses] == pytest.approx([1, 10, 100])
    for one in losses:
        truth = 0.03 * one.x**-0.3 - 0.04 * one.x**-0.25
        assert one.interval[0] <= truth <= one.interval[1]
    for text in (to_html(report), to_markdown(report)):
        assert "At equal compute" in text
        assert "Exponent of m00 minus that of m01" in text


def test_only_curves_of_one_group_are_compared() -> None:
    report = report_of(4, groups=2)
    names = {(one.curve, one.reference) for one in report.comparisons.equal_compute}
    assert names == {("m00", "m02"), ("m01", "m03")}
    assert all((one.curve, one.reference) not in names for one in report.comparisons.compute_to_match
               if one.curve[-1] != one.reference[-1])  # fmt: skip
    pairs = {frozenset((one.curve, one.reference)) for one in report.comparisons.compute_to_match}
    assert pairs <= {frozenset(("m00", "m02")), frozenset(("m01", "m03"))}


def test_many_curves_are_compared_on_request_only() -> None:
    report = report_of(13)
    assert (report.comparisons.compute_to_match, report.comparisons.left_out) == ((), 13)
    assert any("13 curves are not compared" in remark for remark in report.remarks)
    asked = report_of(13, compare_all=True)
    assert len(asked.comparisons.exponents) == 13 * 12 / 2
    assert asked.comparisons.left_out == 0


def test_a_curve_whose_points_contradict_its_law_has_no_exponent_to_compare() -> None:
    report = report_of(2)
    wild = tuple(replace(curve, notes=("misfit",)) for curve in report.curves)
    assert list(exponent_differences(pairs_within_groups(wild, 12))) == []


def test_the_interval_of_a_difference_by_hand() -> None:
    assert difference((3.0, (2.0, 5.0)), (1.0, (0.0, 4.0))) == pytest.approx((2 - 10**0.5, 2 + 5**0.5))
