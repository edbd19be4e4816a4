"""Plots of a report: loss against compute, with runs as dots and laws as lines with bands.

Figures are drawn without pyplot and saved without dates and with fixed ids, so that the output is
deterministic. The colors are Okabe and Ito's color-blind safe palette, https://jfly.uni-koeln.de/color/;
markers differ, too.
"""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import Unit
from wukongctl.laws.curves import Curve, DrawnLaw
from wukongctl.laws.measure import MEASURES
from wukongctl.report.axes import limit_y, log_ticks, signed, spread

Width: TypeAlias = Literal["wide", "narrow"]
WIDTHS: tuple[Width, ...] = ("wide", "narrow")

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6a51a3")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
# Lighter shades of the same colors, for the dark theme.
DARK_COLORS = ("#4fb3f0", "#ff8a4c", "#2fd0a0", "#ee9fca", "#f5b942", "#8fd0f7", "#c9a468", "#ab97f0")
INK, SOFT_INK, GRID = "#1f2328", "#59636e", "#d8dee4"

# A law whose band fills more of the axis than this is undetermined, and drawn as a dotted line.
WIDEST_BAND = 0.4
# Losses that span a larger factor are drawn on a logarithmic axis.
LINEAR_RANGE = 10.0
STATED_DASHES = (0, (6, 2, 1, 2))

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "wukongctl",
    "axes.edgecolor": SOFT_INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": SOFT_INK,
    "ytick.color": SOFT_INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.solid_capstyle": "round",
}


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(), style.context("default"):
        mpl.rcParams.update(STYLE)
        yield


def scaling_svg(report: Report, *, width: Width = "wide") -> str:
    """The curves as an SVG document."""
    with _style():
        return _svg(_scaling(report, width))


def scaling_png(report: Report) -> bytes:
    """The curves as a PNG of 200 dots per inch."""
    with _style():
        return _png(_scaling(report, "wide"))


def diagnostics_svg(report: Report, *, width: Width = "wide") -> str:
    """Residuals of the laws and predictions of the held-out largest size, as an SVG document."""
    with _style():
        return _svg(_diagnostics(report, width))


def color_of(index: int) -> str:
    """Color of the curve at `index` of a report."""
    return COLORS[index % len(COLORS)]


# --- figures ------------------------------------------------------------------------------------------------


def _scaling(report: Report, width: Width) -> Figure:
    figure = Figure(figsize=(8.2, 5.0) if width == "wide" else (4.4, 4.7))
    axes = figure.add_subplot()
    unit = report.unit
    logarithmic = _is_logarithmic(report)
    if logarithmic:
        axes.set_yscale("log")
    _frame(axes, report, unit)
    limit_y(axes, _all_losses(report), logarithmic=logarithmic)
    for index, curve in enumerate(report.curves):
        _draw_curve(axes, curve, index, unit.size)
    _draw_diverged(axes, report, unit.size)
    _draw_stated(axes, report)
    if report.source.metric == "relative_logloss":
        axes.axhline(0, color=SOFT_INK, linewidth=0.9, linestyle=(0, (1, 3)), zorder=1)
    axes.set_ylabel(_loss_title(report))
    _headline(axes, report, width)
    figure.subplots_adjust(**_margins(report, width))
    log_ticks(axes, "x")
    _label_curves(axes, report, figure.get_figheight())
    return figure


def _diagnostics(report: Report, width: Width) -> Figure:
    shape = (1, 2) if width == "wide" else (2, 1)
    figure = Figure(figsize=(8.2, 3.4) if width == "wide" else (4.4, 6.0), layout="constrained")
    residuals, hidden = figure.subplots(*shape)
    _draw_residuals(residuals, report)
    _draw_hidden(hidden, report)
    return figure


def _frame(axes: Axes, report: Report, unit: Unit) -> None:
    low, high = report.x_range
    axes.set_xscale("log")
    axes.set_xlim(low / 1.35 / unit.size, high * 2.0 / unit.size)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    axes.set_xlabel(_axis_title(report, unit))


def _draw_curve(axes: Axes, curve: Curve, index: int, unit: float) -> None:
    color = color_of(index)
    if curve.trace is None:
        sizes = sorted(curve.sizes, key=lambda size: size.x)
        x, y = [size.x / unit for size in sizes], [size.loss for size in sizes]
        axes.plot(x, y, color=color, linewidth=1.2, linestyle=(0, (1, 2)), zorder=3)
    else:
        _draw_law(axes, curve, curve.trace, color, unit)
    _draw_runs(axes, curve, index, unit)


def _draw_law(axes: Axes, curve: Curve, trace: DrawnLaw, color: str, unit: float) -> None:
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


def _draw_runs(axes: Axes, curve: Curve, index: int, unit: float) -> None:
    """Draw every run as a dot, and the mean of each size with its interval."""
    color, marker = color_of(index), MARKERS[index % len(MARKERS)]
    many = any(size.runs > 1 for size in curve.sizes)
    if many:
        x = [point.x / unit for point in curve.points]
        y = [point.loss for point in curve.points]
        axes.plot(x, y, marker, color=color, markersize=3.6, alpha=0.45, markeredgewidth=0, zorder=5)
    spread = [size for size in curve.sizes if size.interval is not None]
    if spread:
        at, means = [size.x / unit for size in spread], [size.loss for size in spread]
        halves = [size.interval[1] - size.loss for size in spread if size.interval]
        axes.errorbar(at, means, halves, fmt="none", color=color, linewidth=1.3, capsize=2.5, zorder=6)
    x = [size.x / unit for size in curve.sizes]
    y = [size.loss for size in curve.sizes]
    axes.plot(
        x, y, marker, color=color, markersize=6.8, markeredgecolor="white", markeredgewidth=1.0, zorder=7
    )


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


def _draw_residuals(axes: Axes, report: Report) -> None:
    unit = report.unit
    _frame(axes, report, unit)
    log_ticks(axes, "x")
    axes.axhline(0, color=SOFT_INK, linewidth=0.9)
    for index, curve in enumerate(report.curves):
        sizes = [size for size in curve.sizes if size.residual is not None]
        x = [size.x / unit.size for size in sizes]
        y = [size.residual or 0.0 for size in sizes]
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(x, y, "-", color=color_of(index), linewidth=0.9, alpha=0.55)
        axes.plot(x, y, marker, color=color_of(index), markersize=5.5, label=curve.name)
    axes.margins(y=0.18)
    axes.set_ylabel("mean loss minus law")
    axes.set_title("Residuals", loc="left", fontsize=11.5, fontweight="bold")
    axes.yaxis.set_major_formatter(FuncFormatter(signed))


def _draw_hidden(axes: Axes, report: Report) -> None:
    """One row per curve: the prediction error on the held-out largest size, with its interval."""
    tested = [(i, c, c.extrapolation[0].sizes[0]) for i, c in enumerate(report.curves) if c.extrapolation]
    axes.set_title(f"Held-out {report.source.axis.largest}", loc="left", fontsize=11.5, fontweight="bold")
    axes.axvline(0, color=SOFT_INK, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    reach = 0.0
    for row, (index, _, size) in enumerate(tested):
        color = color_of(index)
        reach = max(reach, abs(size.error), abs(size.loglin_error), abs(size.no_gain_error))
        if size.interval is not None:
            low, high = size.interval[0] - size.observed, size.interval[1] - size.observed
            axes.plot(
                [low, high],
                [row, row],
                color=color,
                linewidth=7,
                alpha=0.25,
                solid_capstyle="butt",
                zorder=2,
            )
        axes.plot(size.error, row, "D", color=color, markersize=7, zorder=4)
        axes.plot(size.loglin_error, row, "|", color=color, markersize=11, markeredgewidth=1.8, zorder=3)
        axes.plot(size.no_gain_error, row, "x", color=color, markersize=6, markeredgewidth=1.6, zorder=3)
    axes.set_xlim(-1.5 * (reach or 1), 1.5 * (reach or 1))
    axes.set_ylim(len(tested) - 0.4, -0.6)
    axes.set_yticks(range(len(tested)), [curve.name for _, curve, _ in tested])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(signed))
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(
        "predicted minus observed loss\n◆ law   | straight line in ln x   × no further gain", fontsize=9.5
    )


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


def _axis_title(report: Report, unit: Unit) -> str:
    """The title of the x axis, with the FLOP per multiply-accumulate where the runs recorded it."""
    stated = re.match(r"(\d+) (?:FLOP per|x|×) MAC", report.source.convention or "")
    return report.source.axis.titled(unit) + (f" ({stated[1]} × MAC)" if stated else "")


def _loss_title(report: Report) -> str:
    """The title of the y axis; a loss other than ours says which direction is better."""
    measure = report.source.measure
    return measure.title if measure.name in MEASURES else f"{measure.title} (smaller is better)"


def _headline(axes: Axes, report: Report, width: Width) -> None:
    """Draw the title, and below it the dataset, split and seeds."""
    lines = (
        (26, f"Loss against {report.source.axis.name}", INK, 12.5, "bold"),
        (10, _subtitle(report, width), SOFT_INK, 9.3, "normal"),
    )
    for offset, text, color, size, weight in lines:
        axes.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, offset),
            textcoords="offset points",
            color=color,
            fontsize=size,
            fontweight=weight,
        )


def _subtitle(report: Report, width: Width) -> str:
    source = report.source
    seeds = {size.runs for curve in report.curves for size in curve.sizes}
    words = [source.dataset or "", f"{source.split} split" if source.split else ""]
    if len(seeds) == 1:
        count = seeds.pop()
        words.append(f"{count} seeds per size" if count > 1 else "1 run per size")
    if width == "wide":
        words.append(f"law with {report.level * 100:g} % band, dashed beyond the data")
    return ("  ·  " if width == "wide" else " · ").join(word for word in words if word)


# --- direct labels ------------------------------------------------------------------------------------------


def _margins(report: Report, width: Width) -> dict[str, float]:
    """Margins, with space at the right for the longest curve name."""
    names = [curve.name for curve in report.curves] + [law.label for law in report.stated]
    longest = max(map(len, names))
    inches = 0.32 + 0.115 * min(longest, 24)
    total = 8.2 if width == "wide" else 4.4
    left = 0.82 if width == "wide" else 0.78
    return {"left": left / total, "right": 1 - inches / total, "top": 0.875, "bottom": 0.12}


def _label_curves(axes: Axes, report: Report, height: float) -> None:
    """Write each name in the right margin, in the color of its curve, without overlap.

    `height` is that of the figure in inches.
    """
    to_axes_fraction = axes.transAxes.inverted().transform
    ends: list[tuple[float, int | None, str]] = []
    for index, curve in enumerate(report.curves):
        x, y = (curve.trace.x[-1], curve.trace.y[-1]) if curve.trace else _last(curve)
        position = to_axes_fraction(axes.transData.transform((x / report.unit.size, y)))[1]
        ends.append((float(np.clip(position, 0.02, 0.98)), index, curve.name))
    for law in report.stated:
        last = report.x_range[1]
        position = to_axes_fraction(
            axes.transData.transform((last / report.unit.size, law.E + law.A * last**-law.c))
        )[1]
        ends.append((float(np.clip(position, 0.02, 0.98)), None, law.label))
    ends.sort(key=lambda end: end[0])
    inches = axes.get_position().height * height
    positions = spread([end[0] for end in ends], 0.2 / inches)
    for position, (natural, index, name) in zip(positions, ends, strict=True):
        color = INK if index is None else color_of(index)
        axes.plot(
            [1.0, 1.018],
            [natural, position],
            color=color,
            linewidth=1,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.026, position, name, transform=axes.transAxes, color=color, va="center", fontweight="bold"
        )


def _last(curve: Curve) -> tuple[float, float]:
    return curve.sizes[-1].x, curve.sizes[-1].loss


# --- saving -------------------------------------------------------------------------------------------------


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
