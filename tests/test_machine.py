"""Cores: of the process, and of its container."""

from pathlib import Path

from wukongctl.machine import cgroup_cpus, cores, most_workers


def test_the_limit_of_a_container_is_rounded_up(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    assert cgroup_cpus(quota) is None
    for text, processors in {"max 100000": None, "150000 100000": 2, "50000 100000": 1}.items():
        quota.write_text(text)
        assert cgroup_cpus(quota) == processors


def test_a_machine_has_a_core() -> None:
    assert most_workers() >= 8 * cores() >= 8
