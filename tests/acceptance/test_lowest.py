"""`.ci/lowest.py`: constraints that are the lower bounds of pyproject.toml."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "lowest.py"


def test_every_dependency_has_a_lower_bound_as_constraint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "torch"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    pins = dict(line.split("==") for line in capsys.readouterr().out.splitlines())
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in required}
    assert pins.keys() == names - {"torch"}
    assert all(f"{name}>={version}," in " ".join(required) + "," for name, version in pins.items())
