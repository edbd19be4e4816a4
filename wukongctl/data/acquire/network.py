"""The HTTP client, network errors in plain words, and Hugging Face authentication."""

import os
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

import wukongctl
from wukongctl.errors import RunFailed, UsageError

TIMEOUT = httpx.Timeout(30.0, connect=15.0)
HUGGING_FACE = "https://huggingface.co"
MEANING = {
    401: "requires a login",
    403: "forbids access (you may have to log in or accept terms)",
    404: "does not have the file",
    407: "is behind a proxy that requires a login",
    410: "no longer has the file",
    451: "withholds the file for legal reasons",
}


def client() -> httpx.Client:
    """A client that follows redirects and requests files unencoded; UsageError for an invalid proxy."""
    try:
        return httpx.Client(
            timeout=TIMEOUT,
            follow_redirects=True,
            headers={"User-Agent": f"wukongctl/{wukongctl.__version__}", "Accept-Encoding": "identity"},
        )
    except (httpx.InvalidURL, ImportError, ValueError) as error:
        raise UsageError(
            f"invalid proxy in the environment: {first_line(error)}",
            hint="fix HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; a valid value is `http://proxy.example.org:3128`",
        ) from None
    except OSError as error:
        raise RunFailed(
            f"certificates cannot be loaded: {first_line(error)}", hint="fix SSL_CERT_FILE"
        ) from None


def endpoint(url: str) -> str:
    """`url`, or its copy on the Hugging Face mirror in HF_ENDPOINT."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return mirror + url.removeprefix(HUGGING_FACE) if mirror and is_hugging_face(url) else url


def is_hugging_face(url: str) -> bool:
    """Whether `url` is on the Hugging Face hub."""
    return url.startswith(f"{HUGGING_FACE}/")


def authorization(url: str) -> dict[str, str]:
    """Headers with the user's Hugging Face token; empty for any other server."""
    token = _hugging_face_token() if is_hugging_face(url) else None
    return {"Authorization": f"Bearer {token}"} if token else {}


def _hugging_face_token() -> str | None:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def refusal(code: int, phrase: str, url: str) -> str:
    """The HTTP status `code` of `url` in words."""
    if code in (401, 403) and is_hugging_face(url):
        return f"requires a login: accept the terms at {url.partition('/resolve/')[0]} and set HF_TOKEN"
    return MEANING.get(code, f"answered {code} {phrase}".strip())


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait according to Retry-After, a number or a date; None if absent or invalid."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def certificate_problem(error: Exception) -> str | None:
    """What is wrong with the server's certificate; None for other errors."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or "verification failed"
    return None


def reason(error: Exception, url: str) -> str:
    """Why the request for `url` failed."""
    if certificate := certificate_problem(error):
        return f"has an untrusted certificate: {certificate}"
    if isinstance(error, httpx.ProxyError):
        return f"cannot be reached through the proxy {_proxy(url)}: {first_line(error)}"
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ConnectError):
        return _unreachable(error, url)
    if isinstance(error, httpx.TooManyRedirects):
        return "redirects in a loop"
    return first_line(error).lower()


def _unreachable(error: httpx.ConnectError, url: str) -> str:
    if proxy := _proxy(url):
        return f"cannot be reached through the proxy {proxy} (unset it, or add the host to NO_PROXY)"
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "cannot be reached: unknown host (are you offline?)"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "cannot be reached: connection refused (are you offline?)"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "cannot be reached: the TLS handshake failed (is there a proxy in between?)"
    return "cannot be reached (are you offline?)"


def _proxy(url: str) -> str | None:
    """The proxy for `url`, without its password."""
    target = httpx.URL(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(target.host):
        return None
    return re.sub(r"//[^/@]*@", "//", proxy)


def first_line(error: BaseException) -> str:
    """First line of the message of `error`, without a full stop."""
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
