"""Rounded numbers, intervals and lists for text."""

from wukongctl.laws.axis import Unit, axis_of

NOTHING = 1e-15
"""Smaller numbers are rounding errors of zero."""
SHOWN_NAMES = 4


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits and a true minus sign; a dash for None."""
    if value is None:
        return "–"
    size = abs(value) if abs(value) >= NOTHING else 0.0
    value = value if size else 0.0
    if size and (size < 1e-4 or size >= 1e7):
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:.{digits}g}" if size < 10**digits else f"{float(f'{value:.{digits}g}'):.0f}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")


def interval(ends: tuple[float | None, float | None] | None, digits: int = 3) -> str:
    """`low to high`; an open end reads as `…`."""
    if ends is None:
        return "–"
    low, high = ("…" if end is None else number(end, digits) for end in ends)
    return f"{low} to {high}"


def compute(x: float, unit: Unit) -> str:
    """A place on the axis in the report's unit, or in a nearer one outside 0.001 to 1000: `1.25 GFLOP`."""
    axis = axis_of(unit)
    if axis is not None and not 1e-3 <= x / unit.size < 1000 * (1 - 1e-4):
        unit = axis.unit_for(x * (1 + 1e-4))
    return f"{number(x / unit.size)} {unit.name if unit.after is None else unit.after}"


def listed(names: list[str]) -> str:
    """Such as `a, b and c`, or a count from the fifth on."""
    shown = (
        names
        if len(names) <= SHOWN_NAMES
        else [*names[: SHOWN_NAMES - 1], f"{len(names) - SHOWN_NAMES + 1} more"]
    )
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
