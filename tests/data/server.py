"""A local HTTP server that misbehaves as scripted, one behavior per request."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PIECE = 1 << 16
"""Bytes that a server with a `pause` sends at once."""


@dataclass
class Behavior:
    """How a response differs from a good one."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    """Bytes of the body after which the connection is closed, Content-Length notwithstanding."""
    ignore_range: bool = False
    wrong_range: bool = False
    corrupt: int | None = None
    """Position, in the file, of a byte to flip."""
    no_length: bool = False
    then_replace: bytes | None = None
    """The content after this response."""
    ignore_if_range: bool = False
    claim: int = 0
    """Bytes by which the announced length exceeds the true one."""
    path: str | None = None
    """The path that it applies to; None for any."""
    trickle: float | None = None
    """Seconds between bytes."""
    stall_after: int | None = None
    """Bytes of the body after which the open connection sends nothing."""


class Server(ThreadingHTTPServer):
    """Serves `content` under every path, except for names in `files`."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.etag: str | None = f'"{hashlib.md5(content).hexdigest()}"'
        self.files: dict[str, bytes] = {}
        self.script: deque[Behavior] = deque()
        self.pause = 0.0
        """Seconds between pieces of PIECE bytes, for clients that are to be met half-way."""
        self.released = threading.Event()
        self.requests: list[tuple[str, dict[str, str]]] = []

    def url(self, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def replace(self, content: bytes) -> None:
        """Another version of the file, with another ETag."""
        self.content = content
        self.etag = f'"{hashlib.md5(content).hexdigest()}"'

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        behavior = self._next()
        name = urlsplit(self.path).path.rpartition("/")[2]
        content = bytearray(self.server.files.get(name, self.server.content))
        if behavior.corrupt is not None:
            content[behavior.corrupt] ^= 0xFF
        start = self._start(behavior)
        status = behavior.status or (206 if start else 200)
        if status not in (200, 206):
            self._answer(status, {"Content-Length": "0", **behavior.headers})
            return
        if start >= len(content):
            self._answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        length = len(content) - start + behavior.claim
        headers = {} if behavior.no_length else {"Content-Length": str(length)}
        if self.server.etag:
            headers["ETag"] = self.server.etag
        if start:
            shown = start + 1 if behavior.wrong_range else start
            size = len(content) + behavior.claim
            headers["Content-Range"] = f"bytes {shown}-{size - 1}/{size}"
        self._answer(status, headers | behavior.headers)
        body = bytes(content[start:])
        if behavior.stall_after is not None:
            self.wfile.write(body[: behavior.stall_after])
            self.server.released.wait(30)
            self.close_connection = True
            return
        if behavior.trickle is not None:
            self._slowly(body, 1, behavior.trickle)
            self.close_connection = True
            return
        self._slowly(body[: behavior.drop_after], PIECE, self.server.pause)
        if behavior.then_replace is not None:
            self.server.replace(behavior.then_replace)
        if behavior.drop_after is not None or behavior.no_length or behavior.claim:
            self.close_connection = True

    def _next(self) -> Behavior:
        script = self.server.script
        if script and script[0].path in (None, self.path):
            return script.popleft()
        return Behavior()

    def _slowly(self, body: bytes, piece: int, pause: float) -> None:
        """Write `body` in pieces, with pauses between them, until the server shuts down."""
        if not pause:
            self.wfile.write(body)
            return
        for start in range(0, len(body), piece):
            self.wfile.write(body[start : start + piece])
            if self.server.released.wait(pause):
                break

    def _start(self, behavior: Behavior) -> int:
        asked = self.headers.get("Range")
        condition = None if behavior.ignore_if_range else self.headers.get("If-Range")
        if asked is None or behavior.ignore_range or (condition and condition != self.server.etag):
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
