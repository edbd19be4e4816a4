"""Datasets are complete or absent: kills at chosen and random points, concurrent processes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq
import pytest

from tests.data.test_prepare import own, run, write_rows
from wukongctl.data import manifest, publishing
from wukongctl.data.options import Options
from wukongctl.data.pipeline import reading
from wukongctl.data.prepare import prepare
from wukongctl.data.progress import Progress
from wukongctl.errors import RunFailed, UsageError

# Forks children that prepare with `--force`, and kill themselves before their n-th rename or are killed:
# what they import is imported once.
NURSERY = """
import os, signal, sys
from pathlib import Path
from tests.data.test_prepare import own
from wukongctl.data.options import Options
from wukongctl.data.pipeline import reading
from wukongctl.data.prepare import prepare

def work(folder, value, kill_at, held_share):
    reading.HELD_SHARE = held_share
    rename, seen = Path.rename, []
    def counted(self, target):
        seen.append(target)
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.rename = counted
    prepare(own(label=value), Options(folder, folder / "out", force=True))

for line in sys.stdin:
    folder, value, kill_at, held_share = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(Path(folder), value, int(kill_at), float(held_share))
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Nursery:
    """Starts one child after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @contextmanager
    def child(
        self, folder: Path, value: str, kill_at: int = 0, *, held_share: float = reading.HELD_SHARE
    ) -> Iterator["Child"]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\t{value}\t{kill_at}\t{held_share}\n")
        self._process.stdin.flush()
        child = Child(int(self._process.stdout.readline()), self._process.stdout)
        try:
            yield child
        finally:
            child.kill()
            child.wait()


class Child:
    """A process that prepares."""

    def __init__(self, pid: int, answers: IO[str]) -> None:
        self._pid, self._answers = pid, answers
        self._status: int | None = None

    def kill(self) -> None:
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """As of `Popen`."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(int(self._answers.readline()))
        return self._status


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def assert_complete(folder: Path) -> str:
    """The dataset is entirely one version; returns its fingerprint."""
    prepared = manifest.read(folder)
    for name, split in prepared.splits.items():
        table = pq.read_table(folder / name)
        assert table.num_rows == split.rows
        assert sum(table["label"].to_pylist()) == split.positives
    return prepared.fingerprint


@pytest.fixture
def two_versions(tmp_path: Path) -> tuple[str, str]:
    """Fingerprints of the old dataset in `out`, and of its replacement."""
    write_rows(tmp_path, [{"label": i % 2, "a": i % 700} for i in range(3000)])
    new = run(own(label="1 - label::INTEGER"), tmp_path, tmp_path / "elsewhere")
    old = run(own(), tmp_path, tmp_path / "out")
    assert old.fingerprint != new.fingerprint
    return old.fingerprint, new.fingerprint


# Renames: rows, counts, vocabularies, encoded rows; train, test, two sample files and the vocabulary to their
# final names; the old dataset to `.old`, the new one to its target, the old one to the trash.
LAST = 12
# Rows in memory until they are encoded, and on disk.
in_both_stores = pytest.mark.parametrize("held_share", [reading.HELD_SHARE, 0.0], ids=["memory", "disk"])


@in_both_stores
@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 6, 8, 10, 11, LAST])
def test_a_kill_before_any_rename_loses_nothing(
    nursery: Nursery, tmp_path: Path, two_versions: tuple[str, str], kill_at: int, held_share: float
) -> None:
    old, new = two_versions
    with nursery.child(tmp_path, "1 - label::INTEGER", kill_at, held_share=held_share) as process:
        assert process.wait() == -signal.SIGKILL
    out = tmp_path / "out"
    assert assert_complete(out / "own") == (new if kill_at == LAST else old)
    stages: list[Progress] = []
    again = run(own(label="1 - label::INTEGER"), tmp_path, out, force=True, report=stages.append)
    assert again.fingerprint == assert_complete(out / "own") == new
    seen = {progress.stage for progress in stages}
    last_renames = {"reading": 1, "counting values": 2, "building vocabularies": 3, "encoding": 4}
    for done, rename in last_renames.items():  # rows in memory, and what came of them, are lost until encoded
        assert (done not in seen) == ((4 if held_share else rename) < kill_at < LAST)
    assert sorted(path.name for path in out.iterdir()) == [".own.lock", "own"]


def kill_at_random(
    nursery: Nursery, tmp_path: Path, versions: tuple[str, str], points: int, held_share: float
) -> None:
    rng = random.Random(7)
    out = tmp_path / "out"
    with nursery.child(tmp_path, "label", held_share=held_share) as process:
        begun = time.monotonic()
        assert process.wait() == 0
        seconds = time.monotonic() - begun
    for point in range(points):
        # Each request twice: the second resumes the first.
        label = ("label", "1 - label::INTEGER")[point // 2 % 2]
        with nursery.child(tmp_path, label, held_share=held_share) as process:
            time.sleep(rng.uniform(0, 1.1 * seconds))
            process.kill()
            process.wait()
        assert assert_complete(out / "own") in versions
    final = prepare(own(), Options(tmp_path, out=out, force=True))
    assert final.fingerprint == versions[0]
    assert sorted(path.name for path in out.iterdir()) == [".own.lock", "own"]


@in_both_stores
def test_a_few_random_kills_lose_nothing(
    nursery: Nursery, tmp_path: Path, two_versions: tuple[str, str], held_share: float
) -> None:
    kill_at_random(nursery, tmp_path, two_versions, 2, held_share)


@pytest.mark.slow
@in_both_stores
def test_many_random_kills_lose_nothing(
    nursery: Nursery, tmp_path: Path, two_versions: tuple[str, str], held_share: float
) -> None:
    kill_at_random(nursery, tmp_path, two_versions, 100, held_share)


def test_a_killed_first_preparation_leaves_no_dataset(nursery: Nursery, tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    with nursery.child(tmp_path, "label", kill_at=1) as process:
        assert process.wait() == -signal.SIGKILL
    with pytest.raises(UsageError, match="dataset `own` is not prepared"):
        manifest.read(tmp_path / "out/own")
    run(own(), tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".own.lock", "own"]


def test_a_second_process_waits_for_the_dataset(nursery: Nursery, tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i % 700} for i in range(30_000)])
    out = tmp_path / "out"
    stages: list[Progress] = []
    with nursery.child(tmp_path, "label") as first:
        while not (out / ".own.work").is_dir():
            time.sleep(0.001)
        prepared = run(own(), tmp_path, out, report=stages.append)
        assert first.wait() == 0
    assert stages[0].stage == "waiting for another `wukongctl prepare own`"
    assert stages[-1].stage == "already prepared"
    assert prepared.fingerprint == assert_complete(out / "own")


def test_half_a_deleted_dataset_is_never_restored(tmp_path: Path) -> None:
    trash = tmp_path / ".own.trash-1/old"
    trash.mkdir(parents=True)
    (trash / "manifest.json").write_text("{}")
    with pytest.raises(UsageError):
        manifest.read(tmp_path / "own")
    with publishing.locked(tmp_path / "own"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".own.lock"]


def test_a_failure_leaves_the_old_dataset(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    first = run(own(), tmp_path, tmp_path / "out")
    write_rows(tmp_path, [{"label": i, "a": i} for i in range(9)])
    with pytest.raises(RunFailed):
        run(own(), tmp_path, tmp_path / "out", force=True)
    assert manifest.read(tmp_path / "out/own") == first


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    with pytest.raises(UsageError, match="cannot write"):
        run(own(), tmp_path, tmp_path / "file/out")
