"""Names written beside their curves: as wide as the margin allows, without overlap, on the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from wukongctl.report.axes import POINTS_PER_INCH, spread

SIZE, SMALL_SIZE = 10.5, 7.5
"""Font sizes in points: of a few names, and of many."""
MANY_NAMES = 17
MOST_NAMES = 40
LINE = 1.37
"""Height of a line over the font size."""
HINTING = 1.06
"""How much wider than its outlines a text may be drawn, as letters are placed at whole pixels."""
ELLIPSIS = "…"
LEADER_INCHES = 0.22
"""Space of the line from the end of a curve to its name."""


@dataclass(frozen=True, slots=True)
class PlotLabel:
    """A name, the height of the end of its curve as a fraction of the axes, and its color."""

    name: str
    height: float
    color: str


def literal(text: str) -> str:
    """A text as matplotlib draws it unchanged: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def font_size(names: Sequence[str], most: float) -> float:
    """The font size in points: small for many names, and for names that need it to fit into `most` inches."""
    fit = all(LEADER_INCHES + width_of(name, SIZE) <= most for name in names)
    return SIZE if fit and len(names) <= MANY_NAMES else SMALL_SIZE


def height_for(names: int, size: float, height: float, margins: float) -> float:
    """The height of a figure, at least `height`, whose axes have room for the names; all in inches.

    `margins` is the space above and below the axes.
    """
    shown = min(names, MOST_NAMES + 1)
    return max(height, margins + shown * size * LINE / POINTS_PER_INCH)


def width_for(names: Sequence[str], size: float, most: float) -> float:
    """Inches from the end of the axes to the end of the longest name, at most `most`."""
    rest = len(names) - MOST_NAMES
    written = [*names, _rest(rest)] if rest > 0 else names
    widest = max((width_of(name, size) for name in written), default=0.0)
    return LEADER_INCHES + min(widest, most - LEADER_INCHES) + 0.05


@lru_cache(maxsize=4096)
def width_of(name: str, size: float) -> float:
    """Width of a bold name in inches."""
    if not name.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold")
    points = TextPath((0, 0), literal(name), size=size, prop=font).get_extents().width
    return HINTING * float(points) / POINTS_PER_INCH


def shorten(name: str, size: float, inches: float) -> str:
    """The name, with its middle left out where it is wider."""
    if width_of(name, size) <= inches:
        return name
    kept = len(name) - 1
    while kept > 2 and width_of(_without_middle(name, kept), size) > inches:
        kept -= 1
    return _without_middle(name, kept)


def _without_middle(name: str, kept: int) -> str:
    return f"{name[: (kept + 1) // 2]}{ELLIPSIS}{name[len(name) - kept // 2 :]}"


def _rest(count: int) -> str:
    return f"and {count} more"


def write(
    axes: Axes, labels: Sequence[PlotLabel], *, size: float, inches: float, height: float, plain: str
) -> None:
    """Write the names in the right margin of `inches`, each in its color, with a line from its curve.

    `height` is that of the figure. Of very many names, those of the lowest curves are written, and how many
    there are besides in the color `plain`.
    """
    count = len(labels)
    shown = sorted(labels, key=lambda label: label.height)[:MOST_NAMES]
    heights = [label.height for label in shown]
    texts = [shorten(label.name, size, inches - LEADER_INCHES) for label in shown]
    if count > len(shown):
        heights.append(1.0)
        texts.append(_rest(count - len(shown)))
    gap = size * LINE / POINTS_PER_INCH / (axes.get_position().height * height)
    for index, position in enumerate(spread(heights, gap, ends=(0.01, 0.99))):
        label = shown[index] if index < len(shown) else None
        if label is not None:
            ends = ([1.0, 1.018], [label.height, position])
            axes.plot(*ends, color=label.color, linewidth=1, transform=axes.transAxes, clip_on=False)
        axes.text(
            1.026, position, literal(texts[index]), transform=axes.transAxes, va="center", fontsize=size,
            color=label.color if label else plain, fontweight="bold" if label else "normal",
        )  # fmt: skip
