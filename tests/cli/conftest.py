"""Run the command line in this process, as a user would in a shell."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.in_process import InProcess
from wukongctl.cli import cli
from wukongctl.cli.output import run
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.sweep import executors


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)


Wukong = Callable[..., Result]


@pytest.fixture
def wukong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Wukong:
    """`wukong("train", "mine.yaml")` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["wukongctl", *map(str, arguments)])
        code = run(cli)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def typed(folder: Path, *arguments: object) -> str:
    """What a command prints that is typed in `folder` and succeeds; for fixtures of more than one test."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(io.StringIO()):
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("WUKONGCTL_", "GITHUB_"))]:
            patch.delenv(name)
        patch.setattr(sys, "argv", ["wukongctl", *map(str, arguments)])
        assert run(cli) == 0, arguments
    return printed.getvalue()


DATASET = """\
# A small planted dataset.
name: tiny
description: planted clicks for tests
generator: {rows: 1200, fields: 8}
rows: SELECT * FROM synthetic
split: {by: order, ratio: {train: 4, valid: 1, test: 1}}
label: label
probability: p
features:
  - {type: categorical, columns: [c0, c1, c2, c3, c4, c5, c6, c7]}
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tiny.yaml` and `data/` after `prepare ./tiny.yaml`, to copy from."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "tiny.yaml").write_text(DATASET)
    prepare(load(folder / "tiny.yaml", DatasetSpec), Options(folder, out=folder / "data"))
    return folder


@pytest.fixture
def dataset(wukong: Wukong, prepared: Path, tmp_path: Path) -> Path:
    """A small prepared dataset `tiny` in `data/`, with 1,200 rows of planted clicks."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> None:
    """The runs of `sweep` and `tune` train in this process; starting one for each takes seconds."""
    monkeypatch.setattr(executors, "LocalExecutor", lambda jobs, gpus: InProcess(dataset))


RECIPE = """\
data: tiny
defaults: fixed
model: {name: wukong, width: 4, layers: 1, n_F: 2, n_L: 2, k: 2, hidden: [8], head: [8]}
batch_size: 100
epochs: 2
threads: 1
"""


@pytest.fixture
def recipe(dataset: Path, tmp_path: Path) -> Path:
    """A training recipe on `tiny` that runs in under a second."""
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path
