"""What the room tells a caller while it works; the caller decides whether and how to show it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

ProgressUnit = Literal["bytes", "rows", "steps"]


class Progress(NamedTuple):
    """`done` of `total` units of one stage; `total` is None where nobody knows."""

    stage: str
    done: int = 0
    total: int | None = None
    unit: ProgressUnit = "steps"


READ_BY_THIS_PROCESS = Path("/proc/self/io")
Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The report of a caller that does not look."""


def bytes_read() -> int | None:
    """Bytes this process has read from files so far; None where the system does not say (only Linux does)."""
    try:
        first, *_ = READ_BY_THIS_PROCESS.read_text().splitlines()
        return int(first.removeprefix("rchar:"))
    except (OSError, ValueError):
        return None
