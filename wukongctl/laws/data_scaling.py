"""Studies of data scaling: which runs vary the amount of data, and which of them make a curve over size."""

from collections.abc import Sequence

from wukongctl.laws.points import Point

# Early stopping changes the number of examples a little, a study of data scaling by at least this factor.
STUDIED_RATIO = 1.5


def varies_data(points: Sequence[Point]) -> bool:
    """Whether some size was trained on clearly different numbers of examples, in at most one epoch each."""
    return any(varies([run.examples for run in runs]) for runs in by_size(single_epoch(points)).values())


def one_amount(points: Sequence[Point]) -> tuple[Point, ...]:
    """The runs to which a curve over size is fitted: all, or in a study of data scaling those of one amount.

    This is the amount of data that most sizes were trained on; of several, the largest.
    """
    if not varies_data(points):
        return tuple(points)
    sizes: dict[int, set[float]] = {}
    for point in points:
        if point.examples:
            sizes.setdefault(point.examples, set()).add(point.x)
    chosen = max(sizes, key=lambda examples: (len(sizes[examples]), examples))
    return tuple(point for point in points if point.examples == chosen)


def single_epoch(points: Sequence[Point]) -> list[Point]:
    """Runs of at most one epoch; with more, examples repeat and early stopping determines their number."""
    return [point for point in points if point.passes is None or point.passes <= 1]


def by_size(points: Sequence[Point]) -> dict[tuple[str, float], list[Point]]:
    """Runs by curve and size."""
    found: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        found.setdefault((point.curve, point.x), []).append(point)
    return found


def varies(examples: Sequence[int | None]) -> bool:
    """Whether the numbers of examples differ as in a study of data scaling."""
    known = [count for count in examples if count]
    return bool(known) and max(known) >= STUDIED_RATIO * min(known)
