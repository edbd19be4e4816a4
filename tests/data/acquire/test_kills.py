"""Killed downloads, and concurrent downloads of one file."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.data.server import serving

OLD = random.Random(1).randbytes(2_000_000)
NEW = random.Random(2).randbytes(2_000_000)
CODE = """
import sys, os
from pathlib import Path
from wukongctl.config.dataset import Download
from wukongctl.data.acquire.download import fetch
for line in sys.stdin:
    url, target, md5 = line.split()
    child = os.fork()
    if child == 0:
        fetch(Download(urls=(url,), md5=None if md5 == "-" else md5), Path(target))
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Forks one process per download, so that it starts at once and can be killed at any moment."""


class Downloads:
    """Runs each download in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def start(self, url: str, target: Path, md5: str = "-") -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{url} {target} {md5}\n")
        self.process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """Wait for the last download; its exit status."""
        return int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def downloads() -> Iterator[Downloads]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    with process:
        yield Downloads(process)
        assert process.stdin is not None
        process.stdin.close()


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def kill_at_random(kills: int, folder: Path, *, checksum: bool) -> tuple[int, int]:
    """Kill downloads at random positions of a file that sometimes changes.

    Returns the numbers of finished files and resumed requests.
    """
    pick = random.Random(kills)
    target, part = folder / "file.bin", folder / "file.bin.part"
    finished = 0
    with serving(OLD) as server, downloads() as processes:
        server.pause = 0.001
        while kills:
            if not checksum and pick.random() < 0.2:
                server.replace(NEW if server.content == OLD else OLD)
            md5 = hashlib.md5(server.content).hexdigest() if checksum else "-"
            # As likely before the first new byte as after the last one.
            until = size(part) + pick.randint(-200_000, len(OLD) // 3)
            child = processes.start(server.url(), target, md5)
            started = time.monotonic()
            while size(part) < until and not target.exists() and time.monotonic() < started + 5:
                time.sleep(0.0005)
            time.sleep(pick.choice([0, 0, pick.uniform(0, 0.02)]))
            with suppress(ProcessLookupError):  # it finished first
                os.kill(child, signal.SIGKILL)
            kills -= processes.end() == signal.SIGKILL
            if target.exists():
                finished += 1
                assert target.read_bytes() == OLD if checksum else target.read_bytes() in (OLD, NEW)
                target.unlink()
        server.pause = 0.0
        processes.start(server.url(), target)
        assert processes.end() == 0
        assert target.read_bytes() == server.content
    return finished, sum("range" in headers for _, headers in server.requests)


@pytest.mark.parametrize("checksum", [True, False])
def test_a_few_kills_lose_nothing(tmp_path: Path, checksum: bool) -> None:
    _, resumed = kill_at_random(12, tmp_path, checksum=checksum)
    assert resumed


@pytest.mark.slow
@pytest.mark.parametrize("checksum", [True, False])
def test_many_kills_lose_nothing(tmp_path: Path, checksum: bool) -> None:
    finished, resumed = kill_at_random(200, tmp_path, checksum=checksum)
    print(f"200 kills: {finished} files finished, {resumed} requests resumed")
    assert finished >= 10
    assert resumed >= 50


def test_concurrent_processes_share_one_download(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with serving(OLD) as server, downloads() as one, downloads() as two:
        server.pause = 0.01
        one.start(server.url(), target)
        two.start(server.url(), target)
        assert (one.end(), two.end()) == (0, 0)
        assert len(server.requests) == 1
    assert target.read_bytes() == OLD


def test_a_waiting_process_resumes_a_killed_download(tmp_path: Path) -> None:
    target, part = tmp_path / "file.bin", tmp_path / "file.bin.part"
    with serving(OLD) as server, downloads() as one, downloads() as two:
        server.pause = 0.3  # nine seconds in all: even on a busy machine the first is killed half-way
        first = one.start(server.url(), target)
        while not size(part):
            time.sleep(0.005)
        two.start(server.url(), target)
        server.pause = 0.0
        os.kill(first, signal.SIGKILL)
        assert (one.end(), two.end()) == (signal.SIGKILL, 0)
        assert "range" in server.requests[1][1]
    assert target.read_bytes() == OLD
