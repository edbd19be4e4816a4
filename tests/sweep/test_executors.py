"""Runs of a sweep: how they end, how they are cancelled, and which GPU each gets."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wukongctl.sweep.devices import VISIBLE, visible_gpus
from wukongctl.sweep.executors import LocalExecutor, RayExecutor, command


def test_cancelling_one_run_does_not_affect_the_others() -> None:
    executor = LocalExecutor(2)
    executor.start(Path("long"), [sys.executable, "-c", "import time; time.sleep(600)"], 1, on_gpu=False)
    checks = "import os; assert os.environ['OMP_NUM_THREADS'] == '1'"
    executor.start(Path("short"), [sys.executable, "-c", checks], 1, on_gpu=False)
    first = executor.wait(lambda: True)
    assert first is not None
    assert (first.folder, first.code) == (Path("short"), 0)
    executor.cancel(Path("long"))
    second = executor.wait(lambda: True)
    assert second is not None
    assert (second.folder, second.message) == (Path("long"), "killed by SIGTERM")
    executor.stop()
    assert executor.wait(lambda: False) is None


def seen_by(executor: LocalExecutor, folder: Path, *, on_gpu: bool = True) -> None:
    """Start a process that writes down which GPUs it sees, and stays."""
    code = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(folder)!r}).write_text(os.environ.get({VISIBLE!r}, 'all'))\ntime.sleep(60)"
    )
    executor.start(folder, [sys.executable, "-c", code], 1, on_gpu=on_gpu)
    while not (folder.is_file() and folder.read_text()):
        time.sleep(0.01)


def test_each_run_gets_a_gpu_of_its_own_and_frees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(VISIBLE, "5,GPU-8f3a")
    executor = LocalExecutor(4, visible_gpus())
    try:
        for name, on_gpu in (("a", True), ("b", True), ("none", False), ("shares", True)):
            seen_by(executor, tmp_path / name, on_gpu=on_gpu)
        executor.cancel(tmp_path / "b")
        ended = executor.wait(lambda: True)
        assert ended is not None
        assert ended.folder == tmp_path / "b"
        seen_by(executor, tmp_path / "c")
    finally:
        executor.stop()
    seen = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert seen == {"a": "5", "b": "GPU-8f3a", "none": "5,GPU-8f3a", "shares": "5", "c": "GPU-8f3a"}


@pytest.mark.parametrize(
    ("count", "named", "expected"),
    [(0, None, ()), (3, None, ("0", "1", "2")), (2, "6, 7", ("6", "7")), (1, "3,9", ("3",)), (0, "", ())],
)
def test_gpus_have_the_names_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, count: int, named: str | None, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(VISIBLE, raising=False)
    if named is not None:
        monkeypatch.setenv(VISIBLE, named)
    assert visible_gpus() == expected


class Cluster:
    """What RayExecutor uses of Ray, on a cluster that only notes the tasks."""

    def __init__(self, gpus: float) -> None:
        self.resources = {"CPU": 64.0} | ({"GPU": gpus} if gpus else {})
        self.asked: list[dict[str, float]] = []

    def init(self, **_: object) -> None:
        """Nothing to connect to."""

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, _: object) -> "Cluster":
        return self

    def options(self, **resources: float) -> Any:
        self.asked.append(resources)
        return SimpleNamespace(remote=lambda *_: object())


@pytest.mark.parametrize(("gpus", "jobs", "share"), [(8, 8, 1.0), (8, 4, 1.0), (4, 16, 0.25), (0, 2, 0.0)])
def test_a_task_of_ray_reserves_a_gpu(
    monkeypatch: pytest.MonkeyPatch, gpus: float, jobs: int, share: float
) -> None:
    cluster = Cluster(gpus)
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setattr("wukongctl.extras.require", lambda *_: None)
    executor = RayExecutor(jobs, 3)
    executor.start(Path("a"), ["python", "-m", "wukongctl"], 3, on_gpu=True)
    executor.start(Path("b"), ["python", "-m", "wukongctl"], 2, on_gpu=False)
    assert cluster.asked == [
        {"num_cpus": 3, "num_gpus": share, "max_retries": 0},
        {"num_cpus": 2, "num_gpus": 0.0, "max_retries": 0},
    ]


def test_a_command_has_absolute_paths_and_its_options() -> None:
    words = command(Path("r.yaml"), Path("data"), Path("out"), ("--skip-test",))
    assert words[3:] == [
        "train", str(Path("r.yaml").resolve()), "--data", str(Path("data").resolve()),
        "--out", str(Path("out").resolve()), "--skip-test", "--json", "--quiet",
    ]  # fmt: skip
