"""Ctrl-C and SIGTERM. Three answers to them, each for another kind of work:

raise_stopped    the command's own: the process ends with one line, at any moment
interruptible    while a dataset is prepared: whatever error the libraries make of a signal, Interrupted
stop_requests    while a model trains: a flag that the loop reads between two steps
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from wukongctl.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal that no work of its own catches: while something is imported, read or written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.failure = Interrupted(
            f"interrupted{' by SIGTERM' * (number == signal.SIGTERM)}", signal_number=number
        )


def raise_stopped(report: Callable[[Interrupted], int]) -> None:
    """Raise Stopped at each signal; during an import, `report` it and exit with the code that gives.

    For the main thread of a command: the handlers stay.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        stopped = Stopped(number)
        if _importing(frame):  # there an exception can be lost in a library's C code, and no work has started
            os._exit(report(stopped.failure))
        raise stopped

    for number in STOPPING:
        signal.signal(number, stop)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """Raise Interrupted if a signal came while `name` was prepared, whatever error came of it.

    DuckDB and Arrow turn Ctrl-C into errors of their own, which must not be taken for bad data.
    """
    caught: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    with _handled_by(stop):
        try:
            yield
        except BaseException as error:
            if not caught:
                raise
            raise Interrupted(
                f"preparing `{name}` was interrupted; what was finished is kept",
                signal_number=caught[0],
                hint="the same command resumes it",
            ) from error


@dataclass
class StopRequest:
    """The signal that asked us to stop, if any."""

    signal_number: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM once; a second Ctrl-C interrupts at once."""
    request = StopRequest()

    def record(number: int, _frame: FrameType | None) -> None:
        if request.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = number

    with _handled_by(record):
        yield request


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Without effect outside the main thread, which alone may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
