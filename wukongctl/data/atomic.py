"""Files that are either whole or absent."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wukongctl.errors import RunFailed, cannot_write


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new: temp, fsync, rename.

    Raises RunFailed when the disk is full, UsageError when the folder cannot be written.
    """
    # Not tempfile: that makes files only the owner may read. The process number keeps writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    except RuntimeError as error:
        # torch reports a full disk as RuntimeError, and names its own source when a write comes back short.
        full = "inline_container" in str(error)
        reason = "no space left on device" if full else str(error).splitlines()[0].lower()
        raise RunFailed(f"cannot write `{path}`: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Without this a crash of the machine may forget the rename. Not every system can open a folder.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
