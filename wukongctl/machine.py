"""How many cores and how much memory this process may use, and work on all cores."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MEMORY, CGROUP_MEMORY = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
IN_FLIGHT = 4
MOST_PER_CORE = 8
"""Threads or processes per core beyond which a machine only switches between them, or freezes."""


def cores() -> int:
    """Cores that this process may use, by its affinity and by the limit of its container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, cgroup_cpus() or affinity))


def most_workers() -> int:
    """The most threads or processes that a command starts at once."""
    return MOST_PER_CORE * cores()


def available_memory(memory: Path = MEMORY, limit: Path = CGROUP_MEMORY) -> int | None:
    """Bytes of memory that are free or can be freed, at most the limit of the container; None if unknown."""
    try:
        lines = dict(line.split(":") for line in memory.read_text(encoding="ascii").splitlines())
        available = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):  # not Linux
        return None
    try:
        # Not less what is used: most of that may be cached files, which are dropped when memory is needed.
        return min(available, int(limit.read_text()))
    except (OSError, ValueError):  # no cgroup v2, or `max`
        return available


def cgroup_cpus(quota: Path = CGROUP_QUOTA) -> int | None:
    """CPUs granted by the cgroup, rounded up; None without a limit."""
    try:
        granted, period = quota.read_text().split()
        return -(-int(granted) // int(period))
    except (OSError, ValueError):  # not Linux, cgroup v1, or `max`
        return None


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None) -> Generator[Result]:
    """Results of `work` on each item, in order, by threads that work on a few items at a time.

    `threads` is one per core if it is None.
    """
    most = in_flight(threads)
    with ThreadPoolExecutor(threads or cores(), "work") as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def in_flight(threads: int | None) -> int:
    """Items that `in_order` works on, or has results of, at a time: at least `IN_FLIGHT`."""
    return max(IN_FLIGHT, (threads or cores()) + 2)
