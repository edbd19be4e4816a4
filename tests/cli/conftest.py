"""Run the command line in this process, as a user would in a shell."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wukongctl.cli import cli
from wukongctl.cli.output import run


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


@pytest.fixture
def dataset(wukong: Wukong, tmp_path: Path) -> Path:
    """A small prepared dataset `tiny` in `data/`, with 1,200 rows of planted clicks."""
    (tmp_path / "tiny.yaml").write_text(
        """\
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
    )
    assert wukong("prepare", "./tiny.yaml").code == 0
    return tmp_path / "data"


@pytest.fixture
def recipe(dataset: Path, tmp_path: Path) -> Path:
    """A training recipe on `tiny` that runs in a moment."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        """\
data: tiny
defaults: fixed
model: {name: wukong, width: 4, layers: 1, n_F: 2, n_L: 2, k: 2, hidden: [8], head: [8]}
batch_size: 100
epochs: 2
threads: 1
"""
    )
    return path
