"""One file from one mirror: resumed and retried until it is complete or the mirror is given up.

A partial download is resumed if the server confirms that the file has not changed or, given a published
checksum, from any mirror: if the checksum then does not match, the file is downloaded once more from the
start.
"""

import json
import os
import random
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from wukongctl.config.dataset import Download
from wukongctl.data.acquire import network
from wukongctl.data.acquire.digests import Digests
from wukongctl.data.acquire.extract import require_space
from wukongctl.data.atomic import write_atomic
from wukongctl.data.progress import Progress, ReportProgress

ATTEMPTS = 5
"""Consecutive failures without progress before a mirror is given up."""
CONNECT_ATTEMPTS = 2
"""The same without a connection: most likely there is no network."""
BACKOFF, MAX_WAIT = 1.0, 60.0
"""Seconds before the first retry, doubled each time, and the longest wait."""
SLOW_SECONDS, SLOW_BYTES = 60.0, 60 * 1024
"""A connection that brings fewer bytes in this time is stalled."""
CHUNK = 1 << 20
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class MirrorFailed(Exception):
    """Why this mirror cannot provide the file."""


class FileMismatch(MirrorFailed):
    """The downloaded file is not the published one."""


class Retry(Exception):
    """A temporary failure; `wait` is the delay the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Stalled(Retry):
    """The connection is too slow to count as progress."""


class Version(NamedTuple):
    """The version of the file that a partial download belongs to."""

    url: str
    validator: str | None
    """A strong ETag or Last-Modified; None if the server sends neither."""
    total: int | None


class Transfer:
    """The download of one file from one mirror."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        download: Download,
        target: Path,
        *,
        verify: bool,
        report: ReportProgress,
    ) -> None:
        self.client, self.download, self.target = client, download, target
        self.recipe_url, self.url = url, network.endpoint(url)
        self.verify, self.report = verify, report
        self.has_checksum = verify and (download.md5 is not None or download.sha256 is not None)
        self.part = target.with_name(f"{target.name}.part")
        self.metadata = target.with_name(f"{target.name}.part.json")
        self.received = Digests(with_md5=download.md5 is not None)
        self.furthest = 0
        """Largest size that any attempt has reached."""
        self.supports_ranges = True
        """False once the server answered a range request with anything else."""
        self.restarted = False
        """Whether a resumed download has been discarded for its checksum."""

    def run(self) -> None:
        """Retry as long as attempts get further than those before them."""
        failures, self.furthest = 0, self._size()
        while True:
            try:
                self._attempt()
            except (httpx.RequestError, httpx.InvalidURL, Retry) as error:
                progress = self._size() > self.furthest and not isinstance(error, Stalled)
                self.furthest = max(self.furthest, self._size())
                failures = 0 if progress else failures + 1
                self._give_up_after(failures, error)
                _pause(error, failures)
            else:
                return

    def _give_up_after(self, failures: int, error: Exception) -> None:
        """MirrorFailed after too many failures, or one that a retry cannot fix."""
        if isinstance(error, Retry):
            reason, attempts = str(error), ATTEMPTS
        else:
            reason = network.reason(error, self.url)
            attempts = CONNECT_ATTEMPTS if isinstance(error, httpx.ConnectError) else ATTEMPTS
            if not isinstance(error, httpx.TransportError) or network.certificate_problem(error):
                attempts = 0  # certificates, addresses and redirects do not change
        if failures >= attempts:
            raise MirrorFailed(reason) from None

    def _attempt(self) -> None:
        """One request; returns once the file is complete, verified and in place."""
        known = self._known()
        start = self._size() if known is not None else 0
        if known is not None and start == known.total:  # killed between the last byte and the rename
            self._hash_existing(start)
            self._finish(start, resumed=True)
            return
        headers = network.authorization(self.recipe_url) | _range(known, start, self.url)
        with self.client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise self._restart("the partial download is longer than the file")
            self._require_file(response)
            if response.status_code == httpx.codes.OK:
                start = 0
            elif not _continues(response, start, known, self.url):
                raise self._restart("returned another byte range than requested")
            self._receive(response, start)

    def _known(self) -> Version | None:
        """The version of the partial download, if it can be resumed from this mirror."""
        try:
            known = Version(**json.loads(self.metadata.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        same = known.url == self.url and known.validator is not None
        return (
            known
            if self._size() and self.supports_ranges and (same or (self.has_checksum and not self.restarted))
            else None
        )

    def _restart(self, reason: str) -> Retry:
        """Discard the partial download; the next attempt requests the whole file."""
        self.supports_ranges = False
        self._discard()
        return Retry(reason)

    def _require_file(self, response: httpx.Response) -> None:
        code = response.status_code
        if code in RETRY_STATUS:
            raise Retry(
                f"answered {code} {response.reason_phrase}".strip(), wait=network.retry_after(response)
            )
        if code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise MirrorFailed(network.refusal(code, response.reason_phrase, self.recipe_url))
        if response.headers.get("content-type", "").startswith("text/html"):
            raise MirrorFailed("returned a web page instead of the file (you may have to log in)")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity" and self.target.suffix not in (".gz", ".tgz"):
            raise MirrorFailed(f"returned the file encoded as {encoding}, although asked not to")

    def _receive(self, response: httpx.Response, start: int) -> None:
        total = self._total(response, start)
        require_space(
            self.part.parent,
            (total or 0) - start,
            hint="free some space, or set WUKONGCTL_CACHE to download to another folder",
        )
        self._hash_existing(start)
        if not start:
            # In this order: metadata must never describe a part of another version.
            self._discard()
            version = Version(self.url, _validator(response), total)
            write_atomic(self.metadata, lambda file: file.write(json.dumps(version._asdict()).encode()))
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            speed = _SpeedCheck()
            for chunk in response.iter_raw():
                file.write(chunk)
                self.received.update(chunk)
                self.report(Progress(f"downloading {self.target.name}", self.received.size, total, "bytes"))
                speed.require(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        self._finish(total, resumed=start > 0)

    def _total(self, response: httpx.Response, start: int) -> int | None:
        """Size of the whole file; MirrorFailed if it differs from the published one or cannot be known."""
        total, published = _announced(response, start), self.download.bytes if self.verify else None
        if total is not None and published not in (None, total):
            raise FileMismatch(f"size is {total}, expected {published}")
        total = total if total is not None else published
        chunked = "chunked" in response.headers.get("transfer-encoding", "")
        if total is None and self.verify and not self.has_checksum and not chunked:
            raise MirrorFailed("does not report the file size, so a truncated download would go unnoticed")
        return total

    def _hash_existing(self, start: int) -> None:
        """Digest the first `start` bytes of the partial download, unless that is done."""
        if self.received.size == start:
            return
        self.received = Digests(with_md5=self.download.md5 is not None)
        with self.part.open("rb") as file:
            while self.received.size < start and (chunk := file.read(min(CHUNK, start - self.received.size))):
                self.received.update(chunk)

    def _finish(self, total: int | None, *, resumed: bool) -> None:
        size = self.received.size
        if total is not None and size != total:
            raise Retry(f"the connection closed after {size:,} of {total:,} bytes")
        if not size:
            raise MirrorFailed("returned an empty file")
        differences = self.received.differences(self.download) if self.verify else []
        if differences and resumed and not self.restarted:
            self.restarted, self.furthest = True, 0
            self._discard()
            raise Retry("the resumed download is not the published file")
        if differences:
            self._discard()
            raise FileMismatch("; ".join(differences))
        self.part.replace(self.target)
        self.metadata.unlink(missing_ok=True)

    def _discard(self) -> None:
        self.metadata.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.received = Digests(with_md5=self.download.md5 is not None)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


class _SpeedCheck:
    """Raises Stalled when fewer than SLOW_BYTES arrive in SLOW_SECONDS."""

    def __init__(self) -> None:
        self.since, self.bytes = time.monotonic(), 0

    def require(self, arrived: int) -> None:
        self.bytes += arrived
        elapsed = time.monotonic() - self.since
        if elapsed < SLOW_SECONDS:
            return
        if self.bytes < SLOW_BYTES:
            raise Stalled(f"sends only {self.bytes / elapsed:,.0f} bytes per second")
        self.since, self.bytes = time.monotonic(), 0


def _range(known: Version | None, start: int, url: str) -> dict[str, str]:
    """Headers that request the rest of the file, with If-Range if its version is from this server."""
    if known is None:
        return {}
    own = {"If-Range": known.validator} if known.validator and known.url == url else {}
    return {"Range": f"bytes={start}-", **own}


def _continues(response: httpx.Response, start: int, known: Version | None, url: str) -> bool:
    """Whether a 206 continues the known version from `start`; some servers ignore If-Range."""
    total = _announced(response, start)
    if not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        return False
    if known is None:
        return True
    if None not in (known.total, total) and known.total != total:
        return False
    return known.url != url or _validator(response) in (None, known.validator)


def _validator(response: httpx.Response) -> str | None:
    etag = response.headers.get("etag", "")
    # A weak ETag promises equivalent content, not equal bytes (RFC 9110, 13.1.5).
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")


def _announced(response: httpx.Response, start: int) -> int | None:
    """Size of the whole file, from Content-Range or Content-Length."""
    total = response.headers.get("content-range", "").rpartition("/")[2]
    if total.isdigit():
        return int(total)
    length = response.headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None


def _pause(error: Exception, failures: int) -> None:
    wait = error.wait if isinstance(error, Retry) else None
    if wait is None:
        wait = BACKOFF * 2 ** max(failures - 1, 0) * random.uniform(0.75, 1.25)
    time.sleep(min(max(wait, 0.0), MAX_WAIT))
