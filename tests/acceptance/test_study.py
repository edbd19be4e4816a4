"""The page of our own study says what its shipped points give."""

import statistics
from pathlib import Path

import pytest

from wukongctl.config import library
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.point_tables import read_table
from wukongctl.report.numbers import interval, number

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "study.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sizes() -> Report:
    return build(read_table(library.find_points("scaling/measured-sizes")), draws=0)


def test_laws_of_size(sizes: Report) -> None:
    assert [curve.name for curve in sizes.curves] == ["wukong", "dcnv2", "dlrm", "mlp"]
    for curve in sizes.curves:
        assert curve.law is not None
        assert curve.gain is not None
        c, e = (
            f"{number(curve.law.parameters[name])} ({interval(curve.intervals[name])})" for name in ("c", "E")
        )
        gain = f"{number(curve.gain.gain, 3)} ({interval(curve.gain.interval)})"
        assert f"| {curve.name} | {len(curve.sizes)} | {c} | {e} | {gain} |" in PAGE


def test_every_law_predicted_its_largest_size(sizes: Report) -> None:
    assert all(curve.extrapolation[0].sizes[0].inside for curve in sizes.curves)


def test_the_ladders_reach_two_decades_with_three_seeds(sizes: Report) -> None:
    for curve in sizes.curves:
        assert curve.sizes[-1].x / curve.sizes[0].x >= 100
        assert {size.runs for size in curve.sizes} == {3}


def test_laws_of_data() -> None:
    report = build(read_table(library.find_points("scaling/measured-data")), draws=0)
    assert len(report.data_laws) == 4
    for found in report.data_laws:
        cells = (
            f"{number(found.law.parameters[name])} ({interval(found.intervals[name])})" for name in ("c", "E")
        )
        assert f"| {found.curve} | {number(found.gflop_per_example * 1e6)} | {' | '.join(cells)} |" in PAGE


def test_losses_on_frappe() -> None:
    report = build(read_table(library.find_points("scaling/measured-frappe")), draws=0)
    for curve in report.curves:
        assert curve.descriptive
        cells = []
        for size in curve.sizes:
            losses = [p.loss for p in curve.points if p.x == size.x]
            cells.append(f"{statistics.mean(losses):.4f} ± {statistics.stdev(losses):.4f}")
        assert f"| {curve.name} | {' | '.join(cells)} |" in PAGE
