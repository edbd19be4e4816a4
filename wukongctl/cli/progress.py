"""Progress of long operations on stderr: one live line on a terminal, plain lines elsewhere.

While a bar is live, other lines must go through `echo`, which prints them above it.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import click

from wukongctl.cli.pace import Rate, duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_INTERVAL_SECONDS = 30.0
BAR_WIDTH = 20
DUMB = ("dumb", "unknown")
"""Values of TERM of terminals that cannot move the cursor."""

_live: "list[Progress]" = []


class ProgressBar(Protocol):
    """Receives the progress of long operations."""

    def update(self, stage: str, done: float, total: float | None, detail: str = "") -> None:
        """`done` of `total` units of `stage`; `total` None when unknown."""
        ...


def echo(text: str) -> None:
    """Print a line on stderr, above the live bar if there is one."""
    if _live:
        _live[-1].console.print(text, soft_wrap=True)
    else:
        click.echo(text, err=True)


@contextlib.contextmanager
def bar(console: "Console | None") -> Iterator[ProgressBar]:
    """A live bar on `console`, plain lines if it is None."""
    if console is None:
        yield _PlainLines()
        return
    with _rich(console) as live:
        _live.append(live.progress)
        try:
            yield live
        finally:
            _live.pop()


def is_terminal() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in DUMB


class Silent:
    """With `--quiet` and `--json`."""

    def update(self, stage: str, done: float, total: float | None, detail: str = "") -> None:
        """Nothing to show."""


class _TimeLeft:
    """Of the current stage, from its rate in the last seconds; empty until that is known."""

    def __init__(self) -> None:
        self._stage, self._rate = "", Rate()

    def describe(self, stage: str, done: float, total: float | None) -> str:
        if stage != self._stage:
            self._stage, self._rate = stage, Rate()
        rate = self._rate.update(done)
        return f"{duration((total - done) / rate)} left" if total and rate and done < total else ""


class _PlainLines:
    """A line every half minute."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()
        self.left = _TimeLeft()

    def update(self, stage: str, done: float, total: float | None, detail: str = "") -> None:
        left = self.left.describe(stage, done, total)
        now = time.monotonic()
        if now - self.last < PLAIN_INTERVAL_SECONDS:
            return
        self.last = now
        share = f"{done / total:.0%}" if total else f"{done:,.0f}"
        parts = [f"{stage}: {share} after {duration(now - self.started)}", left, detail]
        click.echo(", ".join(part for part in parts if part), err=True)


class _Live:
    """The live line. It appears with the first update, so that it never lacks its stage."""

    def __init__(self, progress: "Progress") -> None:
        self.progress, self.left = progress, _TimeLeft()
        self.stage = ""

    def update(self, stage: str, done: float, total: float | None, detail: str = "") -> None:
        left = self.left.describe(stage, done, total)
        share = f"{done / total:4.0%}" if total else ""
        if not self.progress.tasks:
            self.progress.add_task(stage, total=total, share=share, left=left, detail=detail)
            self.progress.start()
        task = self.progress.task_ids[0]
        if stage != self.stage:
            self.stage = stage
            self.progress.reset(task, total=total, description=stage)
        self.progress.update(task, completed=done, total=total, share=share, left=left, detail=detail)


@contextlib.contextmanager
def _rich(console: "Console") -> Iterator[_Live]:
    """What matters most stands first, and the detail alone is cut where the terminal is narrow."""
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    kept, cut = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=kept),
        BarColumn(BAR_WIDTH),
        TextColumn("{task.fields[share]}", markup=False, table_column=kept),
        TextColumn("{task.fields[left]}", markup=False, table_column=kept),
        TextColumn("{task.fields[detail]}", markup=False, table_column=cut),
    )
    progress = Progress(*columns, console=console, transient=True, expand=True)
    try:
        yield _Live(progress)
    finally:
        progress.stop()
