"""The live line at 80 columns, and plain lines where no line can be redrawn."""

import io
import re
import sys

import pytest
from rich.console import Console

from wukongctl.cli import pace, progress

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    return clock


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, highlight=False)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.strip() for line in ANSI.sub("", console.file.getvalue()).replace("\r", "\n").splitlines()]


def frame(console: Console, live: progress.ProgressBar) -> str:
    """The bar as it looks now."""
    still = terminal(console.width)
    still.print(live.progress.get_renderable())  # type: ignore[attr-defined]
    return lines(still)[0]


DETAIL = "wukong-with-a-long-name · loss 0.4321 · best valid auc 0.8123 · 123,456 examples/s"


@pytest.mark.parametrize("width", [80, 200])
def test_share_and_time_left_stay_and_the_detail_is_cut(width: int, now: list[float]) -> None:
    console = terminal(width)
    with progress.bar(console) as live:
        live.update("train wukong", 10, 100, DETAIL)
        assert "left" not in frame(console, live)  # nothing to tell it from yet
        now[0] = 10.0
        live.update("train wukong", 20, 100, DETAIL)
        shown = frame(console, live)
    assert shown.startswith("train wukong ")
    assert " 20% 1 min 20 s left wukong-with" in shown
    assert len(shown) <= width
    assert shown.rstrip().endswith("…") == (width == 80)


def test_no_frame_lacks_its_stage() -> None:
    console = terminal(80)
    with progress.bar(console) as live:
        assert lines(console) == []
        live.update("counting", 0, None)
    assert all(line.startswith("counting") for line in lines(console) if line)


def test_lines_are_printed_above_the_bar() -> None:
    console = terminal(80)
    with progress.bar(console) as live:
        live.update("sweep", 1, 4, "wukong")
        progress.echo("[1/4] wukong[0], seed 0: valid auc 0.81")
        live.update("sweep", 2, 4, "wukong")
    assert "[1/4] wukong[0], seed 0: valid auc 0.81" in lines(console)


def test_a_new_stage_starts_over(now: list[float]) -> None:
    console = terminal(120)
    with progress.bar(console) as live:
        for seconds, done in ((0, 0), (10, 50)):
            now[0] = seconds
            live.update("download", done, 100)
        assert "10 s left" in frame(console, live)
        live.update("count", 1, 2)
        assert "left" not in frame(console, live)
        assert frame(console, live).startswith("count ")


def test_plain_lines_say_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with progress.bar(None) as plain:
        for seconds, done in ((0, 0), (20, 1), (40, 2)):
            now[0] = seconds
            plain.update("training", done, 10, "run 3 of 10")
    assert capsys.readouterr().err == "training: 20% after 40 s, 2 min 40 s left, run 3 of 10\n"


@pytest.mark.parametrize(
    ("term", "expected"), [("xterm-256color", True), ("dumb", False), ("unknown", False)]
)
def test_dumb_terminals_get_plain_lines(monkeypatch: pytest.MonkeyPatch, term: str, expected: bool) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert progress.is_terminal() == expected
