"""A dataset folder is complete or absent: it is built beside its target and swapped in by renames.

    data/frappe            what readers see
    data/.frappe.work      being built; after an interruption, the next `prepare` resumes it
    data/.frappe.old       the previous dataset, for the moment between two renames
    data/.frappe.trash-…   being deleted
    data/.frappe.lock      held by the one process that prepares

After a kill between the two renames the target is absent and `.old` is complete: `recover` puts it back.
Nothing is deleted under a name that `recover` would restore.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wukongctl.data.atomic import sync, sync_tree
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.errors import Interrupted, cannot_write
from wukongctl.signals import interruptible

WAITING = "waiting for another"
"""First words of the stage reported while another process holds the lock."""


@contextmanager
def locked(target: Path, report: ReportProgress = silent) -> Iterator[None]:
    """Hold the lock of the dataset, waiting if necessary; leftovers are cleared on entry."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_hidden(target, "lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress(f"{WAITING} `wukongctl prepare {target.name}`"))
            lock.acquire()
    except OSError as error:
        raise cannot_write(target.parent, error) from None
    try:
        _restore(target)
        prefix = _hidden(target, "trash-").name
        for path in [path for path in target.parent.iterdir() if path.name.startswith(prefix)]:
            shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        lock.release()


def recover(target: Path) -> None:
    """Put back a dataset that a kill left under its `.old` name; does nothing while `prepare` runs."""
    if not _hidden(target, "old").is_dir():
        return
    try:
        with FileLock(_hidden(target, "lock"), timeout=5):
            _restore(target)
    except Timeout:
        return
    except OSError as error:
        raise cannot_write(target.parent, error) from None


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """The work folder beside `target`, kept after an interruption so that a resumed run finds its stages."""
    folder = _hidden(target, "work")
    folder.mkdir(exist_ok=True)
    try:
        with interruptible(target.name):
            yield folder
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path) -> None:
    """Make `folder` the dataset at `target`, replacing the one there; requires the lock."""
    sync_tree(folder)
    if target.exists():
        target.rename(_hidden(target, "old"))
    folder.rename(target)
    sync(target.parent)
    _discard_old(target)


def _restore(target: Path) -> None:
    old = _hidden(target, "old")
    if old.is_dir() and not target.exists():
        old.rename(target)
    _discard_old(target)


def _discard_old(target: Path) -> None:
    """Delete `.old` under another name, so that half of it is never taken for a dataset."""
    old = _hidden(target, "old")
    if not old.is_dir():
        return
    trash = _hidden(target, f"trash-{secrets.token_hex(4)}")
    trash.mkdir()
    old.rename(trash / "old")
    shutil.rmtree(trash, ignore_errors=True)


def _hidden(target: Path, suffix: str) -> Path:
    return target.parent / f".{target.name}.{suffix}"
