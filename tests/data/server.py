"""A loopback HTTP server that misbehaves on request, one behaviour per request and then none."""

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
class Behaviour:
    """How one answer differs from a good one."""

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
    """The file changes to this after the answer."""
    ignore_if_range: bool = False
    claim: int = 0
    """Bytes by which the announced length exceeds the true one."""
    path: str | None = None
    """Only the answer to a request for this path; others pass it by."""
    trickle: float | None = None
    """Seconds between bytes."""
    stall_after: int | None = None
    """Bytes of the body after which nothing more comes, on an open connection."""


class Server(ThreadingHTTPServer):
    """Serves the same `content` under every path, but for those that end in a name of `files`."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.etag: str | None = f'"{hashlib.md5(content).hexdigest()}"'
        self.files: dict[str, bytes] = {}
        self.script: deque[Behaviour] = deque()
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
        behaviour = self._next()
        name = urlsplit(self.path).path.rpartition("/")[2]
        content = bytearray(self.server.files.get(name, self.server.content))
        if behaviour.corrupt is not None:
            content[behaviour.corrupt] ^= 0xFF
        start = self._start(behaviour)
        status = behaviour.status or (206 if start else 200)
        if status not in (200, 206):
            self._answer(status, {"Content-Length": "0", **behaviour.headers})
            return
        if start >= len(content):
            self._answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        length = len(content) - start + behaviour.claim
        headers = {} if behaviour.no_length else {"Content-Length": str(length)}
        if self.server.etag:
            headers["ETag"] = self.server.etag
        if start:
            shown = start + 1 if behaviour.wrong_range else start
            size = len(content) + behaviour.claim
            headers["Content-Range"] = f"bytes {shown}-{size - 1}/{size}"
        self._answer(status, headers | behaviour.headers)
        body = bytes(content[start:])
        if behaviour.stall_after is not None:
            self.wfile.write(body[: behaviour.stall_after])
            self.server.released.wait(30)
            self.close_connection = True
            return
        if behaviour.trickle is not None:
            self._slowly(body, 1, behaviour.trickle)
            self.close_connection = True
            return
        self._slowly(body[: behaviour.drop_after], PIECE, self.server.pause)
        if behaviour.then_replace is not None:
            self.server.replace(behaviour.then_replace)
        if behaviour.drop_after is not None or behaviour.no_length or behaviour.claim:
            self.close_connection = True

    def _next(self) -> Behaviour:
        script = self.server.script
        if script and script[0].path in (None, self.path):
            return script.popleft()
        return Behaviour()

    def _slowly(self, body: bytes, piece: int, pause: float) -> None:
        """Write `body` in pieces, with pauses between them, until the server shuts down."""
        if not pause:
            self.wfile.write(body)
            return
        for start in range(0, len(body), piece):
            self.wfile.write(body[start : start + piece])
            if self.server.released.wait(pause):
                break

    def _start(self, behaviour: Behaviour) -> int:
        asked = self.headers.get("Range")
        condition = None if behaviour.ignore_if_range else self.headers.get("If-Range")
        if asked is None or behaviour.ignore_range or (condition and condition != self.server.etag):
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
