"""An executor that trains in this process instead of starting one for each run."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import WukongError
from wukongctl.sweep.executors import Exit
from wukongctl.training.train import train


class InProcess:
    """Trains immediately, in this process; `fail` and `interrupt` are prefixes of run folders."""

    jobs = 2

    def __init__(self, data: Path, *, fail: str = "-", interrupt: str = "-") -> None:
        self.data, self.fail, self.interrupt = data, fail, interrupt
        self.started: list[str] = []
        self.threads: list[int] = []
        self.ended: list[Exit] = []

    def start(self, folder: Path, command: list[str], threads: int, *, on_gpu: bool) -> None:
        assert command[3:5] == ["train", str((folder / "recipe.yaml").resolve())]
        self.started.append(folder.name.rpartition("-")[0])
        self.threads.append(threads)
        if folder.name.startswith(self.interrupt):
            signal.raise_signal(signal.SIGTERM)
            return
        if folder.name.startswith(self.fail):
            self.ended.append(Exit(folder, 1, '{"message": "disk full"}'))
            return
        recipe = TrainingSpec.from_dict(validate_yaml(folder / "recipe.yaml"))
        try:
            skip_test = "--skip-test" in command
            out = folder.parent
            train(recipe, data=self.data, out=out, skip_test=skip_test, report=lambda progress: None)
            self.ended.append(Exit(folder, 0, ""))
        except WukongError as error:
            self.ended.append(Exit(folder, error.exit_code, json.dumps({"message": error.message})))

    def wait(self, keep_waiting: Callable[[], bool]) -> Exit | None:
        return self.ended.pop(0) if keep_waiting() else None

    def cancel(self, folder: Path) -> None:
        raise AssertionError("a sweep gives up nothing")

    def stop(self) -> None:
        self.ended.clear()


def validate_yaml(path: Path) -> dict[str, object]:
    return validate(parse(path.read_text(), str(path)), TrainingSpec).to_dict()
