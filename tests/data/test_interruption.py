"""Ctrl-C, SIGTERM and full disks during a preparation: a one-line error, and nothing is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from tests.data.test_prepare import own, run, write_rows
from wukongctl.data.pipeline.writer import SplitWriter
from wukongctl.data.progress import Progress
from wukongctl.data.query.engine import Engine
from wukongctl.errors import Interrupted, RunFailed

RECIPE = """
name: own
description: a table
files: {clicks.csv: {}}
rows: SELECT * FROM read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',')
split: {by: order, ratio: {train: 2, test: 1}}
label: label
features: [{type: categorical, columns: [a]}]
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", ["reading", "counting values", "encoding"])
def test_library_errors_after_a_signal_are_interruptions(
    tmp_path: Path, stage: str, number: signal.Signals, code: int
) -> None:
    """DuckDB turns a signal into any of its own errors."""
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests are a job in the background
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])

    def interrupt(at: Progress) -> None:
        if at.stage == stage:
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                raise RuntimeError("Query interrupted") from None

    with pytest.raises(Interrupted, match="preparing `own` was interrupted") as caught:
        run(own(), tmp_path, tmp_path / "out", report=interrupt)
    assert caught.value.exit_code == code
    assert (tmp_path / "out/.own.work/counts/00000").is_dir() == (stage == "encoding")
    assert signal.getsignal(signal.SIGINT) is before
    run(own(), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out/.own.work").exists()


def test_an_interrupted_query_is_not_a_data_error(tmp_path: Path) -> None:
    with (
        Engine("own", {}, spill=tmp_path, search=tmp_path) as engine,
        pytest.raises(KeyboardInterrupt),
        engine._explained("SELECT 1"),
    ):
        raise RuntimeError("Query interrupted")


def write_many(folder: Path, rows: int) -> None:
    lines = (f"{i % 2},{i % 9973}\n" for i in range(rows))
    (folder / "clicks.csv").write_text("label,a\n" + "".join(lines))


def test_a_full_disk_while_encoding_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads are still reading when a write fails."""
    write_many(tmp_path, 400_000)

    def full(_self: SplitWriter, _rows: pa.Table) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SplitWriter, "write", full)
    with pytest.raises(RunFailed, match=r"cannot write .*: no space left on device"):
        run(own(), tmp_path, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".own.lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_while_counting_is_an_error(tmp_path: Path) -> None:
    engine = Engine("own", {}, spill=tmp_path, search=tmp_path, allow=["/dev/full"])
    with engine, pytest.raises(RunFailed) as caught:
        engine.execute("COPY (SELECT range FROM range(1000000)) TO '/dev/full' (FORMAT csv)")
    assert caught.value.message == "cannot write the files of dataset `own`: no space left on device"


def has_begun(process: int, folder: Path) -> bool:
    """Whether the process holds the lock; the folder may be left from an earlier one."""
    files = Path(f"/proc/{process}/fd")
    try:
        held = any(file.readlink().name == ".own.lock" for file in files.iterdir())
    except OSError:  # another system, or a file that was just closed
        held = not files.is_dir()
    return held and (folder / "out/.own.work/key").exists()


def prepare_and_signal(folder: Path, seconds: float, number: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wukongctl", "prepare", "own.yaml", "--out", "out", "--json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=env)
    deadline = time.monotonic() + 60
    while not has_begun(process.pid, folder) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_waiting_for_another_process_is_reported(tmp_path: Path) -> None:
    write_many(tmp_path, 90)
    (tmp_path / "own.yaml").write_text(RECIPE)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "wukongctl", "prepare", "own.yaml", "--out", "out"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with FileLock(tmp_path / "out/.own.lock"):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=env)
        assert process.stderr is not None
        first = process.stderr.readline()
    process.communicate(timeout=60)
    assert (first, process.returncode) == ("waiting for another `wukongctl prepare own`\n", 0)


def signal_at_random(folder: Path, rows: int, times: int) -> int:
    """Interrupt a preparation repeatedly at random moments; returns how often it was interrupted."""
    write_many(folder, rows)
    (folder / "own.yaml").write_text(RECIPE)
    begun = time.monotonic()
    reference = run(own(), folder, folder / "whole")
    seconds, stopped = time.monotonic() - begun, 0
    rng = random.Random(times)
    for turn in range(times):
        number, code = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[turn % 2]
        done = prepare_and_signal(folder, rng.uniform(0, seconds), number)
        if (folder / "out/own").is_dir():  # it finished first
            seconds *= 0.8
            shutil.rmtree(folder / "out")
            continue
        if done.returncode == -number or "what was finished" not in done.stderr:  # it had not started
            assert not done.stderr or json.loads(done.stderr)["message"].startswith("interrupted")
            continue
        stopped += 1
        assert done.returncode == code, done.stderr
        assert json.loads(done.stderr)["message"] == (
            "preparing `own` was interrupted; what was finished is kept"
        )
        assert (folder / "out/.own.work/key").is_file()
    final = run(own(), folder, folder / "out")
    assert final.statistics == reference.statistics
    assert pq.read_table(folder / "out/own/train").equals(pq.read_table(folder / "whole/own/train"))
    return stopped


def test_a_few_random_signals_lose_nothing(tmp_path: Path) -> None:
    signal_at_random(tmp_path, 100_000, 2)


@pytest.mark.slow
def test_many_random_signals_lose_nothing(tmp_path: Path) -> None:
    assert signal_at_random(tmp_path, 2_000_000, 30) > 10
