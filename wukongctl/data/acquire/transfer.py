"""One mirror of one file: asked, resumed where it broke, and asked again until whole or given up.

A part is continued where the server confirms that it is still the same version; or, where the recipe
publishes a checksum, from any mirror: should the pieces not fit, the checksum tells, and the file is fetched
once more from its start.
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
from wukongctl.data.progress import Progress, Report

ATTEMPTS = 5
"""Failures in a row, without a byte of progress, before a mirror is given up."""
CONNECT_ATTEMPTS = 2
"""The same where no connection comes about: most likely there is no network."""
BACKOFF, MAX_WAIT = 1.0, 60.0
"""Seconds before the first retry, doubled each time, and the longest wait a server may ask for."""
SLOW_SECONDS, SLOW_BYTES = 60.0, 60 * 1024
"""Less than so many bytes in so many seconds is a stalled connection, however often a byte trickles in."""
CHUNK = 1 << 20
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class MirrorFailed(Exception):
    """Why this mirror cannot give the file."""


class FileMismatch(MirrorFailed):
    """The whole file arrived and is not the published one."""


class Again(Exception):
    """A passing failure; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Stalled(Again):
    """Bytes still come, but too few to count as progress."""


class Version(NamedTuple):
    """Which content of which URL a part belongs to."""

    url: str
    validator: str | None
    """A strong ETag, or Last-Modified; None where the server gives neither."""
    total: int | None


class Transfer:
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
        self.client, self.download, self.target = client, download, target
        self.named, self.url = url, network.endpoint(url)
        self.verify, self.report = verify, report
        self.checked = verify and (download.md5 is not None or download.sha256 is not None)
        self.part = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")
        self.received = Digests()
        self.furthest = 0
        """Most bytes that any attempt has reached."""
        self.ranges = True
        """Until this server has answered a request for the rest of the file with something else."""
        self.restarted = False
        """Whether pieces that did not fit have been thrown away once."""

    def run(self) -> None:
        """Attempts in a row, as long as each brings more of the file than any before it."""
        failures, self.furthest = 0, self._size()
        while True:
            try:
                self._attempt()
            except (httpx.RequestError, httpx.InvalidURL, Again) as error:
                progress = self._size() > self.furthest and not isinstance(error, Stalled)
                self.furthest = max(self.furthest, self._size())
                failures = 0 if progress else failures + 1
                self._give_up_after(failures, error)
                _pause(error, failures)
            else:
                return

    def _give_up_after(self, failures: int, error: Exception) -> None:
        """MirrorFailed if another attempt is pointless."""
        if isinstance(error, Again):
            reason, attempts = str(error), ATTEMPTS
        else:
            reason = network.reason(error, self.url)
            attempts = CONNECT_ATTEMPTS if isinstance(error, httpx.ConnectError) else ATTEMPTS
            if not isinstance(error, httpx.TransportError) or network.certificate_problem(error):
                attempts = 0  # a certificate, an address or a circle of redirects stays as it is
        if failures >= attempts:
            raise MirrorFailed(reason) from None

    def _attempt(self) -> None:
        """One request; returns when the file is whole, verified and in place."""
        known = self._known()
        start = self._size() if known is not None else 0
        if known is not None and start == known.total:  # a kill fell between the last byte and the new name
            self._already(start)
            self._finish(start, resumed=True)
            return
        headers = network.authorization(self.named) | _range(known, start, self.url)
        with self.client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise self._over("the part already fetched is not part of the file")
            self._require_file(response)
            if response.status_code == httpx.codes.OK:
                start = 0
            elif not _continues(response, start, known, self.url):
                raise self._over("answers with another part than the one asked for")
            self._receive(response, start)

    def _known(self) -> Version | None:
        """The version of the part that is here, if it may be continued from this mirror."""
        try:
            known = Version(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        same = known.url == self.url and known.validator is not None
        return (
            known
            if self._size() and self.ranges and (same or (self.checked and not self.restarted))
            else None
        )

    def _over(self, reason: str) -> Again:
        """Forget the part and what this server makes of ranges: the next attempt asks for everything."""
        self.ranges = False
        self._forget()
        return Again(reason)

    def _require_file(self, response: httpx.Response) -> None:
        code = response.status_code
        if code in RETRIED:
            raise Again(
                f"answers {code} {response.reason_phrase}".strip(), wait=network.retry_after(response)
            )
        if code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise MirrorFailed(network.refusal(code, response.reason_phrase, self.named))
        if response.headers.get("content-type", "").startswith("text/html"):
            raise MirrorFailed("gives a web page instead of the file (a login may be needed)")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity" and self.target.suffix not in (".gz", ".tgz"):
            raise MirrorFailed(f"gives the file encoded as {encoding}, although asked not to")

    def _receive(self, response: httpx.Response, start: int) -> None:
        total = self._total(response, start)
        require_space(
            self.part.parent,
            (total or 0) - start,
            hint="free some space, or let WUKONGCTL_CACHE name another folder for downloads",
        )
        self._already(start)
        if not start:
            # In this order: a note must never stand beside a part of another version.
            self._forget()
            version = Version(self.url, _validator(response), total)
            write_atomic(self.note, lambda file: file.write(json.dumps(version._asdict()).encode()))
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            pace = _Pace()
            for chunk in response.iter_raw():
                file.write(chunk)
                self.received.update(chunk)
                self.report(Progress(f"downloading {self.target.name}", self.received.size, total, "bytes"))
                pace.require(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        self._finish(total, resumed=start > 0)

    def _total(self, response: httpx.Response, start: int) -> int | None:
        """Size of the whole file; MirrorFailed if it is not the published one, or cannot be known at all."""
        total, published = _announced(response, start), self.download.bytes if self.verify else None
        if total is not None and published not in (None, total):
            raise FileMismatch(f"bytes is {total}, expected {published}")
        total = total if total is not None else published
        chunked = "chunked" in response.headers.get("transfer-encoding", "")
        if total is None and self.verify and not self.checked and not chunked:
            raise MirrorFailed("does not say how long the file is, so that a cut one would look whole")
        return total

    def _already(self, start: int) -> None:
        """Digests of the first `start` bytes: as they are, or read again from what another process left."""
        if self.received.size == start:
            return
        self.received = Digests()
        with self.part.open("rb") as file:
            while self.received.size < start and (chunk := file.read(min(CHUNK, start - self.received.size))):
                self.received.update(chunk)

    def _finish(self, total: int | None, *, resumed: bool) -> None:
        size = self.received.size
        if total is not None and size != total:
            raise Again(f"the connection ended after {size:,} of {total:,} bytes")
        if not size:
            raise MirrorFailed("gives an empty file")
        differences = self.received.differences(self.download) if self.verify else []
        if differences and resumed and not self.restarted:
            self.restarted, self.furthest = True, 0
            self._forget()
            raise Again("the pieces do not make up the published file")
        if differences:
            self._forget()
            raise FileMismatch("; ".join(differences))
        self.part.replace(self.target)
        self.note.unlink(missing_ok=True)

    def _forget(self) -> None:
        self.note.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.received = Digests()

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


class _Pace:
    """Raises Stalled when a window of time brought next to nothing."""

    def __init__(self) -> None:
        self.since, self.bytes = time.monotonic(), 0

    def require(self, arrived: int) -> None:
        self.bytes += arrived
        elapsed = time.monotonic() - self.since
        if elapsed < SLOW_SECONDS:
            return
        if self.bytes < SLOW_BYTES:
            raise Stalled(f"gives no more than {self.bytes / elapsed:,.0f} bytes a second")
        self.since, self.bytes = time.monotonic(), 0


def _range(known: Version | None, start: int, url: str) -> dict[str, str]:
    """Headers that ask for the rest: of the same version where it is this server's, else of the file."""
    if known is None:
        return {}
    own = {"If-Range": known.validator} if known.validator and known.url == url else {}
    return {"Range": f"bytes={start}-", **own}


def _continues(response: httpx.Response, start: int, known: Version | None, url: str) -> bool:
    """Whether a 206 is the rest of the known version from `start`. Some servers do not heed If-Range."""
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
    # A weak ETag names equivalent content, not equal bytes: it may not be resumed on (RFC 9110, 13.1.5).
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")


def _announced(response: httpx.Response, start: int) -> int | None:
    """Size of the whole file, from Content-Range or Content-Length."""
    total = response.headers.get("content-range", "").rpartition("/")[2]
    if total.isdigit():
        return int(total)
    length = response.headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None


def _pause(error: Exception, failures: int) -> None:
    wait = error.wait if isinstance(error, Again) else None
    if wait is None:
        wait = BACKOFF * 2 ** max(failures - 1, 0) * random.uniform(0.75, 1.25)
    time.sleep(min(max(wait, 0.0), MAX_WAIT))
