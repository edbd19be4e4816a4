"""Commands import only what they use: slow packages make a short command slow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

SLOW = {
    "torch", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor", "torchrec", "sympy",
    "scipy", "scipy.stats", "matplotlib", "pyarrow", "pyarrow.dataset", "duckdb", "httpx", "optuna", "h5py",
    "lightgbm", "wukongctl.config.report", "wukongctl.config.sweep", "wukongctl.config.training",
}  # fmt: skip
TORCH = {"torch"}
RECIPE = {"wukongctl.config.training"}
ALLOWED: dict[str, set[str]] = {
    "--help": set(),
    "recipes ls": set(),
    "recipes show frappe/wukong": set(),
    "recipes check frappe/wukong": RECIPE,
    "recipes check ./tiny.yaml": {"duckdb"},
    "datasets ls": set(),
    "datasets show tiny": RECIPE,
    "runs ls": RECIPE,
    "runs show RUN": RECIPE,
    "compare RUN RUN": RECIPE | {"pyarrow", "scipy"},
    "train mine.yaml --dry-run": RECIPE | TORCH | {"pyarrow"},
    "predict RUN ten.csv": RECIPE | TORCH | {"pyarrow", "duckdb", "httpx"},
}
"""Command → the slow modules that it needs; RUN is a finished run. Those with torch come last."""
FORKS = """
import json, os, sys
from wukongctl.cli import main
commands, slow = map(json.loads, sys.argv[1:])
for command in commands:
    if command.startswith("train"):
        import torch  # once for it and all that follow
    sys.stdout.flush()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        sys.argv = ["wukongctl", *command.split()]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            main()
        except SystemExit as done:
            loaded = sorted(set(sys.modules) & set(slow))
            os.write(writer, json.dumps([done.code, loaded]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    print(os.read(reader, 1 << 16).decode())
"""


@pytest.fixture
def run(wukong: Wukong, recipe: Path, tmp_path: Path) -> str:
    columns = ",".join(f"c{i}" for i in range(8))
    (tmp_path / "ten.csv").write_text(f"{columns}\n" + f"{','.join('12345678')}\n" * 10)
    done = wukong("train", recipe, "--json").json["run"]
    assert wukong("compare", done, "--json").code == 0  # caches predictions
    return done


def test_commands_import_only_what_they_use(run: str) -> None:
    commands = [command.replace("RUN", run) for command in ALLOWED]
    arguments = map(json.dumps, (commands, sorted(SLOW)))
    done = subprocess.run(
        [sys.executable, "-c", FORKS, *arguments], capture_output=True, text=True, check=True
    )
    found = dict(zip(ALLOWED, map(json.loads, done.stdout.splitlines()), strict=True))
    assert {command: code for command, (code, _) in found.items() if code} == {}, done.stderr
    needless = {command: sorted(set(modules) - ALLOWED[command]) for command, (_, modules) in found.items()}
    assert {command: modules for command, modules in needless.items() if modules} == {}
    assert "torch" in found["predict RUN ten.csv"][1], "nothing would be found"
