"""The phases of `bench` add up, and it leaves no files."""

import json
from pathlib import Path

import pytest

from tests.training.test_train import data, recipe  # noqa: F401 a fixture
from wukongctl.errors import UsageError
from wukongctl.training.bench import bench

PHASES = {"loader", "forward", "backward", "dense optimizer", "embedding optimizer"}


def test_phases_add_up(data: Path) -> None:  # noqa: F811
    found = bench(recipe(batch_size=64), data=data, steps=4)
    assert {phase["phase"] for phase in found["phases"]} == PHASES
    assert sum(phase["share"] for phase in found["phases"]) == pytest.approx(1)
    assert sum(phase["cpu_seconds"] for phase in found["phases"]) == pytest.approx(found["cpu_seconds"])
    assert found["examples"] == 4 * 64
    assert found["examples_per_cpu_second"] == pytest.approx(found["examples"] / found["cpu_seconds"])
    rate = found["gflop_per_example"] * found["examples_per_cpu_second"]
    assert found["mfu"] == pytest.approx(rate / found["peak_gflops_per_cpu_second"])
    assert min(found["loader_rows_per_cpu_second"], found["evaluation_examples_per_cpu_second"]) > 0


def test_the_trace_is_one_that_chrome_reads(data: Path, tmp_path: Path) -> None:  # noqa: F811
    bench(recipe(), data=data, steps=2, trace=tmp_path / "step.json")
    events = json.loads((tmp_path / "step.json").read_text())["traceEvents"]
    assert any("backward" in event["name"].lower() for event in events)
    assert [path.name for path in tmp_path.iterdir()] == ["step.json"]
    with pytest.raises(UsageError, match="cannot write"):
        bench(recipe(), data=data, steps=1, trace=tmp_path / "step.json" / "x.json")
