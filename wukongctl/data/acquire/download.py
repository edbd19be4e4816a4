"""One file from its mirrors: verified before it gets its final name.

<name>.part        the partial download
<name>.part.json   its URL, ETag or Last-Modified, and full size
.<name>.lock       held by the one process that downloads
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wukongctl.config.dataset import Download
from wukongctl.data.acquire import network
from wukongctl.data.acquire.transfer import FileMismatch, MirrorFailed, Transfer
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.errors import CheckFailed, Problem, RunFailed


def fetch(
    download: Download,
    target: Path,
    *,
    verify: bool = True,
    refresh: bool = False,
    report: ReportProgress = silent,
) -> Path:
    """Download to `target`, trying the mirrors in turn; an existing file is kept.

    With `refresh` it is downloaded again and replaced once the new file is complete.

    Raises CheckFailed when the downloaded file is not the published one, RunFailed when no mirror has it or
    the disk is full.
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
    raise _failed(download, target, failures)


def _failed(
    download: Download, target: Path, failures: list[tuple[str, MirrorFailed]]
) -> CheckFailed | RunFailed:
    problems = tuple(Problem(f"`{url}` {failure}") for url, failure in failures)
    if any(isinstance(failure, FileMismatch) for _, failure in failures):
        return CheckFailed(
            f"the downloaded `{target.name}` is not the published file",
            hint="use it anyway with `--no-verify`, or give your own copy with `--source`",
            problems=problems,
        )
    described = download.described()
    error = RunFailed(
        f"`{target.name}` cannot be downloaded",
        hint=f"download `{target.name}`{f' ({described})' if described else ''} by hand into "
        f"`{target.parent}`, or into a folder given with `--source`",
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
            hint="the partial download is kept; set WUKONGCTL_CACHE to download to another folder",
        ) from None


@contextmanager
def _locked(target: Path, report: ReportProgress) -> Iterator[None]:
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
