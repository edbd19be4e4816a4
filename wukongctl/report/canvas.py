"""What all figures of a report share: colors, style, saving.

Figures are drawn without pyplot and saved without dates and with fixed ids, so that the output is
deterministic. Curves differ in color and marker.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import matplotlib as mpl
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wukongctl.laws.analysis import Report
from wukongctl.laws.measure import MEASURES
from wukongctl.report.labels import literal
from wukongctl.report.palette import COLORS

Width: TypeAlias = Literal["wide", "narrow"]
WIDTHS: tuple[Width, ...] = ("wide", "narrow")
INCHES: dict[Width, float] = {"wide": 8.2, "narrow": 4.4}

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, SOFT_INK, GRID = "#1f2328", "#59636e", "#d8dee4"

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
def styled() -> Iterator[None]:
    """The style of a report's figures."""
    with mpl.rc_context(), style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name with an emoji
        mpl.rcParams.update(STYLE)
        yield


def color_of(index: int) -> str:
    """Color of the curve at `index` of a report."""
    return COLORS[index % len(COLORS)]


def marker_of(index: int) -> str:
    """Marker of the curve at `index`; those of one color differ."""
    return MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def frame_x(axes: Axes, report: Report) -> None:
    """Set up the x axis of a report: logarithmic, in its unit, with room beyond the largest run."""
    low, high = report.x_range
    axes.set_xscale("log")
    axes.set_xlim(low / 1.35 / report.unit.size, high * 2.0 / report.unit.size)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    axes.set_xlabel(_axis_title(report))


def _axis_title(report: Report) -> str:
    """The title of the x axis, with the FLOP per multiply-accumulate where the runs recorded it."""
    stated = re.match(r"(\d+) (?:FLOP per|x|×) MAC", report.source.convention or "")
    title = literal(report.source.axis.titled(report.unit))
    return title + (f" ({stated[1]} × MAC)" if stated else "")


def loss_title(report: Report) -> str:
    """The title of the y axis; a loss other than ours says which direction is better."""
    measure = report.source.measure
    return measure.title if measure.name in MEASURES else literal(f"{measure.title} (smaller is better)")


def write_title(axes: Axes, title: str, subtitle: str) -> None:
    """Write a title, and a line of facts below it, at the left end of the axes."""
    lines = ((26, title, INK, 12.5, "bold"), (10, subtitle, SOFT_INK, 9.3, "normal"))
    for offset, text, color, size, weight in lines:
        axes.annotate(
            literal(text),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, offset),
            textcoords="offset points",
            color=color,
            fontsize=size,
            fontweight=weight,
        )


def svg(figure: Figure) -> str:
    """The figure as an SVG document."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def png(figure: Figure) -> bytes:
    """The figure as a PNG of 200 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
