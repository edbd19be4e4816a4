import hashlib
import json
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
from wukongctl.report import canvas, evidence, files, palette, plots
from wukongctl.report.document import to_csv, to_json
from wukongctl.report.joint_plot import joint_figure


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
def test_figures_are_svg_documents_without_dates_or_links(width: canvas.Width) -> None:
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
    assert (width, height) in {(1640, 1000), (1639, 1000)}  # matplotlib before 3.11 rounds down


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
    assert len(palette.DARK_COLORS) == len(palette.COLORS) == len(canvas.MARKERS)
    assert len({*palette.COLORS}) == 8


def test_size_and_data_together_are_drawn_in_color(tmp_path: Path) -> None:
    """Without a grid, every amount of data has one size: curves over size would be dots."""
    rng = np.random.default_rng(3)
    sizes = np.repeat(10 ** rng.uniform(6, 9, 15), 2)
    amounts = 10 ** rng.uniform(8, 11, 30)
    losses = 1.7 + 400 * sizes**-0.34 + 410 * amounts**-0.28
    rows = [f"{n:.0f}\t{d:.0f}\t{y}" for n, d, y in zip(sizes, amounts, losses, strict=True)]
    path = tmp_path / "n$d.tsv"
    path.write_text("\n".join(["params\ttokens\tloss", *rows]))
    report = build(read_table(path))
    drawn = texts(plots.joint_svg(report))
    assert {"parameters (millions)", "training tokens (billions)", "loss (smaller is better)"} <= set(drawn)
    assert evidence.is_dots(report)
    said = files.to_markdown(report)
    assert "parameters grow as parameters × tokens to the power of 0.4" in said
    assert "| best parameters |" in said
    assert "GFLOP" not in said
    assert "<image" not in plots.joint_svg(report)
    assert plots.joint_svg(report, width="narrow") != plots.joint_svg(report)


def test_a_joint_law_is_drawn_for_the_amounts_measured() -> None:
    points = tuple(
        Point("m", float(n), 0.3 + 0.02 * n**-0.4 + 2 * d**-0.3, examples=d)
        for n in (0.01, 0.1, 1, 10)
        for d in (1000, 4000, 64000)
    )
    report = build(PointSet(points, "logloss"), thorough=False)
    assert report.joint_laws[0].law is not None
    lines = joint_figure(report, "wide").axes[0].lines
    for line, d in zip(lines, (1000, 4000, 64000), strict=True):
        assert line.get_ydata()[0] == pytest.approx(0.3 + 0.02 * 0.01**-0.4 + 2 * d**-0.3, rel=1e-3)


def test_axis_and_loss_of_other_fields_are_named(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("model,flops,auc\na,1e15,0.7\na,2e15,0.71\na,4e15,0.715\na,8e15,0.72\n")
    report = build(read_table(path))
    drawn = texts(plots.scaling_svg(report))
    assert {
        "Loss against training compute",
        "training compute (PFLOP)",
        "1 − AUC (smaller is better)",
    } <= set(drawn)
    content = json.loads(to_json(report))
    assert content["x"] == {
        "axis": "training compute",
        "key": "training_flop",
        "title": "training compute (FLOP)",
    }
    assert content["y"] == {
        "title": "1 − AUC",
        "direction": "smaller is better",
        "column": "auc",
        "best": 1.0,
    }
    assert content["curves"][0]["points"][0]["training_flop"] == 1e15
    assert "Lowest 1 − AUC: 0.28, at 8 PFLOP of training." in files.to_markdown(report)
    again = tmp_path / "again.csv"
    again.write_text(to_csv(report))
    assert [point.loss for point in read_table(again).points] == [
        point.loss for point in report.source.points
    ]


def test_many_marks_are_small_and_below_the_law() -> None:
    report = report_of(models=("wukong",), sizes=200)
    figure = plots.scaling_figure(report, "wide")
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    law = max(line.get_zorder() for line in figure.axes[0].lines if line.get_marker() == "None")
    assert marks
    assert all(mark.get_zorder() < law or mark.get_markersize() > 5 for mark in marks)
