"""How many cores this process may use."""

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MOST_PER_CORE = 8
"""Threads or processes per core beyond which a machine only switches between them, or freezes."""


def cores() -> int:
    """Cores that this process may use, by its affinity and by the limit of its container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, cgroup_cpus() or affinity))


def most_workers() -> int:
    """The most threads or processes that a command starts at once."""
    return MOST_PER_CORE * cores()


def cgroup_cpus(quota: Path = CGROUP_QUOTA) -> int | None:
    """CPUs granted by the cgroup, rounded up; None without a limit."""
    try:
        granted, period = quota.read_text().split()
        return -(-int(granted) // int(period))
    except (OSError, ValueError):  # not Linux, cgroup v1, or `max`
        return None
