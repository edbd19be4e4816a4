"""Amounts, rates and durations, with a fake clock."""

import pytest

from wukongctl.cli import pace
from wukongctl.data.progress import Progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    return clock


def test_amount_and_rate(now: list[float]) -> None:
    shown = pace.Pace()

    def at(seconds: float, done: int, total: int | None = 4_000_000_000, stage: str = "downloading") -> str:
        now[0] = seconds
        return shown.describe(Progress(stage, done, total, "bytes"))

    assert at(0, 0) == "0.0 of 4.0 GB"
    assert at(10, 100_000_000) == "0.1 of 4.0 GB, 10.0 MB/s"
    assert at(20, 100_000_000) == "0.1 of 4.0 GB, 5.0 MB/s"
    # After a stall longer than the window, the rate is zero, not an average with the past.
    stalled = [at(20 + second, 100_000_000) for second in range(1, 26)]
    assert stalled[-1] == "0.1 of 4.0 GB"
    assert at(46, 0, 5_000_000, stage="unpacking") == "0.0 of 5.0 MB"
    assert at(56, 50_000, None, stage="unpacking") == "0.1 MB, 0.0 MB/s"


def test_rows_and_steps(now: list[float]) -> None:
    shown = pace.Pace()
    shown.describe(Progress("encoding", 0, 10_000_000, "rows"))
    now[0] = 2.0
    assert (
        shown.describe(Progress("encoding", 1_000, 10_000_000, "rows"))
        == "1,000 of 10,000,000 rows, 500 rows/s"
    )
    assert shown.describe(Progress("counting", 1, 2)) == ""


def test_no_rate_from_a_moment(now: list[float]) -> None:
    rate = pace.Rate()
    assert rate.update(5) == 0
    now[0] = pace.SAMPLE_SECONDS / 2
    assert rate.update(6) == 0
    now[0] = pace.SAMPLE_SECONDS
    assert rate.update(7) == 2 / pace.SAMPLE_SECONDS


def test_rare_updates_have_a_rate(now: list[float]) -> None:
    """Runs that end every 30 seconds."""
    rate = pace.Rate()
    rate.update(0)
    for ended in range(1, 20):
        now[0] = 30.0 * ended
        assert rate.update(ended) == pytest.approx(1 / 30)
