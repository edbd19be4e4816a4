from wukongctl.laws.analysis import build
from wukongctl.laws.grouping import grouped
from wukongctl.laws.points import Point, PointSet


def test_sizes_that_differ_by_rounding_are_one_and_said_so() -> None:
    points = tuple(
        Point("m", x * (1 + 1e-7 * seed), 0.4 + 0.1 / x + 1e-3 * seed, seed)
        for x in (1.0, 2, 4, 8, 16)
        for seed in (0, 1)
    )
    report = build(PointSet(points, "logloss"), draws=0)
    assert [size.runs for size in report.curves[0].sizes] == [2] * 5
    assert "single_seed" not in report.curves[0].notes
    assert (
        "Sizes within 0.01 % of each other count as one: 10 different values make 5 sizes." in report.remarks
    )


def test_other_sizes_and_other_curves_are_left_alone() -> None:
    points = tuple(Point(m, x, 0.4, 0) for m, x in (("a", 1.0), ("a", 1.001), ("b", 1.00001), ("b", 2.0)))
    source = PointSet(points, "logloss")
    assert grouped(source) == (source, ())


def test_parameters_that_differ_by_rounding_are_those_of_one_model() -> None:
    for dense, mixed in ((1_000_001, False), (1_001_000, True)):
        points = tuple(
            Point("m", x, 0.4 + 0.1 / x + 1e-3 * seed, seed, dense_params=dense if seed else 1_000_000)
            for x in (1.0, 2, 4, 8, 16)
            for seed in (0, 1)
        )
        (curve,) = build(PointSet(points, "logloss"), draws=0).curves
        assert ("unequal_params" in curve.notes) == mixed
