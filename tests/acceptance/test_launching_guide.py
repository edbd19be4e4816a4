"""The files of the launching guide: valid, with commands that exist, and run here with two CPU processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch.distributed.run import parse_args

from tests.training.test_train import DATASET, RECIPE
from wukongctl.cli import _command
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare

PAGE = (Path(__file__).parents[2] / "docs/guides/launching.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
ONE_NODE, SLURM, ELASTIC = SCRIPTS
(JOBSET,) = re.findall(r"```yml\n(.*?)```", PAGE, re.DOTALL)
STANDINS = {
    "scontrol": '#!/bin/sh\nif [ $1 = show ]; then echo localhost; else echo "$@" >> scontrol.log; fi\n',
    "srun": '#!/bin/sh\nshift\nexec "$@"\n',
    "torchrun": f'#!/bin/sh\nexec {sys.executable} -m torch.distributed.run "$@"\n',
}


def torchrun(script: str) -> list[str]:
    """The arguments of its `torchrun` command."""
    return shlex.split(script.replace("\\\n", " ").partition("torchrun ")[2].partition("\n")[0].rstrip("& "))


def jobset() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(JOBSET)


def pod() -> dict[str, Any]:
    return jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("script", SCRIPTS, ids=["one_node", "slurm", "elastic"])
def test_scripts_are_bash(script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [torchrun(ONE_NODE), torchrun(SLURM), torchrun(ELASTIC), pod()["containers"][0]["command"][1:]],
    ids=["one_node", "slurm", "elastic", "kubernetes"],
)
def test_torchrun_takes_the_arguments_and_starts_the_training(arguments: list[str]) -> None:
    parsed = parse_args([word.replace("$SLURM_JOB_NUM_NODES", "4") for word in arguments])
    assert (parsed.module, parsed.training_script, parsed.nproc_per_node) == (True, "wukongctl", "8")
    assert parsed.max_restarts > 0
    command, (name, recipe, *options) = _command("train"), parsed.training_script_args
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert (name, recipe) in (("train", "my.yaml"), ("train", "$1"))
    assert {option.partition("=")[0] for option in options if option.startswith("--")} == {"--data", "--out"}
    assert {"--data", "--out"} <= known


def test_pods_of_the_jobset_find_the_first_by_its_host_name() -> None:
    """`<jobset>-<job>-<job index>-<pod index>.<jobset>`, by JobSet's rules."""
    found = jobset()
    (job,) = found["spec"]["replicatedJobs"]
    nodes = job["template"]["spec"]
    (container,) = pod()["containers"]
    name = found["metadata"]["name"]
    assert f"--rdzv-endpoint={name}-{job['name']}-0-0.{name}:29500" in container["command"]
    assert f"--nnodes={nodes['completions']}" in container["command"]
    assert (nodes["parallelism"], nodes["completionMode"]) == (nodes["completions"], "Indexed")
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in container["command"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod()["volumes"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a prepared dataset, a recipe, and stand-ins for the commands of a cluster."""
    prepare(DatasetSpec.from_dict(DATASET), Options(tmp_path, out=tmp_path / "data"))
    (tmp_path / "my.yaml").write_text(json.dumps(RECIPE | {"epochs": 3}))
    (tmp_path / "bin").mkdir()
    for name, text in STANDINS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def start(folder: Path, script: str, *arguments: str) -> "subprocess.Popen[str]":
    """Run a script of the page with two processes instead of eight, on a port of its own."""
    (folder / "script.sh").write_text(script.replace("--nproc-per-node 8", "--nproc-per-node 2"))
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_JOB_NUM_NODES": "1"}
    return subprocess.Popen(
        ["bash", "script.sh", *arguments],
        cwd=folder,
        env={**os.environ, **slurm, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )


def statuses(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in folder.glob("runs/*/result.json")]


@pytest.mark.slow
@pytest.mark.parametrize("script", [ONE_NODE, SLURM], ids=["one_node", "slurm"])
def test_scripts_train(folder: Path, script: str) -> None:
    process = start(folder, script, "my.yaml")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert statuses(folder) == ["complete"]
    (info,) = folder.glob("runs/*/run.json")
    assert json.loads(info.read_text())["world_size"] == 2


@pytest.mark.slow
def test_slurm_job_saves_and_is_requeued_before_its_time_limit(folder: Path) -> None:
    (folder / "my.yaml").write_text(
        json.dumps(RECIPE | {"epochs": 3000, "early_stopping": {"metric": "auc"}})
    )
    process = start(folder, SLURM, "my.yaml")
    deadline = time.monotonic() + 200
    while not list(folder.glob("runs/*/checkpoints/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)  # as `--signal=B:USR1@300`, to the script alone
    _, errors = process.communicate(timeout=120)
    assert "state saved in" in errors
    assert (folder / "scontrol.log").read_text() == "requeue 7\n"
    assert statuses(folder) == []
