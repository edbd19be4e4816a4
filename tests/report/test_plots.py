import hashlib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tests.laws.paper import DLRM, WUKONG, table
from wukongctl.config.report import LossMetric
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Excluded, Point, PointSet
from wukongctl.models.counts import CONVENTION
from wukongctl.report import plots


def report_of(
    *,
    scale: float = 1.0,
    metric: LossMetric = "excess_logloss",
    models: tuple[str, ...] = ("wukong", "dlrm"),
    sizes: int = 5,
) -> Report:
    rng = np.random.default_rng(1)
    points = tuple(
        Point(model, float(x * scale), float((i + 1) * 0.05 * x**-0.2 * (1 + rng.normal(0, 0.01))), seed)
        for i, model in enumerate(models)
        for x in np.geomspace(1, 100, sizes)
        for seed in range(3)
    )
    excluded = (Excluded(models[-1], 120 * scale, "diverged"), Excluded("gone", 50 * scale, "unfinished"))
    return build(
        PointSet(points, metric, split="test", dataset="synthetic", convention=CONVENTION, excluded=excluded)
    )


def texts(svg: str) -> list[str]:
    """Matplotlib keeps every drawn string as a comment before its outlines."""
    return [line.strip()[4:-3].strip() for line in svg.splitlines() if line.strip().startswith("<!--")]


def test_the_same_report_gives_the_same_bytes() -> None:
    first, second = report_of(), report_of()
    assert plots.scaling_svg(first) == plots.scaling_svg(second)
    assert (
        hashlib.sha256(plots.scaling_png(first)).digest()
        == hashlib.sha256(plots.scaling_png(second)).digest()
    )
    assert plots.diagnostics_svg(first) == plots.diagnostics_svg(second)


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_figures_are_svg_documents_without_dates_or_links(width: plots.Width) -> None:
    for draw in (plots.scaling_svg, plots.diagnostics_svg):
        svg = draw(report_of(), width=width)
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "dc:date" not in svg
        links = [
            value for node in root.iter() for name, value in node.attrib.items() if name.endswith("href")
        ]
        assert all(link.startswith("#") for link in links)


def test_the_png_is_large_enough_for_print(tmp_path: Path) -> None:
    path = tmp_path / "scaling.png"
    path.write_bytes(plots.scaling_png(report_of()))
    height, width, _ = imread(path).shape
    assert (width, height) == (1640, 1000)


@pytest.mark.parametrize(
    ("scale", "unit", "tick"),
    [
        (1.0, "GFLOP", "10"),
        (1e-3, "MFLOP", "10"),
        (1e-6, "kFLOP", "10"),
        (2e4, "TFLOP", "300"),
        (1e-9, "kFLOP", "0.01"),
    ],
)
def test_compute_is_labeled_in_a_unit_that_reads_well(scale: float, unit: str, tick: str) -> None:
    drawn = texts(plots.scaling_svg(report_of(scale=scale)))
    assert f"training {unit} per example (6 × MAC)" in drawn
    assert tick in drawn


def test_names_diverged_runs_and_the_metric_are_drawn() -> None:
    drawn = texts(plots.scaling_svg(report_of()))
    assert {"wukong", "dlrm", "diverged", "excess LogLoss over the Bayes optimum"} <= set(drawn)
    assert "gone" not in drawn


def test_without_a_recorded_convention_none_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(table(Wukong=WUKONG, DLRM=DLRM))
    drawn = texts(plots.scaling_svg(build(read_table(path))))
    assert "training GFLOP per example" in drawn
    assert "LogLoss relative to the baseline (%)" in drawn


@pytest.mark.parametrize("sizes", [1, 2, 3])
def test_too_few_sizes_are_still_drawn(sizes: int) -> None:
    report = report_of(metric="logloss", sizes=sizes)
    assert "wukong" in texts(plots.scaling_svg(report))
    assert plots.diagnostics_svg(report)


def test_a_single_run_is_drawn() -> None:
    single = PointSet((Point("wukong", 1e-4, 0.5),), "logloss")
    assert "wukong" in texts(plots.scaling_svg(build(single)))


def test_a_negative_excess_falls_back_to_a_linear_axis() -> None:
    report = report_of()
    points = (replace(report.source.points[0], loss=-0.01), *report.source.points[1:])
    assert plots.scaling_svg(build(replace(report.source, points=points)))


def test_dark_colors_match_the_light_ones_in_number() -> None:
    assert len(plots.DARK_COLORS) == len(plots.COLORS) == len(plots.MARKERS)
    assert len({*plots.COLORS}) == 8
