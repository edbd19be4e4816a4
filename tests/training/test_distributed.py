"""Several processes have the loss curve of one, with any sharding, and survive restarts."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from tests.training.test_train import DATASET, silent
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.training import checkpoint
from wukongctl.training.distributed import World
from wukongctl.training.evaluate import evaluate
from wukongctl.training.shards import full
from wukongctl.training.train import train

# 900 rows: batches of 101 leave one of 92, and not both are even. Large eps keep optimizers from blowing up
# gradients that are zero up to rounding, which any other order of summation would change.
RECIPE: dict[str, Any] = {
    "data": "tiny",
    "defaults": "fixed",
    "model": {"name": "wukong", "width": 8, "layers": 2, "n_F": 2, "n_L": 2, "k": 3, "hidden": [8],
              "bottom": [4], "head": [8]},
    "optimizer": {"dense": {"eps": 1e-3}, "embedding": {"eps": 1e-2}, "clip_norm": 1.0},
    "batch_size": 101,
    "epochs": 23,
    "threads": 1,
}  # fmt: skip
NEEDS_TORCHREC = pytest.mark.skipif(
    importlib.util.find_spec("torchrec") is None, reason="needs the extra `distributed`"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(DatasetSpec.from_dict(DATASET), Options(folder, out=folder))
    return folder


Start = Callable[..., "subprocess.Popen[str]"]

TWINS = """
import os, signal
import wukongctl.training.train  # once for both
from wukongctl.cli import main

for rank in ("0", "1"):
    if os.fork() == 0:
        os.environ["RANK"] = os.environ["LOCAL_RANK"] = rank
        main()
signal.signal(signal.SIGTERM, lambda *_: None)
for _ in range(2):
    os.wait()
"""


def start(
    folder: Path, data: Path, recipe: dict[str, Any], *options: str, processes: int = 2
) -> subprocess.Popen[str]:
    """`torchrun` of some processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *options]
    return _start([*torchrun, "-m", "wukongctl"], folder, data, recipe)


def start_twins(folder: Path, data: Path, recipe: dict[str, Any]) -> subprocess.Popen[str]:
    """Two processes in the environment that torchrun makes, without the seconds that it takes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return _start(["-c", TWINS], folder, data, recipe, **env)


def _start(
    command: list[str], folder: Path, data: Path, recipe: dict[str, Any], **env: str
) -> subprocess.Popen[str]:
    YAML().dump(recipe, folder / "recipe.yaml")
    train = ["train", "recipe.yaml", "--data", str(data), "--out", "runs", "--json"]
    return subprocess.Popen(
        [sys.executable, *command, *train],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        start_new_session=True,
    )


def wait_for_lines(process: subprocess.Popen[str], folder: Path, lines: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(len(path.read_bytes().splitlines()) >= lines for path in folder.glob("runs/*/metrics.jsonl")):
            return
        time.sleep(0.01)
    pytest.fail(f"no progress: {process.communicate()[1]}")


def curve(run: Path) -> list[tuple[int, str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["split"], line.get("loss", line.get("logloss"))) for line in lines]


def assert_same_curve(run: Path, alone: Path, tolerance: float = 1e-5) -> None:
    one, other = curve(alone), curve(run)
    assert [point[:2] for point in one] == [point[:2] for point in other]
    assert one[-1][0] >= 200
    assert [point[2] for point in other] == pytest.approx([point[2] for point in one], rel=tolerance)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    spec = TrainingSpec.from_dict(RECIPE)
    return train(spec, data=data, out=tmp_path_factory.mktemp("alone"), report=silent).folder


@pytest.mark.parametrize("begin", [start_twins, pytest.param(start, marks=pytest.mark.slow)])
def test_two_processes_stop_together_and_one_resumes_on_the_same_curve(
    data: Path, tmp_path: Path, alone: Path, begin: Start
) -> None:
    process = begin(tmp_path, data, RECIPE)
    wait_for_lines(process, tmp_path, 40)
    if begin is start:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert "state saved" in err
    else:
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stderr is not None
        assert "state saved" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGKILL)  # as torchrun does with one that waits for the other in vain
        process.communicate()
    outcome = train(TrainingSpec.from_dict(RECIPE), data=data, out=tmp_path / "runs", report=silent)
    assert "started with 2 processes, resumed with 1" in (outcome.folder / "log.txt").read_text()
    assert_same_curve(outcome.folder, alone)
    described = json.loads((alone / "result.json").read_text())["metrics"]["test"]
    # The stopping point decides how sums round, and one swapped pair of rows changes AUC by 1e-4.
    assert outcome.result.metrics["test"] == pytest.approx(described, rel=1e-3)


@pytest.mark.slow
@NEEDS_TORCHREC
@pytest.mark.parametrize("dense", ["ddp", "fsdp"])
@pytest.mark.parametrize("plan", ["row_wise", "table_wise", "planner"])
def test_sharded_tables_follow_the_curve_of_one_process(
    data: Path, tmp_path: Path, alone: Path, plan: str, dense: str
) -> None:
    process = start(tmp_path, data, RECIPE | {"distributed": {"embeddings": plan, "dense": dense}})
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    run = tmp_path / json.loads(out)["run"]
    assert_same_curve(run, alone)
    one, other = (checkpoint.load(path / "checkpoints" / "best.pt")["model"] for path in (alone, run))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(full(other[name]), one[name], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@NEEDS_TORCHREC
@pytest.mark.parametrize("plan", ["replicated", "row_wise", "table_wise", "planner", "column_wise"])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_stopped_run_resumes_with_another_number_of_processes(
    data: Path, tmp_path: Path, alone: Path, plan: str, before: int, after: int
) -> None:
    if plan == "column_wise" and after == 3:
        pytest.skip("8 columns are no multiple of 4 on each of 3 processes")
    recipe = RECIPE | {"distributed": {"embeddings": plan}}
    process = start(tmp_path, data, recipe, processes=before)
    wait_for_lines(process, tmp_path, 40)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert "state saved" in err
    process = start(tmp_path, data, recipe, processes=after)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    run = tmp_path / json.loads(out)["run"]
    assert f"started with {before} processes, resumed with {after}" in (run / "log.txt").read_text()
    # Pieces of columns have sums of their own, another update than that of whole rows.
    assert_same_curve(run, alone, tolerance=0.2 if plan == "column_wise" else 1e-5)
    described = json.loads((run / "result.json").read_text())["metrics"]["test"]
    assert evaluate(run, "test", data=data)["logloss"] == pytest.approx(described["logloss"], rel=1e-6)


@pytest.mark.slow
@NEEDS_TORCHREC
def test_column_sharding_resumes_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    recipe = RECIPE | {"distributed": {"embeddings": "column_wise"}}
    runs = []
    for name in ("straight", "stopped"):
        folder = tmp_path / name
        folder.mkdir()
        process = start(folder, data, recipe)
        if name == "stopped":
            wait_for_lines(process, folder, 30)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            process = start(folder, data, recipe)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        runs.append(folder / json.loads(out)["run"])
    assert curve(runs[0]) == curve(runs[1])


@pytest.mark.slow
@NEEDS_TORCHREC
@pytest.mark.parametrize("plan", ["replicated", "row_wise"])
def test_a_killed_process_is_replaced_and_nothing_changes(
    data: Path, tmp_path: Path, alone: Path, plan: str
) -> None:
    recipe = RECIPE | {"distributed": {"embeddings": plan}, "checkpoint": {"every_steps": 10}}
    process = start(tmp_path, data, recipe, "--max-restarts", "2")
    wait_for_lines(process, tmp_path, 60)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[-1]), signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "lost contact with another process" in err
    run = tmp_path / json.loads(out)["run"]
    assert "resumed at step" in (run / "log.txt").read_text()
    assert_same_curve(run, alone)


@pytest.mark.parametrize(("rows", "size"), [(10, 1), (10, 3), (9, 3), (1, 2), (2, 4)])
def test_shards_have_every_example_once_and_equal_length(rows: int, size: int) -> None:
    batch = torch.arange(rows).reshape(rows, 1)
    shares = [World(rank, size).shard(batch) for rank in range(size)]
    assert len({len(share) for share, _ in shares}) == 1
    assert torch.equal(torch.cat([share[: max(count, 0)] for share, count in shares]), batch)
    assert torch.equal(torch.cat([share for share, _ in shares])[:rows], batch)


def test_recipes_that_need_one_process_are_rejected() -> None:
    for changes, words in (
        ({"embeddings": "row_wise"}, "rowwise_adagrad"),
        ({"dense": "fsdp"}, "fsdp"),
    ):
        broken = RECIPE | {"distributed": changes}
        if "embeddings" in changes:
            broken |= {"optimizer": {"embedding": {"name": "adam"}}}
        with pytest.raises(ValueError, match=words):
            TrainingSpec.from_dict(broken)
