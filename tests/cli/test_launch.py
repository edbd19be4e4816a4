"""Commands under torchrun and srun: one process tells what all of them find."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wukongctl.cli import launch
from wukongctl.errors import Interrupted, RunFailed, UsageError, WukongError

SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)


def under(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_srun_alone_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wukongctl", "train", "my recipe.yaml"])
    under(monkeypatch, **SRUN)
    with pytest.raises(UsageError, match="srun started 8 processes") as caught:
        launch.require_launcher()
    assert caught.value.hint is not None
    command = shlex.split(caught.value.hint.split("`")[1])
    launched = ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "torchrun", "--nproc-per-node=4"]
    assert command[:6] == launched
    assert command[-4:] == ["-m", "wukongctl", "train", "my recipe.yaml"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "8"},  # a shell of salloc
        SRUN | {"WORLD_SIZE": "8", "RANK": "3"},  # srun torchrun
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"},  # the script of sbatch --ntasks=8
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"},  # srun --ntasks=1
    ],
)
def test_other_launches_are_let_through(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    under(monkeypatch, **environment)
    launch.require_launcher()


def on_every_rank() -> WukongError:
    error = RunFailed("diverged")
    error.on_every_rank = True
    return error


@pytest.mark.parametrize(
    ("error", "rank", "local_rank", "left"),
    [
        (UsageError("a recipe"), 0, 0, False),
        (UsageError("a recipe"), 1, 1, None),  # after waiting for torchrun
        (UsageError("no data here"), 8, 0, False),  # the first of another machine
        (Interrupted("stopped", signal_number=15), 1, 1, True),
        (Interrupted("stopped", signal_number=15), 0, 0, False),
        (on_every_rank(), 1, 1, True),
        (RunFailed("lost contact"), 1, 1, False),
    ],
)
def test_one_rank_tells_of_what_all_of_them_find(
    monkeypatch: pytest.MonkeyPatch, error: WukongError, rank: int, local_rank: int, left: bool | None
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(launch.signal, "signal", lambda *_: None)
    under(monkeypatch, RANK=str(rank), LOCAL_RANK=str(local_rank))
    assert launch.is_left_to_rank_zero(error) is bool(left)
    assert bool(slept) is (left is None)


def test_torchrun_prints_a_mistake_once(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("data: d\nmodle: {name: mlp}\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, "-m", "wukongctl", "train", "recipe.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.count("recipe.yaml:2:1") == 1, ended.stderr
    assert ended.stderr.count("error: ") == 1
