"""Progress of long work; the caller decides whether and how to show it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

ProgressUnit = Literal["bytes", "rows", "steps"]
PROCESS_IO = Path("/proc/self/io")


class Progress(NamedTuple):
    """`done` of `total` units of one stage; `total` is None if unknown."""

    stage: str
    done: int = 0
    total: int | None = None
    unit: ProgressUnit = "steps"


ReportProgress = Callable[[Progress], None]
"""Called by long work with its progress so far."""


def silent(progress: Progress) -> None:
    """Ignore progress."""


def bytes_read() -> int | None:
    """Bytes this process has read from files; None except on Linux."""
    try:
        first, *_ = PROCESS_IO.read_text().splitlines()
        return int(first.removeprefix("rchar:"))
    except (OSError, ValueError):
        return None
