"""Loss over size and data together: every run in the color of its data, and the joint law."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from wukongctl.laws.analysis import Report
from wukongctl.laws.joint_laws import JointLaw
from wukongctl.laws.points import Point
from wukongctl.report.axes import limit_y, log_ticks
from wukongctl.report.canvas import INCHES, SOFT_INK, Width, frame_x, loss_title, write_title
from wukongctl.report.labels import literal, shorten

MOST_PANELS = 4
AMOUNTS, MOST_AMOUNTS = 5, 8
"""Amounts of data for which the law is drawn: those of the points, if there are no more than eight."""
# From little data to much; readable on white and, as the page keeps these colors, on dark ground.
SHADES = ("#e69f00", "#d55e00", "#b0479a", "#5b5bd6", "#1a8fc4")
SCALE = LinearSegmentedColormap.from_list("data", SHADES, N=64)


def joint_figure(report: Report, width: Width) -> Figure:
    """A panel per curve that has a joint law, of at most four: loss against size, data by color."""
    drawn = [law for law in report.joint_laws if law.law is not None][:MOST_PANELS]
    points = {law.curve: _points(report, law) for law in drawn}
    every = [point for each in points.values() for point in each]
    amounts = [point.examples or 1 for point in every]
    shades = LogNorm(min(amounts), max(amounts))
    columns = 1 if width == "narrow" or len(drawn) == 1 else 2
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(INCHES[width], 1.0 + 3.9 * rows))
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.98))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(drawn) :]:
        panel.set_visible(False)
    for panel, law in zip(panels, drawn, strict=False):
        if len(drawn) > 1:
            name = literal(shorten(law.curve, 10.5, 3.0))
            panel.set_title(name, loc="right", fontsize=10.5, color=SOFT_INK)
        _draw(panel, report, law, points[law.curve], shades)
        limit_y(panel, sorted(point.loss for point in every), logarithmic=False)
    for first in panels[::columns]:
        first.set_ylabel(loss_title(report))
    single = f", {drawn[0].curve}" if len(drawn) == 1 else ""
    write_title(panels[0], "Loss against size and data", f"lines: joint law{shorten(single, 9.3, 2.0)}")
    _color_bar(figure, report, shades, list(panels[: len(drawn)]))
    return figure


def _points(report: Report, law: JointLaw) -> list[Point]:
    return [point for point in report.source.points if point.curve == law.curve and point.examples]


def _draw(axes: Axes, report: Report, law: JointLaw, points: Sequence[Point], shades: LogNorm) -> None:
    frame_x(axes, report)
    log_ticks(axes, "x")
    x = [point.x / report.unit.size for point in points]
    amounts = [point.examples or 1 for point in points]
    many = len(points) > 60
    axes.scatter(
        x, [point.loss for point in points], c=amounts, cmap=SCALE, norm=shades,
        s=12 if many else 30, alpha=0.7, linewidths=0, zorder=3,
    )  # fmt: skip
    if law.quoted is None:
        return
    sizes = np.geomspace(min(point.x for point in points), max(point.x for point in points), 80)
    distinct = sorted(set(amounts))
    few = len(distinct) <= MOST_AMOUNTS
    for amount in distinct if few else np.geomspace(distinct[0], distinct[-1], AMOUNTS):
        y = law.quoted.predict(sizes, np.full_like(sizes, amount))
        axes.plot(sizes / report.unit.size, y, color=SCALE(shades(amount)), linewidth=1.8, zorder=4)


def _color_bar(figure: Figure, report: Report, shades: LogNorm, panels: Sequence[Axes]) -> None:
    axis = report.source.data
    unit = axis.unit_for(math.sqrt((shades.vmin or 1.0) * (shades.vmax or 1.0)))
    bar = figure.colorbar(ScalarMappable(shades, SCALE), ax=list(panels), pad=0.02, aspect=30)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit.size:,.4g}"))
    bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    bar.set_label(axis.titled(unit))
    assert bar.solids is not None
    bar.solids.set_rasterized(False)  # an image inside SVG, which the page would not load
    bar.outline.set_visible(False)
