"""Axis limits, round ticks on logarithmic axes, and labels that do not overlap."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

POINTS_PER_INCH = 72.0
LABEL_POINTS = 6.5
"""Width of a digit of a tick label."""
# From coarse to fine: the first with at least four ticks is used.
TICK_DIGITS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    tuple(n / 10 for n in range(10, 100, 5)),
    tuple(n / 10 for n in range(10, 100)),
)


def limit_y(axes: Axes, losses: Sequence[float], *, logarithmic: bool) -> None:
    """Set limits by the losses alone: wide bands are clipped instead of squeezing the points."""
    low, high = losses[0], losses[-1]
    if logarithmic:
        padding = (high / low) ** 0.14 * 1.02
        axes.set_ylim(low / padding, high * padding)
        log_ticks(axes, "y")
    else:
        padding = 0.14 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - padding, high + padding)


def log_ticks(axes: Axes, which: Literal["x", "y"]) -> None:
    """Set about four to eight round ticks, for axes of a third of a decade to six decades."""
    axis, limits = (axes.xaxis, axes.get_xlim()) if which == "x" else (axes.yaxis, axes.get_ylim())
    low, high = sorted(limits)
    ticks = _between(low, high, TICK_DIGITS[-1])
    for digits in TICK_DIGITS:
        if len(found := _between(low, high, digits)) >= 4:
            ticks = found
            break
    ticks = ticks[:: max(1, len(ticks) // 8)]
    if which == "x":
        ticks = _without_overlap(axes, ticks, math.log(high / low))
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _label(value)))


def _between(low: float, high: float, digits: tuple[float, ...]) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


def _without_overlap(axes: Axes, ticks: list[float], span: float) -> list[float]:
    """The ticks whose labels do not touch, powers of ten first."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    points = POINTS_PER_INCH * figure.get_figwidth() * axes.get_position().width
    widths = {tick: LABEL_POINTS * (len(_label(tick)) + 1) for tick in ticks}
    chosen: list[float] = []
    for tick in sorted(
        ticks, key=lambda tick: (abs(math.log10(tick) - round(math.log10(tick))) > 1e-9, tick)
    ):
        gaps = (
            abs(math.log(tick / other)) / span * points - (widths[tick] + widths[other]) / 2
            for other in chosen
        )
        if all(gap >= 0 for gap in gaps):
            chosen.append(tick)
    return sorted(chosen)


def _label(value: float) -> str:
    return f"{value:,.10g}"


def signed(value: float, _: object) -> str:
    """A tick label with its sign, for matplotlib's `FuncFormatter`."""
    return f"{value:+.3g}".replace("-", "−") if abs(value) > 1e-15 else "0"


def spread(
    heights: Sequence[float], gap: float, ends: tuple[float, float] = (-math.inf, math.inf)
) -> list[float]:
    """Move ascending `heights` at least `gap` apart, with little movement: close ones form even blocks.

    All stay between `ends`; where these leave too little room, they are evenly spaced there.
    """
    bottom, top = ends
    gap = min(gap, (top - bottom) / max(1, len(heights) - 1))
    blocks: list[tuple[float, int]] = []  # (center, members)
    for height in heights:
        blocks.append((height, 1))
        while len(blocks) > 1 and _overlap(blocks[-2], blocks[-1], gap):
            (low, few), (high, many) = blocks[-2:]
            blocks[-2:] = [((low * few + high * many) / (few + many), few + many)]
    found = [center + gap * (i - (count - 1) / 2) for center, count in blocks for i in range(count)]
    last = len(found) - 1
    found = [min(at, top - gap * (last - i)) for i, at in enumerate(found)]
    return [max(at, bottom + gap * i) for i, at in enumerate(found)]


def _overlap(below: tuple[float, int], above: tuple[float, int], gap: float) -> bool:
    return above[0] - below[0] < gap * (below[1] + above[1]) / 2
