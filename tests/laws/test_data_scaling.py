import json
from pathlib import Path

import numpy as np
import pytest

from wukongctl.laws.analysis import build, by_data
from wukongctl.laws.points import Point, PointSet
from wukongctl.report import document
from wukongctl.report import files as reports

SIZES, AMOUNTS = np.geomspace(0.01, 1, 5), (10_000, 31_623, 100_000, 316_228)


def study(amounts: tuple[int, ...] = AMOUNTS, seeds: int = 2, sd: float = 1e-4) -> PointSet:
    rng = np.random.default_rng(0)
    points = tuple(
        Point("wukong", float(n), 0.3 + 0.01 * n**-0.4 + 2.0 * d**-0.3 + rng.normal(0, sd), s, d, 10, 1.0)
        for n in SIZES
        for d in amounts
        for s in range(seeds)
    )
    return PointSet(points, "logloss")


def test_planted_laws_of_size_data_and_both_are_recovered() -> None:
    report = build(study(), draws=200)
    (curve,) = report.curves
    assert {point.examples for point in curve.points} == {AMOUNTS[-1]}
    assert "unequal_data" not in curve.notes
    assert curve.law is not None
    assert curve.law.parameters["c"] == pytest.approx(0.4, abs=0.05)
    assert [law.gflop_per_example for law in report.data_laws] == pytest.approx(SIZES)
    for law in report.data_laws:
        assert law.law.parameters["c"] == pytest.approx(0.3, abs=0.03)
        assert law.law.parameters["E"] == pytest.approx(0.3 + 0.01 * law.gflop_per_example**-0.4, abs=0.01)
    (joint,) = report.joint_laws
    assert joint.law is not None
    assert joint.law.parameters["a"] == pytest.approx(0.4, abs=0.03)
    assert joint.law.parameters["b"] == pytest.approx(0.3, abs=0.03)
    assert report.remarks[0] == (
        "Each curve over size uses one amount of data; 30 other runs enter the data laws only."
    )


def test_early_stopping_after_several_epochs_is_not_a_study_of_data() -> None:
    points = tuple(
        Point("wukong", n, 0.3 + 0.01 * n**-0.4, seed, 10_000 * epochs, 10, float(epochs))
        for n in SIZES
        for seed, epochs in enumerate((4, 7, 11))
    )
    report = build(PointSet(points, "logloss"))
    assert (report.data_laws, report.joint_laws) == ((), ())
    assert len(report.curves[0].points) == 15
    assert {"unequal_data", "multi_epoch"} <= set(report.curves[0].notes)


@pytest.mark.usefixtures("no_plots")
def test_data_laws_are_in_every_output(tmp_path: Path) -> None:
    report = build(study(), draws=50)
    data = json.loads(document.to_json(report))
    assert len(data["data_curves"]) == 5
    assert data["joint"][0]["points"] == 20
    for text in (reports.to_html(report), reports.to_markdown(report)):
        assert "More data at a fixed size" in text
        assert "Size and data together" in text
    moved = by_data(report)
    assert moved is not None
    curves = sorted(moved.curves, key=lambda curve: float(curve.name.split()[0]))
    names = ["10 MFLOP", "31.6 MFLOP", "100 MFLOP", "316 MFLOP", "1000 MFLOP"]
    assert [curve.name for curve in curves] == names
    for curve, law in zip(curves, report.data_laws, strict=True):
        assert curve.law is not None
        assert curve.law.parameters["c"] == pytest.approx(law.law.parameters["c"], rel=1e-6)
    assert {"data_svg", "data_png"} <= set(data["files"])
    assert data["files"].keys() == reports.write(report, tmp_path).keys()


def test_two_amounts_give_no_data_law_and_a_reason_against_a_joint_law() -> None:
    report = build(study(AMOUNTS[:2]))
    assert report.data_laws == ()
    assert report.joint_laws[0].reason == "amounts of data span less than a factor of ten"
    assert "span less than a factor of ten" in reports.to_markdown(report)


def test_early_stopping_is_not_a_study_of_data() -> None:
    rng = np.random.default_rng(1)
    points = tuple(
        Point("m", float(x), 0.5 / x, s, int(rng.integers(900, 1100))) for x in (1, 2, 4) for s in (0, 1)
    )
    report = build(PointSet(points, "logloss"))
    assert len(report.curves[0].points) == 6
    assert (report.data_laws, report.joint_laws) == ((), ())


def descent(amounts: tuple[int, ...], losses: list[float]) -> PointSet:
    points = (Point("m", 0.1, y, 0, d, 10, 1.0) for d, y in zip(amounts, losses, strict=True))
    return PointSet(tuple(points), "logloss")


def test_a_double_descent_over_data_states_no_exponent() -> None:
    """One run per amount: the loss falls, rises and falls again."""
    amounts = tuple(1000 * 2**i for i in range(9))
    report = build(descent(amounts, [0.60, 0.55, 0.50, 0.54, 0.62, 0.58, 0.48, 0.42, 0.40]))
    (law,) = report.data_laws
    assert {"nonmonotone", "single_seed"} <= set(law.notes)
    assert law.analysis.descriptive
    assert law.analysis.plateau.verdict == "undecided"
    markdown = reports.to_markdown(report)
    assert "| no law |" in markdown
    assert "Descriptive only" in markdown
    assert "training examples; they may differ" not in markdown  # the amounts are what varies
    data = document.to_dict(report)["data_curves"][0]
    assert data["parameters"]["c"] > 0
    assert data["plateau"]["verdict"] == "undecided"
    assert data["extrapolation"][0]["sizes"][0]["examples"] == 256_000
    assert {form["form"] for form in data["alternatives"]} >= {"power", "power0", "loglin"}


def test_a_robust_report_has_robust_laws_of_data() -> None:
    amounts = tuple(1000 * 2**i for i in range(10))
    clean = [0.3 + 4 * d**-0.4 * (1 + 1e-3 * (-1) ** i) for i, d in enumerate(amounts)]
    wild = [*clean[:4], clean[4] * 1.3, *clean[5:]]
    squares, robust = (build(descent(amounts, wild), delta=delta).data_laws[0] for delta in (None, 1e-3))
    assert abs(robust.law.parameters["c"] - 0.4) < 0.02 < abs(squares.law.parameters["c"] - 0.4)
    assert robust.intervals["c"][0] <= 0.4 <= robust.intervals["c"][1]


def test_more_data_that_hurts_is_named() -> None:
    report = build(descent(tuple(1000 * 2**i for i in range(7)), [0.40 + 0.02 * i for i in range(7)]))
    assert report.data_laws[0].analysis.plateau.verdict == "rising"
    assert "worse with more data" in reports.to_markdown(report)
    assert "worse with more data" in reports.to_html(report)
