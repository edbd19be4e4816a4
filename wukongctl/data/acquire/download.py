"""One file from one of several mirrors: verified, and only then given its name.

<name>.part        what has arrived
<name>.part.json   which version of which URL it is: its ETag or Last-Modified, and its size
.<name>.lock       one process at a time
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wukongctl.config.dataset import Download
from wukongctl.data.acquire import network
from wukongctl.data.acquire.transfer import FileMismatch, MirrorFailed, Transfer
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.errors import CheckFailed, Problem, RunFailed


def fetch(
    download: Download, target: Path, *, verify: bool = True, refresh: bool = False, report: Report = silent
) -> Path:
    """Bring `download` to `target`, trying its mirrors in turn; a file that is already there is kept.

    With `refresh` it is fetched again, and kept only until the new one is whole.

    Raises CheckFailed when what arrives is not the published file, RunFailed when no mirror gives it or the
    disk cannot hold it.
    """
    failures: list[tuple[str, MirrorFailed]] = []
    with _disk_errors(target), _locked(target, report):
        if target.is_file() and not refresh:
            return target
        report(Progress(f"downloading {target.name}", 0, download.bytes, "bytes"))
        with network.client() as client:
            for url in download.urls:
                try:
                    Transfer(client, url, download, target, verify=verify, report=report).run()
                except MirrorFailed as failure:
                    failures.append((network.endpoint(url), failure))
                else:
                    return target
    raise _gave_up(download, target, failures)


def _gave_up(
    download: Download, target: Path, failures: list[tuple[str, MirrorFailed]]
) -> CheckFailed | RunFailed:
    problems = tuple(Problem(f"`{url}` {failure}") for url, failure in failures)
    if any(isinstance(failure, FileMismatch) for _, failure in failures):
        return CheckFailed(
            f"`{target.name}` as downloaded is not the published file",
            hint="add `--no-verify` to use it all the same, or give a folder with `--source`",
            problems=problems,
        )
    described = download.described()
    error = RunFailed(
        f"`{target.name}` cannot be downloaded",
        hint=f"fetch `{target.name}`{f' ({described})' if described else ''} by hand, put it in "
        f"`{target.parent}` or in a folder of yours, and give that one with `--source`",
    )
    error.problems = problems
    return error


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFailed(
            f"cannot write `{target}`: {(error.strerror or str(error)).lower()}",
            hint="what has arrived is kept; WUKONGCTL_CACHE names another folder for downloads",
        ) from None


@contextmanager
def _locked(target: Path, report: Report) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
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
