"""Network errors in plain words, and Hugging Face authentication."""

import ssl
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path
from time import time

import httpx
import pytest

from tests.data.server import Handler, Server, serving
from wukongctl.config.dataset import Download
from wukongctl.data.acquire import network, transfer
from wukongctl.data.acquire.download import fetch
from wukongctl.errors import RunFailed, UsageError

EXPIRED = Path(__file__).with_name("expired.pem")
"""Key and certificate for localhost, valid in January 2020."""


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, token or waiting."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(b"content") as running:
        yield running


def problem(url: str, tmp_path: Path) -> str:
    """The problem with `url`."""
    with pytest.raises(RunFailed) as failure:
        fetch(Download(urls=(url,)), tmp_path / "file.bin")
    return str(failure.value.problems[0]).removeprefix(f"`{url}` ")


def test_untrusted_and_expired_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(EXPIRED)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}/file"
        assert "untrusted certificate: self-signed certificate" in problem(url, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(EXPIRED))
        assert problem(url, tmp_path).endswith("untrusted certificate: certificate has expired")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_https_to_an_http_server(server: Server, tmp_path: Path) -> None:
    assert "the TLS handshake failed" in problem(server.url().replace("http:", "https:"), tmp_path)


def test_unknown_hosts_and_refused_connections(tmp_path: Path) -> None:
    assert "unknown host" in problem("http://no-such-host.invalid/file", tmp_path)
    assert "connection refused" in problem("http://127.0.0.1:9/file", tmp_path)


def test_a_failing_proxy_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    message = problem("http://example.org/file", tmp_path)
    assert "through the proxy http://127.0.0.1:9 " in message
    assert "NO_PROXY" in message
    assert "secret" not in message


@pytest.mark.parametrize("proxy", ["foo:bar", "socks5://127.0.0.1:9"])
def test_an_invalid_proxy_is_a_usage_error(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(UsageError, match="invalid proxy in the environment") as failure:
        fetch(Download(urls=("http://example.org/file",)), tmp_path / "file.bin")
    assert "HTTPS_PROXY" in str(failure.value.hint)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("1.5", 1.5), ("nan", None), ("inf", None), ("-3", None), ("", None),
     ("soon", None), ("9" * 400, None), ("Mon, 99 Jan 2024 00:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert network.retry_after(httpx.Response(503, headers={"Retry-After": value})) == seconds


def test_retry_after_a_date() -> None:
    for zone in (True, False):
        date = formatdate(time() + 40, usegmt=zone)
        waited = network.retry_after(httpx.Response(503, headers={"Retry-After": date}))
        assert waited == pytest.approx(40, abs=2)


def test_only_hugging_face_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = "https://huggingface.co/datasets/a/b/resolve/main/c.zip"
    assert network.authorization(gated) == {}
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("from-file\n")
    assert network.authorization(gated) == {"Authorization": "Bearer from-file"}
    monkeypatch.setenv("HF_TOKEN", "from-env")
    assert network.authorization(gated) == {"Authorization": "Bearer from-env"}
    for other in ("https://huggingface.co.example.org/x", "https://example.org/https://huggingface.co/"):
        assert network.authorization(other) == {}
    assert "accept the terms at https://huggingface.co/datasets/a/b and" in network.refusal(403, "", gated)


def test_the_token_goes_to_the_mirror_but_not_to_its_redirects(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.data.server import Behavior

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
    with serving(b"content") as storage:
        server.script.append(Behavior(status=302, headers={"Location": storage.url("blob")}))
        url = "https://huggingface.co/datasets/a/b/resolve/main/c.zip"
        assert fetch(Download(urls=(url,)), tmp_path / "file.bin").read_bytes() == b"content"
        assert server.requests[0][1]["authorization"] == "Bearer secret"
        assert "authorization" not in storage.requests[0][1]
