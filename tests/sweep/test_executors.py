"""Local processes: how they end, and how they are cancelled."""

import sys
from pathlib import Path

from wukongctl.sweep.executors import LocalExecutor, command


def test_cancelling_one_run_does_not_affect_the_others() -> None:
    executor = LocalExecutor(2)
    executor.start(Path("long"), [sys.executable, "-c", "import time; time.sleep(600)"], 1)
    executor.start(
        Path("short"), [sys.executable, "-c", "import os; assert os.environ['OMP_NUM_THREADS'] == '1'"], 1
    )
    first = executor.wait(lambda: True)
    assert first is not None
    assert (first.folder, first.code) == (Path("short"), 0)
    executor.cancel(Path("long"))
    second = executor.wait(lambda: True)
    assert second is not None
    assert (second.folder, second.message) == (Path("long"), "killed by SIGTERM")
    executor.stop()
    assert executor.wait(lambda: False) is None


def test_a_command_has_absolute_paths_and_its_options() -> None:
    words = command(Path("r.yaml"), Path("data"), Path("out"), ("--skip-test",))
    assert words[3:] == [
        "train", str(Path("r.yaml").resolve()), "--data", str(Path("data").resolve()),
        "--out", str(Path("out").resolve()), "--skip-test", "--json", "--quiet",
    ]  # fmt: skip
