"""What the room tells a caller while it works; the caller decides whether and how to show it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

Unit = Literal["bytes", "rows", "steps"]


class Progress(NamedTuple):
    """`done` of `total` units of one stage; `total` is None where nobody knows."""

    stage: str
    done: int = 0
    total: int | None = None
    unit: Unit = "steps"


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The report of a caller that does not look."""
