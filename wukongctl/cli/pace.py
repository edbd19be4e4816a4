"""Rates over the last seconds; amounts and durations as text."""

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wukongctl.data.progress import Progress

WINDOW_SECONDS = 20.0
"""The rate over the whole stage would hide a stall after a fast start."""
LEAST_SAMPLES = 8
"""Runs of a sweep end more rarely: over the window alone, their rate would be unknown most of the time."""
SAMPLE_SECONDS = 0.5


class Rate:
    """Units per second over the last seconds, or the last few updates where these take longer."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def update(self, done: float) -> float:
        """The rate, now that `done` units are done; 0 while it is unknown."""
        now = time.monotonic()
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, done))
        while now - self._samples[0][0] > WINDOW_SECONDS and len(self._samples) > LEAST_SAMPLES:
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now - since >= SAMPLE_SECONDS else 0.0


class Pace:
    """Amount and rate of the current stage."""

    def __init__(self) -> None:
        self._stage, self._rate = "", Rate()

    def describe(self, at: "Progress") -> str:
        """Such as `1.2 of 4.6 GB, 12.3 MB/s`; empty if the unit is steps."""
        if at.unit == "steps":
            return ""
        if at.stage != self._stage:
            self._stage, self._rate = at.stage, Rate()
        rate = self._rate.update(at.done)
        if rate <= 0:
            return _amount(at)
        return (
            f"{_amount(at)}, {rate / 1e6:,.1f} MB/s"
            if at.unit == "bytes"
            else f"{_amount(at)}, {rate:,.0f} rows/s"
        )


def _amount(at: "Progress") -> str:
    if at.unit == "rows":
        return f"{at.done:,} rows" if at.total is None else f"{at.done:,} of {at.total:,} rows"
    if at.total is None:
        return f"{at.done / 1e6:,.1f} MB"
    scale, unit = (1e9, "GB") if at.total >= 1e9 else (1e6, "MB")
    return f"{at.done / scale:,.1f} of {at.total / scale:,.1f} {unit}"


def duration(seconds: float) -> str:
    """`2 h 5 min`, `3 min 20 s` or `40 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
