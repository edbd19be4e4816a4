"""Plots of a report: loss against compute, with runs as dots and laws as lines with bands."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wukongctl.laws.analysis import Report
from wukongctl.laws.curves import Curve, DrawnLaw
from wukongctl.report import labels
from wukongctl.report.axes import limit_y, log_ticks
from wukongctl.report.canvas import (
    INCHES,
    INK,
    SOFT_INK,
    Width,
    color_of,
    frame_x,
    loss_title,
    marker_of,
    png,
    styled,
    svg,
    write_title,
)
from wukongctl.report.diagnostics_plot import diagnostics
from wukongctl.report.joint_plot import joint_figure

HEIGHTS: dict[Width, float] = {"wide": 5.0, "narrow": 4.7}
TOP, BOTTOM = 0.63, 0.6
MOST_NAME_INCHES: dict[Width, float] = {"wide": 3.0, "narrow": 1.7}
MOST_BANDS = 12
"""Curves up to which bands are drawn: more would cover each other."""
FEW_MARKS, LEAST_MARK = 40, 1.8
"""Marks of a figure up to which they have full size, and the smallest size in points."""
# A law whose band fills more of the axis than this is undetermined, and drawn as a dotted line.
WIDEST_BAND = 0.4
# Losses that span a larger factor are drawn on a logarithmic axis.
LINEAR_RANGE = 10.0
STATED_DASHES = (0, (6, 2, 1, 2))


def scaling_svg(report: Report, *, width: Width = "wide") -> str:
    """The curves as an SVG document."""
    with styled():
        return svg(scaling_figure(report, width))


def scaling_png(report: Report) -> bytes:
    """The curves as a PNG of 200 dots per inch."""
    with styled():
        return png(scaling_figure(report, "wide"))


def diagnostics_svg(report: Report, *, width: Width = "wide") -> str:
    """Residuals of the laws and predictions of the held-out largest size, as an SVG document."""
    with styled():
        return svg(diagnostics(report, width))


def joint_svg(report: Report, *, width: Width = "wide") -> str:
    """Loss over size and data, as an SVG document; of reports with a joint law."""
    with styled():
        return svg(joint_figure(report, width))


def joint_png(report: Report) -> bytes:
    """Loss over size and data, as a PNG of 200 dots per inch."""
    with styled():
        return png(joint_figure(report, "wide"))


# --- figures ------------------------------------------------------------------------------------------------


def scaling_figure(report: Report, width: Width) -> Figure:
    """Loss against x: runs, laws and the names of the curves."""
    names = _names(report)
    size = labels.font_size(names, MOST_NAME_INCHES[width])
    height = labels.height_for(len(names), size, HEIGHTS[width], TOP + BOTTOM)
    inches = labels.width_for(names, size, MOST_NAME_INCHES[width])
    figure = Figure(figsize=(INCHES[width], height))
    axes = figure.add_subplot()
    unit = report.unit
    logarithmic = _is_logarithmic(report)
    if logarithmic:
        axes.set_yscale("log")
    frame_x(axes, report)
    limit_y(axes, _all_losses(report), logarithmic=logarithmic)
    shown = sum(len(curve.sizes) for curve in report.curves)
    for index, curve in enumerate(report.curves):
        _draw_curve(axes, curve, index, unit.size, shown, banded=len(report.curves) <= MOST_BANDS)
    _draw_diverged(axes, report, unit.size)
    _draw_stated(axes, report)
    if report.source.metric == "relative_logloss":
        axes.axhline(0, color=SOFT_INK, linewidth=0.9, linestyle=(0, (1, 3)), zorder=1)
    axes.set_ylabel(loss_title(report))
    write_title(axes, f"Loss against {report.source.axis.name}", _subtitle(report, width))
    figure.subplots_adjust(**_margins(inches, width, height))
    log_ticks(axes, "x")
    found = _labels(axes, report)
    labels.write(axes, found, size=size, inches=inches, height=height, plain=SOFT_INK)
    return figure


def _draw_curve(axes: Axes, curve: Curve, index: int, unit: float, shown: int, *, banded: bool) -> None:
    color = color_of(index)
    if curve.trace is None:
        sizes = sorted(curve.sizes, key=lambda size: size.x)
        x, y = [size.x / unit for size in sizes], [size.loss for size in sizes]
        axes.plot(x, y, color=color, linewidth=1.2, linestyle=(0, (1, 2)), zorder=3)
    else:
        _draw_law(axes, curve, curve.trace, color, unit, banded=banded)
    _draw_runs(axes, curve, index, unit, shown)


def _draw_law(axes: Axes, curve: Curve, trace: DrawnLaw, color: str, unit: float, *, banded: bool) -> None:
    """Draw the law solid in the measured range, dashed beyond, and dotted when it is not determined."""
    x, y = np.array(trace.x) / unit, np.array(trace.y)
    largest = curve.sizes[-1].x / unit
    inside, outside = x <= largest * (1 + 1e-12), x >= largest * (1 - 1e-12)
    if not _is_determined(axes, trace, inside):
        axes.plot(x[inside], y[inside], color=color, linewidth=1.6, linestyle=(0, (1, 1.6)), zorder=4)
        axes.plot(x[outside], y[outside], color=color, linewidth=1.0, linestyle=(0, (1, 3)), zorder=4)
        return
    axes.plot(x[inside], y[inside], color=color, linewidth=2.2, zorder=4)
    axes.plot(x[outside], y[outside], color=color, linewidth=1.5, linestyle=(0, (4, 2.5)), zorder=4)
    if banded:
        axes.fill_between(x, trace.lower, trace.upper, color=color, alpha=0.15, linewidth=0, zorder=2)


def _is_determined(axes: Axes, trace: DrawnLaw, inside: NDArray[np.bool_]) -> bool:
    """Whether the band is on average much narrower than the axis, over the measured range."""
    if not trace.lower:
        return False
    bottom, top = axes.get_ylim()
    low, high = np.clip(trace.lower, bottom, top)[inside], np.clip(trace.upper, bottom, top)[inside]
    if axes.get_yscale() == "log":
        low, high, bottom, top = np.log(low), np.log(high), math.log(bottom), math.log(top)
    return float(np.mean(high - low)) < WIDEST_BAND * (top - bottom)


def _draw_runs(axes: Axes, curve: Curve, index: int, unit: float, shown: int) -> None:
    """Draw every run as a dot, and the mean of each size with its interval; `shown` marks in all.

    Of many marks each is small and pale, and below the laws.
    """
    color, marker = color_of(index), marker_of(index)
    shrink = min(1.0, (FEW_MARKS / shown) ** 0.5)
    few = shrink > 0.6
    if any(size.runs > 1 for size in curve.sizes):
        x = [point.x / unit for point in curve.points]
        y = [point.loss for point in curve.points]
        dot = max(LEAST_MARK, 3.6 * shrink)
        axes.plot(
            x, y, marker, color=color, markersize=dot, alpha=0.45, markeredgewidth=0, zorder=5 if few else 3
        )
    spread = [size for size in curve.sizes if size.interval is not None]
    if spread:
        at, means = [size.x / unit for size in spread], [size.loss for size in spread]
        halves = [size.interval[1] - size.loss for size in spread if size.interval]
        axes.errorbar(
            at, means, halves, fmt="none", color=color, linewidth=1.3 * shrink, capsize=2.5 * shrink,
            zorder=6 if few else 3,
        )  # fmt: skip
    x = [size.x / unit for size in curve.sizes]
    y = [size.loss for size in curve.sizes]
    axes.plot(
        x, y, marker, color=color, markersize=max(LEAST_MARK, 6.8 * shrink), alpha=1.0 if few else 0.5,
        markeredgecolor="white" if few else color, markeredgewidth=1.0 if few else 0.0,
        zorder=7 if few else 3,
    )  # fmt: skip


def _draw_diverged(axes: Axes, report: Report, unit: float) -> None:
    """Draw diverged runs as crosses at the top edge."""
    names = [curve.name for curve in report.curves]
    diverged = [run for run in report.excluded if run.reason == "diverged"]
    top = axes.get_xaxis_transform()
    for run in diverged:
        color = color_of(names.index(run.curve)) if run.curve in names else SOFT_INK
        axes.plot(
            run.x / unit, 0.985, "x", color=color, markersize=8, markeredgewidth=2,
            transform=top, clip_on=False, zorder=8,
        )  # fmt: skip
    if diverged:
        last = max(diverged, key=lambda run: run.x)
        axes.annotate(
            "diverged",
            (last.x / unit, 0.985),
            xycoords=top,
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
            color=SOFT_INK,
        )


def _draw_stated(axes: Axes, report: Report) -> None:
    """Draw laws stated elsewhere, over the full range of compute."""
    x = np.geomspace(*report.x_range, 100)
    for law in report.stated:
        y = law.E + law.A * x**-law.c
        axes.plot(x / report.unit.size, y, color=INK, linewidth=1.3, linestyle=STATED_DASHES, zorder=6)


# --- titles -------------------------------------------------------------------------------------------------


def _all_losses(report: Report) -> list[float]:
    ends = [end for curve in report.curves for size in curve.sizes for end in size.interval or ()]
    points = [point.loss for curve in report.curves for point in curve.points]
    return sorted(points + [end for end in ends if end > 0])


def _is_logarithmic(report: Report) -> bool:
    """Whether losses are drawn on a logarithmic axis: the excess over an optimum, and wide ranges."""
    measure, losses = report.source.measure, _all_losses(report)
    if losses[0] <= 0 or measure.zero < 0:
        return False
    return measure.name == "excess_logloss" or losses[-1] > LINEAR_RANGE * losses[0]


def _subtitle(report: Report, width: Width) -> str:
    source = report.source
    seeds = {size.runs for curve in report.curves for size in curve.sizes}
    words = [source.dataset or "", f"{source.split} split" if source.split else ""]
    if len(seeds) == 1:
        count = seeds.pop()
        place = source.axis.place
        words.append(f"{count} seeds per {place}" if count > 1 else f"1 run per {place}")
    if width == "wide":
        band = f" with {report.level * 100:g} % band" if len(report.curves) <= MOST_BANDS else ""
        words.append(f"law{band}, dashed beyond the data")
    return ("  ·  " if width == "wide" else " · ").join(word for word in words if word)


# --- direct labels ------------------------------------------------------------------------------------------


def _names(report: Report) -> list[str]:
    return [curve.name for curve in report.curves] + [law.label for law in report.stated]


def _margins(right: float, width: Width, height: float) -> dict[str, float]:
    """Margins, with `right` inches for the names; `height` is that of the figure in inches."""
    total, left = INCHES[width], 0.82 if width == "wide" else 0.78
    return {
        "left": left / total,
        "right": 1 - right / total,
        "top": 1 - TOP / height,
        "bottom": BOTTOM / height,
    }


def _labels(axes: Axes, report: Report) -> list[labels.PlotLabel]:
    """The name of each curve, in its color and at its end."""
    found = []
    for index, curve in enumerate(report.curves):
        x, y = (curve.trace.x[-1], curve.trace.y[-1]) if curve.trace else _last(curve)
        found.append(labels.PlotLabel(curve.name, _height_of(axes, x / report.unit.size, y), color_of(index)))
    for law in report.stated:
        last = report.x_range[1]
        end = _height_of(axes, last / report.unit.size, law.E + law.A * last**-law.c)
        found.append(labels.PlotLabel(law.label, end, INK))
    return found


def _height_of(axes: Axes, x: float, y: float) -> float:
    """Where a curve ends, as a fraction of the axes."""
    position = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))[1]
    return float(np.clip(position, 0.02, 0.98))


def _last(curve: Curve) -> tuple[float, float]:
    return curve.sizes[-1].x, curve.sizes[-1].loss
