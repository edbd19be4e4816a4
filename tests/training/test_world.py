"""Two processes of a gloo world: what they agree on, write together and exchange."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.training.two_ranks import matrix
from wukongctl.errors import RunFailed
from wukongctl.training import checkpoint, distributed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What rank 0 printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_ranks", str(folder)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **together, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed
    return json.loads(printed[0][0])


def test_ranks_agree_on_numbers_of_any_size(found: dict[str, Any]) -> None:
    agreed = found["agreement"]
    assert agreed["same"] == ""
    assert agreed["other"] == "1 True the processes of this run do not see the same step"
    assert agreed["failed"] == "3 False only on rank 0"
    assert agreed["told"] == {"rank": 0}


def test_a_checkpoint_of_two_is_read_by_one_and_in_another_layout(
    found: dict[str, Any], folder: Path
) -> None:
    assert found["checkpoints"]["as_written"]
    stored = checkpoint.load(folder / "best.pt")["model"]["table"]
    assert torch.equal(stored.full(), matrix())


def test_all_ranks_skip_a_checkpoint_that_one_finds_damaged(found: dict[str, Any]) -> None:
    assert found["checkpoints"]["skipped to"] == 1


def test_a_checkpoint_that_cannot_be_written_fails_on_all_ranks(found: dict[str, Any]) -> None:
    assert "cannot write" in found["checkpoints"]["unwritable"]


@pytest.mark.parametrize("optimizer", ["rowwise_adagrad", "lazy_adam"])
def test_gathered_rows_and_reduced_gradients_give_the_losses_of_one_process(
    found: dict[str, Any], optimizer: str
) -> None:
    losses = found["exchanges"][optimizer]
    assert losses["reduced"] == pytest.approx(losses["alone"], rel=1e-6)
    assert losses["gathered"] == pytest.approx(losses["reduced"], rel=1e-6)


@pytest.mark.parametrize(
    ("gpus", "processes", "nccl", "expected"),
    [(2, 2, True, "cpu:gloo,cuda:nccl"), (1, 2, True, "gloo"), (2, 2, False, "gloo")],
)
def test_processes_that_share_a_gpu_exchange_by_gloo(
    monkeypatch: pytest.MonkeyPatch, gpus: int, processes: int, nccl: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: nccl)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert distributed.backend() == expected


@pytest.mark.parametrize(
    "error",
    [
        dist.DistBackendError("NCCL error in: ncclRemoteError"),
        dist.DistNetworkError("The client socket has failed to connect"),
        RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"),
    ],
)
def test_errors_of_a_lost_connection_are_told_as_such(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def lost(_: object) -> None:
        raise error

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(distributed, "_join", lost)
    with pytest.raises(RunFailed, match="lost contact"), distributed.joined():
        pass
