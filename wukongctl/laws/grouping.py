"""Sizes that differ by rounding alone are one size."""

from dataclasses import replace

from wukongctl.laws.points import PointSet

TOLERANCE = 1e-4
"""Relative difference up to which neighboring sizes of a curve are one."""


def grouped(source: PointSet) -> tuple[PointSet, tuple[str, ...]]:
    """The points with nearly equal sizes of a curve set to the smallest, and a remark if there are any."""
    moved: dict[tuple[str, float], float] = {}
    for curve in {point.curve for point in source.points}:
        start = 0.0
        for x in sorted({point.x for point in source.points if point.curve == curve}):
            if start and x <= start * (1 + TOLERANCE):
                moved[curve, x] = start
            else:
                start = x
    if not moved:
        return source, ()
    points = tuple(replace(p, x=moved.get((p.curve, p.x), p.x)) for p in source.points)
    count = len({(p.curve, p.x) for p in source.points})
    remark = (
        f"Sizes within {100 * TOLERANCE:g} % of each other count as one: {count} different values make "
        f"{count - len(moved)} sizes."
    )
    return replace(source, points=points), (remark,)
