"""`bench` through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong
from wukongctl.cli import targets


def test_bench_prints_a_table_or_json_and_writes_no_run(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    result = wukong("bench", recipe, "--steps", 2, "--json", "--trace", "step.json")
    assert result.code == 0
    assert {"examples_per_cpu_second", "mfu", "phases", "loader_rows_per_cpu_second"} <= set(result.json)
    targets.require_own(tmp_path / "step.json", "--trace", "a trace", targets.TRACE, force=False)
    assert not (tmp_path / "runs").exists()
    shown = wukong("bench", recipe, "--steps", 2)
    assert all(phase["phase"] in shown.out for phase in result.json["phases"])
    assert "MFU" in shown.out


def test_trace_needs_a_folder(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    refused = wukong("bench", recipe, "--steps", 1, "--trace", "absent/t.json")
    assert refused.code == 2
    assert "there is no folder `absent`" in refused.err
    assert not (tmp_path / "absent").exists()


@pytest.mark.slow
def test_trace_is_silent(recipe: Path, tmp_path: Path) -> None:
    """The profiler would, from C++ and once in a process."""
    command = [sys.executable, "-m", "wukongctl", "bench", recipe.name, "--steps", "1", "--trace"]
    traced = subprocess.run(
        [*command, "t.json", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (traced.returncode, traced.stderr) == (0, "")


def test_bench_of_unprepared_data_hints_at_prepare(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("data: absent\nmodel: {name: mlp}\n")
    result = wukong("bench", "other.yaml")
    assert result.code == 2
    assert "is not prepared" in result.err


def test_mismatch_of_model_and_data_has_a_position(wukong: Wukong, recipe: Path) -> None:
    setting = "model.embeddings_per_feature={c99: 2}"
    found = wukong("bench", recipe, "--set", setting)
    assert found.code == 2
    assert f"--set {setting}: the model names `c99`, which is not a feature of the data" in found.err
