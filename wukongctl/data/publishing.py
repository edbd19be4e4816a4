"""Whole or not at all: a dataset folder is built beside its place and swapped in by renames.

    data/frappe                  what readers see
    data/.frappe.work            being built; left behind only by a kill, taken up by the next `prepare`
    data/.frappe.old             the previous dataset, for the moment between two renames
    data/.frappe.trash-…         being deleted
    data/.frappe.lock            held while one process prepares

If a kill falls between the two renames, the place is empty and `.old` is whole: `heal` puts it back.
Nothing is ever deleted under a name that `heal` would restore.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wukongctl.data.progress import Progress, Report, silent
from wukongctl.data.stages import sync, sync_tree
from wukongctl.errors import Interrupted, cannot_write
from wukongctl.signals import interruptible

WAITING = "waiting for another"
"""How the stage begins in which another process holds the lock."""


@contextmanager
def locked(target: Path, report: Report = silent) -> Iterator[None]:
    """Hold the dataset's lock, waiting for another process if need be; leftovers are cleared on entry."""
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
        for leftover in _siblings(target, "trash-"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def heal(target: Path) -> None:
    """Put back a dataset that a kill left under its `.old` name; does nothing while a `prepare` runs."""
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
    """The work folder beside `target`, with what a killed run finished; only an interruption leaves it."""
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
    """Make `folder` the dataset at `target`, replacing what is there; call while `locked`."""
    sync_tree(folder)
    old = _hidden(target, "old")
    if target.exists():
        target.rename(old)
    folder.rename(target)
    sync(target.parent)
    _discard(target)


def _restore(target: Path) -> None:
    old = _hidden(target, "old")
    if old.is_dir() and not target.exists():
        old.rename(target)
    _discard(target)


def _discard(target: Path) -> None:
    """Delete `.old`, under another name so that half of it is never taken for a dataset."""
    old = _hidden(target, "old")
    if not old.is_dir():
        return
    trash = _fresh(target, "trash")
    old.rename(trash / "old")
    shutil.rmtree(trash, ignore_errors=True)


def _hidden(target: Path, suffix: str) -> Path:
    return target.parent / f".{target.name}.{suffix}"


def _fresh(target: Path, kind: str) -> Path:
    folder = _hidden(target, f"{kind}-{secrets.token_hex(4)}")
    folder.mkdir()
    return folder


def _siblings(target: Path, kind: str) -> list[Path]:
    prefix = f".{target.name}.{kind}"
    return [path for path in target.parent.iterdir() if path.name.startswith(prefix)]
