"""Cores: of the process, and of its container; and work on them."""

from collections.abc import Iterator
from pathlib import Path

from wukongctl.machine import IN_FLIGHT, available_memory, cgroup_cpus, cores, in_order, most_workers


def test_the_limit_of_a_container_is_rounded_up(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    assert cgroup_cpus(quota) is None
    for text, processors in {"max 100000": None, "150000 100000": 2, "50000 100000": 1}.items():
        quota.write_text(text)
        assert cgroup_cpus(quota) == processors


def test_a_machine_has_a_core() -> None:
    assert most_workers() >= 8 * cores() >= 8


def test_memory_is_what_is_available_up_to_the_limit(tmp_path: Path) -> None:
    memory, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    assert available_memory(memory, limit) is None
    memory.write_text("MemTotal: 900 kB\nMemAvailable:  500 kB\nHugePages_Total:  0\n")
    assert available_memory(memory, limit) == 512_000
    for text, bytes_ in {"max": 512_000, "1000": 1000, "9000000": 512_000}.items():
        limit.write_text(f"{text}\n")
        assert available_memory(memory, limit) == bytes_


def test_work_waits_for_who_takes_the_results() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    for number, done in enumerate(in_order(lambda x: 2 * x, numbers(), 2)):
        assert done == 2 * number
        assert len(read) <= number + IN_FLIGHT
    assert len(read) == 50
