"""Files that are complete or absent."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wukongctl.errors import RunFailed, cannot_write


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by temporary file, fsync and rename: a kill leaves the old content or the new.

    Raises RunFailed when the disk is full, UsageError when the folder cannot be written.
    """
    # Not tempfile, whose files only the owner may read. The process id keeps writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not every file system can sync a folder
            sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    except RuntimeError as error:
        # torch reports a full disk as RuntimeError, and names its own source after a short write.
        full = "inline_container" in str(error)
        reason = "no space left on device" if full else str(error).splitlines()[0].lower()
        raise RunFailed(f"cannot write `{path}`: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent) / name)
        sync(Path(parent))


def sync(path: Path) -> None:
    """Flush a file or folder to disk; Windows cannot open folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
