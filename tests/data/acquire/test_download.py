"""Downloads from a misbehaving server: the right file or a clear error, never a wrong file."""

import errno
import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.server import Behavior, Server, serving
from wukongctl.config.dataset import Download
from wukongctl.data.acquire import network, transfer
from wukongctl.data.acquire.digests import digests
from wukongctl.data.acquire.download import fetch
from wukongctl.data.progress import Progress
from wukongctl.errors import CheckFailed, RunFailed

CONTENT = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of sleep, recorded instead of slept."""
    recorded: list[float] = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer.time, "sleep", recorded.append)
    return recorded


def get(server: Server, tmp_path: Path, **changes: object) -> Path:
    spec = {"urls": (server.url(),), "md5": MD5, **changes}
    return fetch(Download.model_validate(spec), tmp_path / "file.bin")


def assert_complete(path: Path) -> None:
    assert path.read_bytes() == CONTENT
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == [".file.bin.lock", "file.bin"]


def test_a_download_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    spec = Download(urls=(server.url(),), md5=MD5, bytes=len(CONTENT))
    assert_complete(fetch(spec, tmp_path / "file.bin", report=seen.append))
    assert seen[-1] == Progress("downloading file.bin", len(CONTENT), len(CONTENT), "bytes")


def test_an_existing_file_is_not_downloaded(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.requests) == 1


def test_a_file_of_unannounced_length(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(no_length=True))
    assert_complete(get(server, tmp_path))


def test_dropped_connections_are_resumed(server: Server, tmp_path: Path) -> None:
    step = len(CONTENT) // 10
    server.script.extend(Behavior(drop_after=step) for _ in range(9))
    assert_complete(get(server, tmp_path))
    starts = [int(h["range"].removeprefix("bytes=").rstrip("-")) for _, h in server.requests if "range" in h]
    assert len(starts) == 9
    assert starts == sorted(starts)
    assert all(headers["if-range"] == server.etag for _, headers in server.requests[1:])


def test_an_ignored_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.script.extend([Behavior(drop_after=1_500_000), Behavior(ignore_range=True)])
    assert_complete(get(server, tmp_path))


def test_a_changed_file_is_not_mixed_with_the_old_one(server: Server, tmp_path: Path) -> None:
    server.replace(bytes(len(CONTENT)))
    server.script.append(Behavior(drop_after=1_000_000, then_replace=CONTENT))
    assert_complete(get(server, tmp_path))
    assert "range" in server.requests[1][1]


def test_without_etag_only_a_checksum_allows_resuming(server: Server, tmp_path: Path) -> None:
    server.etag = None
    for md5, resumed in ((None, False), (MD5, True)):
        server.requests.clear()
        server.script.append(Behavior(drop_after=1_000_000))
        assert_complete(get(server, tmp_path, md5=md5))
        assert ("range" in server.requests[1][1]) == resumed
        (tmp_path / "file.bin").unlink()


def test_last_modified_but_not_a_weak_etag_allows_resuming(server: Server, tmp_path: Path) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    server.etag = None
    server.script.append(Behavior(drop_after=1_000_000, headers={"ETag": 'W/"x"', "Last-Modified": date}))
    assert_complete(get(server, tmp_path))
    assert server.requests[1][1]["if-range"] == date


@pytest.mark.parametrize("md5", [MD5, None])
def test_a_wrong_range_starts_over_without_range_requests(
    server: Server, tmp_path: Path, md5: str | None
) -> None:
    drop = Behavior(drop_after=1_000_000)
    server.script.extend([drop, Behavior(wrong_range=True), drop])
    assert_complete(get(server, tmp_path, md5=md5))
    assert ["range" in headers for _, headers in server.requests] == [False, True, False, False]


@pytest.mark.parametrize("md5", [MD5, None])
def test_a_new_version_despite_if_range_is_not_appended(
    server: Server, tmp_path: Path, md5: str | None
) -> None:
    server.replace(bytes(len(CONTENT)))
    server.script.append(Behavior(drop_after=1_000_000, then_replace=CONTENT))
    server.script.append(Behavior(ignore_if_range=True))
    assert_complete(get(server, tmp_path, md5=md5))


def test_a_checksum_detects_a_new_version_without_validator(server: Server, tmp_path: Path) -> None:
    server.replace(bytes(len(CONTENT)))
    server.script.extend([Behavior(drop_after=1_000_000, then_replace=CONTENT), Behavior()])
    server.etag = None
    metadata = {"url": server.url(), "validator": None, "total": len(CONTENT)}
    (tmp_path / "file.bin.part").write_bytes(bytes(500_000))
    (tmp_path / "file.bin.part.json").write_text(json.dumps(metadata))
    server.script.clear()
    server.content = CONTENT
    assert_complete(get(server, tmp_path))
    assert ["range" in headers for _, headers in server.requests] == [True, False]


def test_a_complete_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    metadata = {"url": server.url(), "validator": server.etag, "total": len(CONTENT)}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(metadata))
    assert_complete(get(server, tmp_path))
    assert server.requests == []


def test_an_announced_length_too_long_is_an_error(server: Server, tmp_path: Path) -> None:
    """Each answer sends the whole file and claims ten bytes more; a request for those gets 416."""
    server.script.extend(Behavior(claim=10) for _ in range(50))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert len(server.requests) < 15
    assert not (tmp_path / "file.bin").exists()
    assert len(failure.value.problems) == 1


def test_an_announced_length_too_short_fails_the_check(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(claim=-10))
    with pytest.raises(CheckFailed):
        get(server, tmp_path)


def test_drops_without_progress_are_given_up(server: Server, tmp_path: Path) -> None:
    """Half of the attempts get further than the one before, none further than the first."""
    drops = [Behavior(drop_after=2_000_000 - 1000 * (i % 2), ignore_range=True) for i in range(100)]
    server.script.extend(drops)
    with pytest.raises(RunFailed):
        get(server, tmp_path)
    assert len(server.requests) == transfer.ATTEMPTS + 1


def test_a_truncated_file_without_length_or_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(no_length=True, drop_after=1_000_000))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path, md5=None)
    assert "does not report the file size" in str(failure.value.problems[0])
    # A published size is as good as an announced one.
    server.script.append(Behavior(no_length=True, drop_after=1_000_000))
    assert_complete(get(server, tmp_path, md5=None, bytes=len(CONTENT)))


def test_an_empty_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(headers={"Content-Length": "0"}, drop_after=0))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path, md5=None)
    assert "empty" in str(failure.value.problems[0])


def test_a_stalled_connection_is_retried_then_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SLOW_SECONDS", 0.05)
    server.script.extend(Behavior(trickle=0.01) for _ in range(2))
    assert_complete(get(server, tmp_path))
    server.script.extend(Behavior(trickle=0.01) for _ in range(20))
    (tmp_path / "file.bin").unlink()
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "bytes per second" in str(failure.value.problems[0])


def test_a_timeout_is_resumed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "TIMEOUT", httpx.Timeout(0.2))
    server.script.append(Behavior(stall_after=1_000_000))
    assert_complete(get(server, tmp_path))
    assert "range" in server.requests[1][1]


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(status=302, headers={"Location": server.url("moved")}))
    server.script.append(Behavior(drop_after=1_000_000))
    server.script.append(Behavior(status=307, headers={"Location": "/moved/again"}))
    assert_complete(get(server, tmp_path))
    assert [path for path, _ in server.requests] == ["/file.bin", "/moved", "/file.bin", "/moved/again"]


@pytest.mark.parametrize(
    ("location", "words"),
    [("/file.bin", "in a loop"), ("http://[", "cannot be reached"), ("ftp://x/y", "protocol")],
)
def test_broken_redirects_are_errors(server: Server, tmp_path: Path, location: str, words: str) -> None:
    server.script.extend(Behavior(status=301, headers={"Location": location}) for _ in range(200))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert words in str(failure.value.problems[0])


def test_a_content_encoding_is_refused(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "encoded as gzip" in str(failure.value.problems[0])
    # Servers label archives like this although they send them unchanged.
    server.script.append(Behavior(headers={"Content-Encoding": "x-gzip"}))
    spec = Download(urls=(server.url(),), md5=MD5)
    assert fetch(spec, tmp_path / "file.tar.gz").read_bytes() == CONTENT


def test_a_corrupt_byte_fails_the_check_with_both_values(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(corrupt=2_000_000))
    with pytest.raises(CheckFailed) as failure:
        get(server, tmp_path)
    problem = str(failure.value.problems[0])
    assert f"expected {MD5}" in problem
    assert (
        hashlib.md5(CONTENT[:2_000_000] + bytes([CONTENT[2_000_000] ^ 255]) + CONTENT[2_000_001:]).hexdigest()
        in problem
    )
    assert not (tmp_path / "file.bin").exists()
    assert_complete(get(server, tmp_path))


def test_a_corrupt_resumed_download_starts_over_once(server: Server, tmp_path: Path) -> None:
    drop, corrupt = Behavior(drop_after=1_000_000), Behavior(corrupt=2_000_000)
    server.script.extend([drop, corrupt])
    assert_complete(get(server, tmp_path))
    (tmp_path / "file.bin").unlink()
    server.script.extend([drop, corrupt, drop, corrupt, drop, corrupt])
    with pytest.raises(CheckFailed):
        get(server, tmp_path)
    assert len(server.script) == 2


def test_a_wrong_size_fails_the_check(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as failure:
        get(server, tmp_path, bytes=len(CONTENT) + 1)
    assert "size is 3000000, expected 3000001" in str(failure.value.problems[0])


def test_without_verify_any_file_is_accepted(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(corrupt=5))
    spec = Download(urls=(server.url(),), md5=MD5, bytes=5)
    path = fetch(spec, tmp_path / "file.bin", verify=False)
    assert digests(path).differences(spec) != []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_retried_after_the_requested_wait(
    server: Server, tmp_path: Path, waits: list[float], status: int
) -> None:
    server.script.extend(Behavior(status=status, headers={"Retry-After": "7"}) for _ in range(3))
    assert_complete(get(server, tmp_path))
    assert waits == [7.0, 7.0, 7.0]


def test_waits_grow_and_are_limited(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.script.extend([Behavior(status=503), Behavior(status=503), Behavior(status=503)])
    server.script.append(Behavior(status=503, headers={"Retry-After": "86400"}))
    assert_complete(get(server, tmp_path))
    assert waits[0] < waits[1] < waits[2]
    assert waits[3] == transfer.MAX_WAIT


def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path) -> None:
    server.script.extend(Behavior(status=503) for _ in range(20))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "503" in str(failure.value.problems[0])
    assert len(server.requests) == transfer.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "words"), [(403, "forbids access"), (404, "does not have"), (401, "requires a login")]
)
def test_refusals_are_explained_and_not_retried(
    server: Server, tmp_path: Path, status: int, words: str
) -> None:
    server.script.append(Behavior(status=status))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert words in str(failure.value.problems[0])
    assert len(server.requests) == 1


def test_a_web_page_is_refused(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(headers={"Content-Type": "text/html; charset=utf-8"}))
    with pytest.raises(RunFailed) as failure:
        get(server, tmp_path)
    assert "web page" in str(failure.value.problems[0])


def test_mirrors_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    server.script.append(Behavior(status=404))
    urls = (server.url("first"), "http://127.0.0.1:9/second", server.url("third"))
    assert_complete(get(server, tmp_path, urls=urls))
    assert [path for path, _ in server.requests] == ["/first", "/third"]


@pytest.mark.parametrize("md5", [MD5, None])
def test_only_a_checksum_allows_resuming_from_another_mirror(
    server: Server, tmp_path: Path, md5: str | None
) -> None:
    server.script.extend([Behavior(drop_after=1_000_000), Behavior(status=404)])
    assert_complete(get(server, tmp_path, md5=md5, urls=(server.url("first"), server.url("second"))))
    last = server.requests[2][1]
    assert "if-range" not in last
    assert ("range" in last) == (md5 is not None)


def test_mirrors_with_different_files_are_not_mixed(server: Server, tmp_path: Path) -> None:
    with serving(bytes(len(CONTENT))) as wrong:
        wrong.script.extend([Behavior(drop_after=1_000_000), Behavior(status=404)])
        assert_complete(get(server, tmp_path, urls=(wrong.url(), server.url())))
        (tmp_path / "file.bin").unlink()
        wrong.script.extend([Behavior(drop_after=1_000_000), Behavior(status=404)])
        assert_complete(get(server, tmp_path, urls=(wrong.url(), server.url()), md5=None))


def test_offline_hint_names_checksum_and_folder(tmp_path: Path) -> None:
    spec = Download(urls=("http://127.0.0.1:9/file",), md5=MD5, bytes=3_000_000)
    with pytest.raises(RunFailed, match="cannot be downloaded") as failure:
        fetch(spec, tmp_path / "file.bin")
    assert "offline" in str(failure.value.problems[0])
    hint = str(failure.value.hint)
    assert "--source" in hint
    assert f"(3,000,000 bytes, md5 {MD5})" in hint
    assert f"`{tmp_path}`" in hint


def test_damaged_metadata_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.bin.part.json").write_text("{not json")
    assert_complete(get(server, tmp_path))


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    metadata = {"url": server.url(), "validator": server.etag}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(metadata))
    assert_complete(get(server, tmp_path))


def test_an_unwritable_folder_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    spec = Download(urls=(server.url(),))
    with pytest.raises(RunFailed, match="cannot write") as failure:
        fetch(spec, tmp_path / "cache" / "file.bin")
    assert "WUKONGCTL_CACHE" in str(failure.value.hint)


def test_a_download_resumes_after_a_full_disk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = transfer.Digests.update, []

    def full(self: object, chunk: bytes) -> None:
        real(self, chunk)  # type: ignore[arg-type]
        calls.append(len(chunk))
        if sum(calls) > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer.Digests, "update", full)
    with pytest.raises(RunFailed, match="no space left"):
        get(server, tmp_path)
    monkeypatch.setattr(transfer.Digests, "update", real)
    assert_complete(get(server, tmp_path))
    assert "range" in server.requests[1][1]


def test_too_little_space_is_detected_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(RunFailed, match=r"has 1.0 KB free and needs .* MB"):
        get(server, tmp_path)


def test_the_hugging_face_mirror_is_used(
    monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
    assert_complete(get(server, tmp_path, urls=("https://huggingface.co/datasets/a/b.zip",)))
    assert server.requests[0][0] == "/datasets/a/b.zip"


SMALL = CONTENT[:20_000]
behaviors = st.builds(
    Behavior,
    status=st.sampled_from([None, None, None, None, 404, 416, 429, 500, 503, 206]),
    headers=st.sampled_from([{}, {"Retry-After": "3"}, {"ETag": '"new"'}, {"ETag": 'W/"weak"'}]),
    drop_after=st.none() | st.integers(0, len(SMALL)),
    ignore_range=st.booleans(),
    ignore_if_range=st.booleans(),
    wrong_range=st.booleans(),
    corrupt=st.none() | st.integers(0, len(SMALL) - 1),
    claim=st.sampled_from([0, 0, 0, 5, -5]),
    no_length=st.booleans(),
    then_replace=st.sampled_from([None, None, SMALL[::-1], SMALL]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(behaviors, max_size=8), checksum=st.sampled_from(["md5", "sha256"]))
def test_the_file_is_right_or_absent_whatever_the_server_does(
    server: Server, tmp_path: Path, script: list[Behavior], checksum: str
) -> None:
    server.replace(SMALL)
    server.script.clear()
    server.script.extend(script)
    spec = Download.model_validate(
        {"urls": (server.url(), server.url("mirror")), checksum: hashlib.new(checksum, SMALL).hexdigest()}
    )
    target = tmp_path / "small.bin"
    try:
        fetch(spec, target)
    except (RunFailed, CheckFailed):
        assert not target.exists()
    else:
        assert target.read_bytes() == SMALL
        target.unlink()


def test_concurrent_downloads_share_one_request(server: Server, tmp_path: Path) -> None:
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(get(server, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(server.requests) == 1
    assert_complete(tmp_path / "file.bin")


FETCH = """
import sys
from pathlib import Path
from wukongctl.config.dataset import Download
from wukongctl.data.acquire.download import fetch
fetch(Download(urls=(sys.argv[1],), md5=sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_download_is_resumed(server: Server, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    server.script.append(Behavior(stall_after=half))
    part = tmp_path / "file.bin.part"
    process = subprocess.Popen([sys.executable, "-c", FETCH, server.url(), MD5, str(tmp_path / "file.bin")])
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > half // 2) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file.bin").exists()
    kept = part.stat().st_size
    assert_complete(get(server, tmp_path))
    assert server.requests[1][1]["range"] == f"bytes={kept}-"
