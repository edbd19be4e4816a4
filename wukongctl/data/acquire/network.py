"""What servers and networks say, in words a person can act on; and how Hugging Face is asked."""

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
    401: "needs a login",
    403: "forbids access (a login or accepted terms may be needed)",
    404: "does not have the file",
    407: "is behind a proxy that wants a login",
    410: "no longer has the file",
    451: "may not give the file for legal reasons",
}


def client() -> httpx.Client:
    """One that follows redirects and asks for files as they are; UsageError for proxies it cannot use."""
    try:
        return httpx.Client(
            timeout=TIMEOUT,
            follow_redirects=True,
            headers={"User-Agent": f"wukongctl/{wukongctl.__version__}", "Accept-Encoding": "identity"},
        )
    except (httpx.InvalidURL, ImportError, ValueError) as error:
        raise UsageError(
            f"the proxy in the environment cannot be used: {first_line(error)}",
            hint="correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, such as http://proxy.example.org:3128",
        ) from None
    except OSError as error:
        raise RunFailed(
            f"certificates cannot be loaded: {first_line(error)}", hint="correct SSL_CERT_FILE"
        ) from None


def endpoint(url: str) -> str:
    """Hugging Face files may come from the mirror named in HF_ENDPOINT, as its own tools have it."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return mirror + url.removeprefix(HUGGING_FACE) if mirror and is_hugging_face(url) else url


def is_hugging_face(url: str) -> bool:
    """Whether `url` is a file of the Hugging Face hub, as recipes name it."""
    return url.startswith(f"{HUGGING_FACE}/")


def authorization(url: str) -> dict[str, str]:
    """The user's token for a Hugging Face `url`, from where its own tools keep it; for no other server."""
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
    """Why an answer `code` to a request for `url` ends the attempt."""
    if code in (401, 403) and is_hugging_face(url):
        page = url.partition("/resolve/")[0]
        return f"needs a login: accept the terms at {page} and set HF_TOKEN"
    return MEANING.get(code, f"answers {code} {phrase}".strip())


def retry_after(response: httpx.Response) -> float | None:
    """Seconds the server asks us to wait: a number or a date; None when it says nothing sensible."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def certificate_problem(error: Exception) -> str | None:
    """What is wrong with the server's certificate, if that is what `error` is about."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or "it does not verify"
    return None


def reason(error: Exception, url: str) -> str:
    """A failed request in the words of this module."""
    if certificate := certificate_problem(error):
        return f"has a certificate that cannot be trusted: {certificate}"
    if isinstance(error, httpx.ProxyError):
        return f"cannot be reached through the proxy {_proxy(url)}: {first_line(error)}"
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return _unreachable(error, url)
    if isinstance(error, httpx.TooManyRedirects):
        return "redirects in circles"
    return first_line(error).lower()


def _unreachable(error: httpx.ConnectError, url: str) -> str:
    if proxy := _proxy(url):
        return f"cannot be reached through the proxy {proxy} (unset it, or name the host in NO_PROXY)"
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "cannot be reached: its name is not known (is this machine offline?)"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "cannot be reached: it refuses connections (is this machine offline?)"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "cannot be reached: no encrypted connection comes about (is a proxy in between?)"
    return "cannot be reached (is this machine offline?)"


def _proxy(url: str) -> str | None:
    """The proxy that requests for `url` go through, without its password."""
    target = httpx.URL(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(target.host):
        return None
    return re.sub(r"//[^/@]*@", "//", proxy)


def first_line(error: BaseException) -> str:
    """The first line of what `error` says, without a full stop."""
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
