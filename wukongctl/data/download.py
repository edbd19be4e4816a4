"""One file from one of several mirrors: resumed, verified, and only then given its name.

<name>.part        what has arrived
<name>.part.json   which version of which URL it is (ETag or Last-Modified): without it, no resuming
.<name>.lock       one process at a time
"""

import json
import os
import random
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

import wukongctl
from wukongctl.config.dataset import Download
from wukongctl.data.digests import Digests
from wukongctl.data.extract import require_space
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.errors import CheckFailed, Problem, RunFailed

ATTEMPTS = 5
"""Failures in a row, without a byte of progress, before a mirror is given up."""
CONNECT_ATTEMPTS = 2
"""The same where no connection comes about: most likely there is no network."""
BACKOFF, MAX_WAIT = 1.0, 60.0
"""Seconds before the first retry, doubled each time, and the longest wait a server may ask for."""
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
CHUNK = 1 << 20
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MEANING = {
    401: "needs a login",
    403: "forbids access (a login or accepted terms may be needed)",
    404: "does not have the file",
    410: "no longer has the file",
}


class MirrorFailed(Exception):
    """Why this mirror cannot give the file."""


class Mismatch(MirrorFailed):
    """The whole file arrived and is not the published one."""


class Again(Exception):
    """A passing failure; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(download: Download, target: Path, *, verify: bool = True, report: Report = silent) -> Path:
    """Bring `download` to `target`, trying its mirrors in turn; a file that is already there is kept.

    Raises CheckFailed when what arrives is not the published file, RunFailed when no mirror gives it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _locked(target, report),
        httpx.Client(
            timeout=TIMEOUT,
            follow_redirects=True,
            headers={"User-Agent": f"wukongctl/{wukongctl.__version__}", "Accept-Encoding": "identity"},
        ) as client,
    ):
        if target.is_file():
            return target
        failures: list[tuple[str, MirrorFailed]] = []
        for url in map(_endpoint, download.urls):
            try:
                _Transfer(client, url, download, target, verify=verify, report=report).run()
            except MirrorFailed as failure:
                failures.append((url, failure))
            else:
                return target
    raise _gave_up(target.name, failures)


class _Transfer:
    """One mirror, until the file is whole or the mirror is given up."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        download: Download,
        target: Path,
        *,
        verify: bool,
        report: Report,
    ) -> None:
        self.client, self.url, self.download, self.target = client, url, download, target
        self.verify, self.report = verify, report
        self.part = target.with_name(f"{target.name}.part")
        self.version = target.with_name(f"{target.name}.part.json")

    def run(self) -> None:
        failures = 0
        while True:
            before = self._size()
            try:
                self._attempt()
            except (httpx.TransportError, Again) as error:
                failures = 0 if self._size() > before else failures + 1
                attempts = CONNECT_ATTEMPTS if isinstance(error, httpx.ConnectError) else ATTEMPTS
                if failures >= attempts or _is_certificate(error):
                    raise MirrorFailed(_reason(error)) from None
                _pause(error, failures)
            else:
                return

    def _attempt(self) -> None:
        """One request; returns when the file is whole, verified and in place."""
        start, headers = self._resume_point()
        with self.client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._forget()
                raise Again("the part already fetched is not part of the file")
            self._require_file(response)
            if start and not _continues(response, start):
                start = 0
            self._receive(response, start)

    def _resume_point(self) -> tuple[int, dict[str, str]]:
        """How much is already here, and the headers that ask for the rest of the same version."""
        try:
            known = json.loads(self.version.read_text(encoding="utf-8"))
            size = self._size()
            if size and known["url"] == self.url and known["validator"]:
                return size, {"Range": f"bytes={size}-", "If-Range": known["validator"]}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, {}

    def _require_file(self, response: httpx.Response) -> None:
        code = response.status_code
        if code in RETRIED:
            raise Again(f"answers {code} {response.reason_phrase}".strip(), _retry_after(response))
        if code not in (200, 206):
            raise MirrorFailed(MEANING.get(code, f"answers {code} {response.reason_phrase}".strip()))
        if response.headers.get("content-type", "").startswith("text/html"):
            raise MirrorFailed("gives a web page instead of the file (a login may be needed)")

    def _receive(self, response: httpx.Response, start: int) -> None:
        total = _total(response, start)
        if total is not None and self.verify and self.download.bytes not in (None, total):
            raise Mismatch(f"bytes is {total}, expected {self.download.bytes}")
        require_space(self.part.parent, (total or 0) - start)
        received = self._already(start)
        self._remember(response)
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in response.iter_raw():
                file.write(chunk)
                received.update(chunk)
                self.report(Progress(f"downloading {self.target.name}", received.size, total, "bytes"))
            file.flush()
            os.fsync(file.fileno())
        self._finish(received, total)

    def _already(self, start: int) -> Digests:
        received = Digests()
        if start:
            with self.part.open("rb") as file:
                while received.size < start and (chunk := file.read(min(CHUNK, start - received.size))):
                    received.update(chunk)
        return received

    def _finish(self, received: Digests, total: int | None) -> None:
        if total is not None and received.size != total:
            raise Again(f"the connection ended after {received.size:,} of {total:,} bytes")
        differences = received.differences(self.download) if self.verify else []
        if differences:
            self._forget()
            raise Mismatch("; ".join(differences))
        self.part.replace(self.target)
        self.version.unlink(missing_ok=True)

    def _remember(self, response: httpx.Response) -> None:
        etag = response.headers.get("etag", "")
        # A weak ETag names equivalent content, not equal bytes: it may not be resumed on (RFC 9110, 13.1.5).
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")
        self.version.write_text(json.dumps({"url": self.url, "validator": validator}), encoding="utf-8")

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


def _continues(response: httpx.Response, start: int) -> bool:
    """Whether the answer is the rest of the file from `start`; a 200 is the whole file again."""
    if response.status_code == httpx.codes.OK:
        return False
    if response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        return True
    raise MirrorFailed("answers with another range than the one asked for")


def _total(response: httpx.Response, start: int) -> int | None:
    """Size of the whole file, from Content-Range or Content-Length."""
    total = response.headers.get("content-range", "").rpartition("/")[2]
    if total.isdigit():
        return int(total)
    length = response.headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds the server asks us to wait: a number or a date."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None


def _pause(error: Exception, failures: int) -> None:
    wait = error.wait if isinstance(error, Again) else None
    if wait is None:
        wait = BACKOFF * 2 ** max(failures - 1, 0) * random.uniform(0.75, 1.25)
    time.sleep(min(max(wait, 0.0), MAX_WAIT))


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception) -> str:
    if _is_certificate(error):
        return "has a certificate that cannot be trusted (expired, or not for this host)"
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "cannot be reached (is this machine offline?)"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".").lower()


def _endpoint(url: str) -> str:
    """Hugging Face files may come from the mirror named in HF_ENDPOINT, as its own tools have it."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return url.replace("https://huggingface.co", mirror, 1) if mirror else url


def _gave_up(name: str, failures: list[tuple[str, MirrorFailed]]) -> CheckFailed | RunFailed:
    problems = tuple(Problem(f"`{url}` {failure}") for url, failure in failures)
    if any(isinstance(failure, Mismatch) for _, failure in failures):
        return CheckFailed(
            f"`{name}` as downloaded is not the published file",
            hint="add `--no-verify` to use it all the same, or give a folder with `--source`",
            problems=problems,
        )
    error = RunFailed(
        f"`{name}` cannot be downloaded", hint="fetch it by hand and give its folder with `--source`"
    )
    error.problems = problems
    return error


@contextmanager
def _locked(target: Path, report: Report) -> Iterator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(Progress(f"waiting for another download of {target.name}"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
