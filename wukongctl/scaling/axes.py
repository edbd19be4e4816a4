"""Scales that read well: limits, round ticks on a logarithmic axis, labels that do not overlap."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# From coarse to fine: the first that gives four ticks is used.
TICK_DIGITS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    tuple(n / 10 for n in range(10, 100, 5)),
    tuple(n / 10 for n in range(10, 100)),
)


def limit_y(axes: Axes, losses: Sequence[float], *, logarithmic: bool) -> None:
    """Limits from the losses alone, so that a wide band is cut off and not the points squeezed."""
    low, high = losses[0], losses[-1]
    if logarithmic:
        room = (high / low) ** 0.14 * 1.02
        axes.set_ylim(low / room, high * room)
        log_ticks(axes, "y")
    else:
        room = 0.14 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - room, high + room)


def log_ticks(axes: Axes, which: Literal["x", "y"]) -> None:
    """About four to eight round labels, whether the axis spans a third of a decade or six."""
    axis, limits = (axes.xaxis, axes.get_xlim()) if which == "x" else (axes.yaxis, axes.get_ylim())
    low, high = sorted(limits)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in TICK_DIGITS:
        ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            break
    axis.set_major_locator(FixedLocator(ticks[:: max(1, len(ticks) // 8)]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def signed(value: float, _: object) -> str:
    """A tick label with its sign, for matplotlib's `FuncFormatter`."""
    return f"{value:+.3g}".replace("-", "−") if abs(value) > 1e-15 else "0"


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending `heights` as little as needed to lie `gap` apart: merge neighbours into even blocks."""
    blocks: list[tuple[float, int]] = []  # (centre, members)
    for height in heights:
        blocks.append((height, 1))
        while len(blocks) > 1 and _overlap(blocks[-2], blocks[-1], gap):
            (low, few), (high, many) = blocks[-2:]
            blocks[-2:] = [((low * few + high * many) / (few + many), few + many)]
    return [centre + gap * (i - (count - 1) / 2) for centre, count in blocks for i in range(count)]


def _overlap(below: tuple[float, int], above: tuple[float, int], gap: float) -> bool:
    return above[0] - below[0] < gap * (below[1] + above[1]) / 2
