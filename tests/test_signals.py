"""How Ctrl-C and SIGTERM are answered. What becomes of a whole command: tests/cli and tests/data."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from wukongctl.errors import Interrupted
from wukongctl.signals import STOPPING, Stopped, interruptible, raise_stopped, stop_requests

Context = Callable[[], AbstractContextManager[Any]]
CONTEXTS: dict[str, Context] = {"interruptible": lambda: interruptible("own"), "stop_requests": stop_requests}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[Any]]:
    """Those of the tests' own process, put back whatever happens."""
    before = [signal.getsignal(number) for number in STOPPING]
    yield before
    for number, handler in zip(STOPPING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_handlers_are_put_back(context: Context, handlers: list[Any]) -> None:
    with context():
        assert [signal.getsignal(number) for number in STOPPING] != handlers
    assert [signal.getsignal(number) for number in STOPPING] == handlers
    with pytest.raises(ValueError, match="broken"), context():
        raise ValueError("broken")
    assert [signal.getsignal(number) for number in STOPPING] == handlers


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_other_threads_set_no_handlers(context: Context) -> None:
    """Only the main thread may, and Python raises ValueError elsewhere."""
    entered: list[bool] = []

    def work() -> None:
        with context():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [True]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_a_request_and_a_second_ctrl_c_an_interrupt(number: signal.Signals) -> None:
    with stop_requests() as request:
        assert request.signal_number is None
        signal.raise_signal(number)
        assert request.signal_number == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="unreadable"), interruptible("own"):
        raise RuntimeError("unreadable")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_stops_with_the_code_of_its_signal(number: signal.Signals, code: int) -> None:
    raise_stopped(lambda failure: failure.exit_code)
    with pytest.raises(Stopped) as stopped:
        signal.raise_signal(number)
    assert stopped.value.failure.exit_code == code
    assert isinstance(stopped.value.failure, Interrupted)
    assert ("SIGTERM" in stopped.value.failure.message) == (number == signal.SIGTERM)
