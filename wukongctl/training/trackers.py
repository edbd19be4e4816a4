"""TensorBoard and MLflow, each fed by a thread: a slow or dead tracker neither delays nor stops a run."""

import importlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, assert_never

from wukongctl import extras
from wukongctl.errors import Interrupted
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunInfo, RunResult
from wukongctl.training.tracked import Record

log = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "mlflow"]
Ending = Literal["complete", "failed", "stopped"]
Write = Callable[[Record], None]
"""Takes one line of metrics.jsonl."""
LIBRARIES: dict[TrackerName, str] = {"tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow"}
LAST_SECONDS: dict[Ending, float] = {"complete": 60.0, "failed": 20.0, "stopped": 10.0}
"""How long a run waits at its end for a tracker; after SIGTERM, a scheduler kills it before long."""


class Tracker(Protocol):
    """One tracker of one run; any exception disables it."""

    def write(self, records: Sequence[Record]) -> None:
        """Log lines of metrics.jsonl."""
        ...

    def end(self, ending: Ending, result: RunResult | None, reason: str | None) -> None:
        """Log how the run ended: its result if it is complete, otherwise the reason."""
        ...


def require(names: Sequence[TrackerName]) -> None:
    """Raise UsageError if the extra of a tracker is not installed."""
    for name in names:
        match name:
            case "tensorboard":
                extras.require("`--track tensorboard`", name, "tensorboard")
            case "mlflow":
                to_server = os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http", "databricks"))
                stores = () if to_server else ("sqlalchemy", "alembic")
                extras.require("`--track mlflow`", name, "mlflow", *stores)
            case _:
                assert_never(name)


class Trackers:
    """Sends what a run knows to the requested trackers, until they fail."""

    def __init__(self, names: Sequence[TrackerName], folder: RunFolder) -> None:
        self.names, self.folder = (names if folder.writes else ()), folder
        self._feeds: list[_Feed] = []

    def follow(self, info: RunInfo, fit: Callable[[], RunResult]) -> RunResult:
        """The result of `fit`, whose start, lines and end are sent."""
        self._feeds = [_Feed(name, info, self.folder.path) for name in self.names]
        try:
            result = fit()
        except (Interrupted, KeyboardInterrupt) as error:
            self._end("stopped", None, str(error))
            raise
        except BaseException as error:
            self._end("failed", None, str(error))
            raise
        self._end("complete", result, None)
        return result

    def write(self, record: Record) -> None:
        """Send one line."""
        for feed in self._feeds:
            feed.put(record)

    def _end(self, ending: Ending, result: RunResult | None, reason: str | None) -> None:
        for feed in self._feeds:
            feed.put(_End(ending, result, reason))
        for feed in self._feeds:
            feed.join(LAST_SECONDS[ending])


class _End:
    def __init__(self, ending: Ending, result: RunResult | None, reason: str | None) -> None:
        self.ending, self.result, self.reason = ending, result, reason


class _Feed:
    """A thread that opens one tracker and writes to it, batching lines that arrive meanwhile."""

    def __init__(self, name: TrackerName, info: RunInfo, folder: Path) -> None:
        self.name, self.info, self.folder = name, info, folder
        self._waiting: queue.SimpleQueue[Record | _End] = queue.SimpleQueue()
        self._silent = False
        """Whether to log and to accept nothing more: it failed, or the run no longer waits."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            importlib.import_module(LIBRARIES[name])  # here: threads that import at the same time can clash
        except Exception as error:
            self._disable(_reason(error))
        else:
            self._thread.start()

    def put(self, item: Record | _End) -> None:
        if not self._silent:
            self._waiting.put(item)

    def join(self, seconds: float) -> None:
        """Wait for the last lines to be written, but not longer."""
        if self._silent:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._disable(f"no answer within {seconds:.0f} s of the end of the run")

    def _work(self) -> None:
        try:
            tracker = _open(self.name, self.info, self.folder)
            end = None
            while end is None:
                records, end = self._next()
                if records:
                    tracker.write(records)
            tracker.end(end.ending, end.result, end.reason)
        except Exception as error:
            self._disable(_reason(error))

    def _next(self) -> tuple[list[Record], _End | None]:
        """All lines that are waiting, at least one, up to the end of the run."""
        records: list[Record] = []
        item = self._waiting.get()
        while not isinstance(item, _End):
            records.append(item)
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return records, None
        return records, item

    def _disable(self, reason: str) -> None:
        if not self._silent:
            self._silent = True
            log.warning("%s is disabled for the rest of this run: %s", self.name, reason)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _open(name: TrackerName, info: RunInfo, folder: Path) -> Tracker:
    match name:
        case "tensorboard":
            from wukongctl.training.tensorboard_tracker import TensorBoardTracker

            return TensorBoardTracker(info, folder)
        case "mlflow":
            from wukongctl.training.mlflow_tracker import MLflowTracker

            return MLflowTracker(info, folder)
        case _:
            assert_never(name)
