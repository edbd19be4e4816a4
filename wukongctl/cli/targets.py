"""Check output paths before the work: into an existing folder, never over an input or over what is not ours.

The rule of every command: what it made itself earlier, told by its content, is replaced; anything else only
with `--force`.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wukongctl.errors import UsageError

HEAD_BYTES = 1 << 20
TRACE = b'"schemaVersion"'
"""What is near the start of a trace of PyTorch's profiler."""

PLOT = b"wukongctl coord-check"
"""In the metadata of a plot of `coord-check`."""


def require_writable(path: Path, option: str, inputs: Sequence[Path] = ()) -> None:
    """Raise UsageError if the folder of `path` is missing or `path` is one of `inputs`, links followed."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder `{path.parent}`", hint=f"create it, or change `{option}`")
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise UsageError(f"`{option} {path}` would overwrite an input", hint=f"change `{option}`")


def require_own(path: Path, option: str, what: str, mark: bytes, *, force: bool) -> None:
    """UsageError if `path` exists without `mark` near its start, which every file `what` has."""
    if not force and os.path.lexists(path) and mark not in _head(path):
        raise UsageError(
            f"`{path}` exists and is not {what}",
            hint=f"change `{option}`, or add `--force` to replace it",
        )


def require_report_folder(folder: Path, names: Iterable[str], *, force: bool) -> None:
    """UsageError if `folder` has files of these `names` that are not those of an earlier report."""
    taken = [name for name in names if os.path.lexists(folder / name)]
    if force or not taken or _is_report(folder / "report.json"):
        return
    raise UsageError(
        f"`{folder / taken[0]}` exists and is not from an earlier report",
        hint="choose another folder with `--out`, or add `--force` to replace it",
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _is_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format_version", "curves", "convention"} <= content.keys()
