"""How loss falls with the amount of data, at a fixed size of the model."""

from collections.abc import Sequence

from wukongctl.scaling.points import Point

# Early stopping changes the examples seen a little; a study of data changes them by half and more.
STUDIED_RATIO = 1.5


def varies_data(points: Sequence[Point]) -> bool:
    """Whether some size was trained on clearly different numbers of examples on purpose."""
    seen: dict[tuple[str, float], list[int]] = {}
    for point in points:
        if point.examples is not None:
            seen.setdefault((point.model, point.gflop_per_example), []).append(point.examples)
    return any(max(counts) >= STUDIED_RATIO * min(counts) for counts in seen.values())
