"""Whole or not at all: kills at chosen and at random points, two processes at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.test_prepare import own, run, write_rows
from wukongctl.data import manifest, publishing
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.data.progress import Progress
from wukongctl.errors import RunFailed, UsageError

# A child that prepares with `--force`, kills itself before its n-th rename, or waits to be killed.
CHILD = """
import os, signal, sys
from pathlib import Path
from tests.data.test_prepare import own
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare

folder, value, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if kill_at:
    rename, seen = Path.rename, []
    def counted(self, target):
        seen.append(target)
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.rename = counted
print("ready", flush=True)
sys.stdin.readline()
prepare(own(label=value), Options(folder, folder / "out", force=True))
"""


@contextmanager
def child(folder: Path, value: str, kill_at: int = 0) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), value, str(kill_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def assert_whole(folder: Path) -> str:
    """The dataset is entirely one of the two versions; gives its fingerprint."""
    prepared = manifest.read(folder)
    for name, split in prepared.splits.items():
        table = pq.read_table(folder / name)
        assert table.num_rows == split.rows
        assert sum(table["label"].to_pylist()) == split.positives
    return prepared.fingerprint


@pytest.fixture
def two_versions(tmp_path: Path) -> tuple[str, str]:
    """Fingerprints of the old dataset, which stands in `out`, and of the one that is to replace it."""
    write_rows(tmp_path, [{"label": i % 2, "a": i % 700} for i in range(30_000)])
    new = run(own(label="1 - label::INTEGER"), tmp_path, tmp_path / "elsewhere")
    old = run(own(), tmp_path, tmp_path / "out")
    assert old.fingerprint != new.fingerprint
    return old.fingerprint, new.fingerprint


# Renames: rows, counts, vocabularies, encoded rows; train, test, two files of the sample and the vocabulary
# to their places; the old dataset away, the new one in, the old one to the trash.
LAST = 12


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 6, 8, 10, 11, LAST])
def test_kill_before_a_rename(tmp_path: Path, two_versions: tuple[str, str], kill_at: int) -> None:
    old, new = two_versions
    with child(tmp_path, "1 - label::INTEGER", kill_at) as process:
        assert process.wait() == -signal.SIGKILL
    out = tmp_path / "out"
    assert assert_whole(out / "own") == (new if kill_at == LAST else old)
    stages: list[Progress] = []
    again = run(own(label="1 - label::INTEGER"), tmp_path, out, force=True, report=stages.append)
    assert again.fingerprint == assert_whole(out / "own") == new
    seen = {progress.stage for progress in stages}
    assert ("reading" not in seen) == (1 < kill_at < LAST)
    assert ("counting values" not in seen) == (2 < kill_at < LAST)
    assert ("building vocabularies" not in seen) == (3 < kill_at < LAST)
    assert ("encoding" not in seen) == (4 < kill_at < LAST)
    assert sorted(path.name for path in out.iterdir()) == [".own.lock", "own"]


def kill_at_random(tmp_path: Path, versions: tuple[str, str], points: int) -> None:
    rng = random.Random(7)
    out = tmp_path / "out"
    with child(tmp_path, "label") as process:
        begun = time.monotonic()
        assert process.wait() == 0
        seconds = time.monotonic() - begun
    for point in range(points):
        # Twice the same request: the second takes up what the first had finished.
        with child(tmp_path, ("label", "1 - label::INTEGER")[point // 2 % 2]) as process:
            time.sleep(rng.uniform(0, 1.1 * seconds))
            process.kill()
            process.wait()
        assert assert_whole(out / "own") in versions
    final = prepare(own(), Options(tmp_path, out=out, force=True))
    assert final.fingerprint == versions[0]
    assert sorted(path.name for path in out.iterdir()) == [".own.lock", "own"]


def test_kill_at_a_few_random_points(tmp_path: Path, two_versions: tuple[str, str]) -> None:
    kill_at_random(tmp_path, two_versions, 2)


@pytest.mark.slow
def test_kill_at_many_random_points(tmp_path: Path, two_versions: tuple[str, str]) -> None:
    kill_at_random(tmp_path, two_versions, 100)


def test_first_preparation_killed_leaves_nothing_that_looks_prepared(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    with child(tmp_path, "label", kill_at=1) as process:
        assert process.wait() == -signal.SIGKILL
    with pytest.raises(UsageError, match="dataset `own` is not prepared"):
        manifest.read(tmp_path / "out/own")
    run(own(), tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".own.lock", "own"]


def test_second_process_waits_and_finds_it_done(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i % 700} for i in range(30_000)])
    out = tmp_path / "out"
    stages: list[Progress] = []
    with child(tmp_path, "label") as first:
        while not (out / ".own.work").is_dir() and first.poll() is None:
            time.sleep(0.001)
        prepared = run(own(), tmp_path, out, report=stages.append)
        assert first.wait() == 0
    assert stages[0].stage == "waiting for another `wukongctl prepare own`"
    assert stages[-1].stage == "already prepared"
    assert prepared.fingerprint == assert_whole(out / "own")


def test_half_a_deleted_dataset_is_never_restored(tmp_path: Path) -> None:
    trash = tmp_path / ".own.trash-1/old"
    trash.mkdir(parents=True)
    (trash / "manifest.json").write_text("{}")
    with pytest.raises(UsageError):
        manifest.read(tmp_path / "own")
    with publishing.locked(tmp_path / "own"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".own.lock"]


def test_failure_leaves_the_old_dataset(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    first = run(own(), tmp_path, tmp_path / "out")
    write_rows(tmp_path, [{"label": i, "a": i} for i in range(9)])
    with pytest.raises(RunFailed):
        run(own(), tmp_path, tmp_path / "out", force=True)
    assert manifest.read(tmp_path / "out/own") == first


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    with pytest.raises(UsageError, match="cannot write"):
        run(own(), tmp_path, tmp_path / "file/out")
