"""The notebook of the Python API runs, cell by cell."""

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import wukongctl as wk

NOTEBOOK = Path(__file__).parents[2] / "docs" / "guides" / "notebook.ipynb"


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [each for each in json.loads(NOTEBOOK.read_text())["cells"] if each["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with redirect_stdout(printed):
        for cell in cells:
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["run"].status == "complete"
    assert len(names["points"]) == 2
    low, high = names["law"].intervals["c"]
    assert low < 0.3 < high
    assert "training MFLOP per example" in printed.getvalue()


def test_the_notebook_uses_every_public_function() -> None:
    text = NOTEBOOK.read_text()
    assert set(re.findall(r"wk\.(\w+)", text)) >= {name for name in wk.__all__ if name[0].islower()} - {
        "load"
    }
    assert "load" in wk.__all__  # `prepare` returns what `load` does
