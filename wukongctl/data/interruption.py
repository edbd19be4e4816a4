"""Ctrl-C and SIGTERM while a dataset is prepared: whatever they tear, the outcome is `Interrupted`."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wukongctl.errors import Interrupted


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """Raise Interrupted if a signal came, whatever error the libraries that it met made of it.

    DuckDB and Arrow turn Ctrl-C into errors of their own, which must not be taken for bad data. Without
    effect outside the main thread, which alone may catch signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except BaseException as error:
        if not caught:
            raise
        raise Interrupted(
            f"preparing `{name}` was interrupted; what was finished is kept",
            signal_number=caught[0],
            hint="the same command goes on from there",
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
