"""Worker processes: their results and errors, and that none outlives its pool."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from wukongctl.config import library
from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError, WukongError
from wukongctl.sweep import workers


def _saves_when_stopped(folder: Path) -> None:
    """As a run does: SIGTERM saves its state. Ctrl-C also reaches this process, and must not end it."""

    def save(_number: int, _frame: object) -> None:
        (folder / "saved").touch()
        raise SystemExit

    signal.signal(signal.SIGTERM, save)
    os.kill(os.getpid(), signal.SIGINT)
    (folder / "started").touch()
    time.sleep(60)


def _interrupt_once_started(folder: Path) -> None:
    with workers._pool(1) as pool:
        pool.submit(_saves_when_stopped, folder)
        while not (folder / "started").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt


def test_workers_save_and_end_when_the_pool_is_left_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupt_once_started(tmp_path)
    assert (tmp_path / "saved").exists()
    assert not multiprocessing.active_children()


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ProcessPoolExecutor", lambda size, *_, **__: ThreadPoolExecutor(size))


RECIPES = [load(library.find(f"quickstart/dlrm-{size}"), TrainingSpec) for size in (3, 1, 2)]


def train_all(reported: list[int], folder: Path) -> list[Path]:
    return workers.train_all(RECIPES, data=folder, out=folder, force=False, workers=2, report=reported.append)


@pytest.mark.usefixtures("in_threads")
def test_folders_come_in_the_order_of_the_recipes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def train(recipe: TrainingSpec, _data: Path, out: Path, _force: bool) -> Path:
        time.sleep(0.05 if recipe.name == "quickstart-dlrm-3" else 0)
        return out / recipe.run_name

    monkeypatch.setattr(workers, "_train", train)
    reported: list[int] = []
    assert train_all(reported, tmp_path) == [tmp_path / recipe.run_name for recipe in RECIPES]
    assert reported == [1, 2, 3]


@pytest.mark.usefixtures("in_threads")
@pytest.mark.parametrize(
    ("error", "expected"),
    [(UsageError("no data"), "no data"), (BrokenProcessPool(), "a training process was killed")],
)
def test_error_of_a_run_is_raised(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(*_: object) -> Path:
        raise error

    monkeypatch.setattr(workers, "_train", train)
    with pytest.raises(WukongError, match=expected):
        train_all([], tmp_path)
