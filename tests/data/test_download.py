"""Downloads from a server that misbehaves: the right file or a clear error, never a wrong file."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.server import Behaviour, Server, serving
from wukongctl.config.dataset import Download
from wukongctl.data import download
from wukongctl.data.digests import digests
from wukongctl.data.download import fetch
from wukongctl.data.progress import Progress
from wukongctl.errors import CheckFailed, RunFailed

CONTENT = bytes(i * i % 251 for i in range(3_000_000))
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been slept."""
    slept: list[float] = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", slept.append)
    return slept


def get(server: Server, tmp_path: Path, **changes: object) -> Path:
    spec = {"urls": (server.url(),), "md5": MD5, **changes}
    return fetch(Download.model_validate(spec), tmp_path / "file.bin")


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == CONTENT
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == [".file.bin.lock", "file.bin"]


def test_good_server(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    spec = Download(urls=(server.url(),), md5=MD5, bytes=len(CONTENT))
    assert_whole(fetch(spec, tmp_path / "file.bin", report=seen.append))
    assert seen[-1] == Progress("downloading file.bin", len(CONTENT), len(CONTENT), "bytes")


def test_a_file_already_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.requests) == 1


def test_no_length(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(no_length=True))
    assert_whole(get(server, tmp_path))


def test_dropped_connections_are_resumed_where_they_broke(server: Server, tmp_path: Path) -> None:
    step = len(CONTENT) // 10
    server.script.extend(Behaviour(drop_after=step) for _ in range(9))
    assert_whole(get(server, tmp_path))
    starts = [int(h["range"].removeprefix("bytes=").rstrip("-")) for _, h in server.requests if "range" in h]
    assert len(starts) == 9
    assert starts == sorted(starts)
    assert all(headers["if-range"] == server.etag for _, headers in server.requests[1:])


def test_ignored_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.script.extend([Behaviour(drop_after=1_500_000), Behaviour(ignore_range=True)])
    assert_whole(get(server, tmp_path))


def test_changed_file_is_not_mixed_with_the_old_one(server: Server, tmp_path: Path) -> None:
    server.replace(bytes(len(CONTENT)))
    server.script.append(Behaviour(drop_after=1_000_000, then_replace=CONTENT))
    assert_whole(get(server, tmp_path))
    assert "range" in server.requests[1][1]


def test_without_etag_nothing_is_resumed(server: Server, tmp_path: Path) -> None:
    server.etag = None
    server.script.append(Behaviour(drop_after=1_000_000))
    assert_whole(get(server, tmp_path))
    assert "range" not in server.requests[1][1]


def test_weak_etag_is_not_resumed_on_but_a_date_is(server: Server, tmp_path: Path) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    server.etag = None
    server.script.append(Behaviour(drop_after=1_000_000, headers={"ETag": 'W/"x"', "Last-Modified": date}))
    assert_whole(get(server, tmp_path))
    assert server.requests[1][1]["if-range"] == date


def test_wrong_range_is_refused(server: Server, tmp_path: Path) -> None:
    server.script.extend([Behaviour(drop_after=1_000_000), Behaviour(wrong_range=True)])
    with pytest.raises(RunFailed, match="cannot be downloaded") as failure:
        get(server, tmp_path)
    assert "another range" in str(failure.value.problems[0])
    assert not (tmp_path / "file.bin").exists()


def test_corrupt_byte_is_a_failed_check_showing_both_values(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(corrupt=2_000_000))
    with pytest.raises(CheckFailed) as failure:
        get(server, tmp_path)
    problem = str(failure.value.problems[0])
    assert f"expected {MD5}" in problem
    assert (
        hashlib.md5(CONTENT[:2_000_000] + bytes([CONTENT[2_000_000] ^ 255]) + CONTENT[2_000_001:]).hexdigest()
        in problem
    )
    assert not (tmp_path / "file.bin").exists()
    assert_whole(get(server, tmp_path))


def test_corrupt_byte_in_the_resumed_half_is_noticed(server: Server, tmp_path: Path) -> None:
    server.script.extend([Behaviour(drop_after=1_000_000), Behaviour(corrupt=2_000_000)])
    with pytest.raises(CheckFailed):
        get(server, tmp_path)


def test_wrong_length(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as failure:
        get(server, tmp_path, bytes=len(CONTENT) + 1)
    assert "bytes is 3000000, expected 3000001" in str(failure.value.problems[0])


def test_verify_off_takes_what_comes(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(corrupt=5))
    spec = Download(urls=(server.url(),), md5=MD5, bytes=5)
    path = fetch(spec, tmp_path / "file.bin", verify=False)
    assert digests(path).differences(spec) != []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again_after_the_wait_it_names(
    server: Server, tmp_path: Path, waits: list[float], status: int
) -> None:
    server.script.extend(Behaviour(status=status, headers={"Retry-After": "7"}) for _ in range(3))
    assert_whole(get(server, tmp_path))
    assert waits == [7.0, 7.0, 7.0]


def test_wait_is_bounded_and_grows_without_advice(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.script.extend([Behaviour(status=503), Behaviour(status=503), Behaviour(status=503)])
    server.script.append(Behaviour(status=503, headers={"Retry-After": "86400"}))
    assert_whole(get(server, tmp_path))
    assert waits[0] < waits[1] < waits[2]
    assert waits[3] == download.MAX_WAIT


def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path) -> None:
    server.script.extend(Behaviour(status=503) for _ in range(20))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "503" in str(failure.value.problems[0])
    assert len(server.requests) == download.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "words"), [(403, "forbids access"), (404, "does not have"), (401, "login")]
)
def test_refusals_are_explained_and_not_repeated(
    server: Server, tmp_path: Path, status: int, words: str
) -> None:
    server.script.append(Behaviour(status=status))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert words in str(failure.value.problems[0])
    assert len(server.requests) == 1


def test_web_page_instead_of_the_file(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(headers={"Content-Type": "text/html; charset=utf-8"}))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "web page" in str(failure.value.problems[0])


def test_mirrors_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(status=404))
    urls = (server.url("first"), "http://127.0.0.1:9/second", server.url("third"))
    assert_whole(get(server, tmp_path, urls=urls))
    assert [path for path, _ in server.requests] == ["/first", "/third"]


def test_a_part_from_one_mirror_is_not_continued_from_another(server: Server, tmp_path: Path) -> None:
    server.script.append(Behaviour(drop_after=1_000_000))
    server.script.extend(Behaviour(status=404) for _ in range(1))
    assert_whole(get(server, tmp_path, urls=(server.url("first"), server.url("second"))))
    assert "range" not in server.requests[2][1]


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be downloaded") as failure:
        fetch(Download(urls=("http://127.0.0.1:9/file",)), tmp_path / "file.bin")
    assert "offline" in str(failure.value.problems[0])
    assert "--source" in str(failure.value.hint)


def test_damaged_note_of_the_part_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.bin.part.json").write_text("{not json")
    assert_whole(get(server, tmp_path))


def test_part_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    note = {"url": server.url(), "validator": server.etag}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(note))
    assert_whole(get(server, tmp_path))


def test_full_disk_is_noticed_before_fetching(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(RunFailed, match="GB free"):
        get(server, tmp_path)


def test_hugging_face_mirror(monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
    assert_whole(get(server, tmp_path, urls=("https://huggingface.co/datasets/a/b.zip",)))
    assert server.requests[0][0] == "/datasets/a/b.zip"


def test_two_downloads_of_one_file_share_it(server: Server, tmp_path: Path) -> None:
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(get(server, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(server.requests) == 1
    assert_whole(tmp_path / "file.bin")


FETCH = """
import sys
from pathlib import Path
from wukongctl.config.dataset import Download
from wukongctl.data.download import fetch
fetch(Download(urls=(sys.argv[1],), md5=sys.argv[2]), Path(sys.argv[3]))
"""


def test_killed_download_is_resumed(server: Server, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    server.script.append(Behaviour(stall_after=half))
    part = tmp_path / "file.bin.part"
    process = subprocess.Popen([sys.executable, "-c", FETCH, server.url(), MD5, str(tmp_path / "file.bin")])
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > half // 2) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file.bin").exists()
    kept = part.stat().st_size
    assert_whole(get(server, tmp_path))
    assert server.requests[1][1]["range"] == f"bytes={kept}-"
