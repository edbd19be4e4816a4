"""Residuals of the laws, and predictions of the sizes that were held out."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from wukongctl.laws.analysis import Report
from wukongctl.laws.curves import Curve
from wukongctl.laws.holdout import HiddenSize
from wukongctl.report.axes import log_ticks, signed
from wukongctl.report.canvas import GRID, SOFT_INK, Width, color_of, frame_x, marker_of
from wukongctl.report.labels import SMALL_SIZE, literal, shorten

MOST_ROWS = 40
ROW_INCHES = 0.17
NAME_INCHES = 1.4
KEY = "◆ law   | straight line in ln x\n× no further gain"


def diagnostics(report: Report, width: Width) -> Figure:
    """Both panels, side by side or one above the other."""
    rows = min(MOST_ROWS, sum(bool(curve.extrapolation) for curve in report.curves))
    tall = max(3.5, 1.2 + ROW_INCHES * rows)
    size = (8.2, tall) if width == "wide" else (4.4, 2.8 + tall)
    figure = Figure(figsize=size, layout="constrained")
    if width == "wide":
        residuals, hidden = figure.subplots(1, 2)
    else:
        residuals, hidden = figure.subplots(2, 1, height_ratios=(2.8, tall))
    _draw_residuals(residuals, report)
    _draw_hidden(hidden, report)
    return figure


def _draw_residuals(axes: Axes, report: Report) -> None:
    unit = report.unit
    frame_x(axes, report)
    log_ticks(axes, "x")
    axes.axhline(0, color=SOFT_INK, linewidth=0.9)
    for index, curve in enumerate(report.curves):
        sizes = [size for size in curve.sizes if size.residual is not None]
        x = [size.x / unit.size for size in sizes]
        y = [size.residual or 0.0 for size in sizes]
        axes.plot(x, y, "-", color=color_of(index), linewidth=0.9, alpha=0.55)
        axes.plot(x, y, marker_of(index), color=color_of(index), markersize=5.5 if len(x) <= 40 else 2.5)
    axes.margins(y=0.18)
    axes.set_ylabel("mean loss minus law")
    axes.set_title("Residuals", loc="left", fontsize=11.5, fontweight="bold")
    axes.yaxis.set_major_formatter(FuncFormatter(signed))


def _draw_hidden(axes: Axes, report: Report) -> None:
    """One row per curve: the prediction error on the held-out largest size, with its interval."""
    tested = [(i, c, c.extrapolation[0].sizes[0]) for i, c in enumerate(report.curves) if c.extrapolation]
    shown = tested[:MOST_ROWS]
    more = f", first {MOST_ROWS} of {len(tested)}" if len(tested) > MOST_ROWS else ""
    title = literal(f"Held-out {report.source.axis.largest}{more}")
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold")
    axes.axvline(0, color=SOFT_INK, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    for row, (index, _, size) in enumerate(shown):
        _draw_test(axes, row, size, color_of(index))
    reach = max((_reach(size) for _, _, size in shown), default=0.0)
    axes.set_xlim(-1.5 * (reach or 1), 1.5 * (reach or 1))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), [_name(curve) for _, curve, _ in shown])
    axes.tick_params(axis="y", length=0, labelsize=10.5 if len(shown) <= 12 else SMALL_SIZE)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(signed))
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(f"predicted minus observed loss\n{KEY}", fontsize=9)


def _draw_test(axes: Axes, row: int, size: HiddenSize, color: str) -> None:
    if size.interval is not None:
        ends = [size.interval[0] - size.observed, size.interval[1] - size.observed]
        axes.plot(ends, [row, row], color=color, linewidth=7, alpha=0.25, solid_capstyle="butt", zorder=2)
    axes.plot(size.error, row, "D", color=color, markersize=7, zorder=4)
    axes.plot(size.loglin_error, row, "|", color=color, markersize=11, markeredgewidth=1.8, zorder=3)
    axes.plot(size.no_gain_error, row, "x", color=color, markersize=6, markeredgewidth=1.6, zorder=3)


def _reach(size: HiddenSize) -> float:
    return max(abs(size.error), abs(size.loglin_error), abs(size.no_gain_error))


def _name(curve: Curve) -> str:
    return literal(shorten(curve.name, 10.5, NAME_INCHES))
