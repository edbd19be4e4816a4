"""Check output paths: into an existing folder, and never over an input."""

from collections.abc import Sequence
from pathlib import Path

from wukongctl.errors import UsageError


def require_writable(path: Path, option: str, inputs: Sequence[Path] = ()) -> None:
    """Raise UsageError if the folder of `path` is missing or `path` is one of `inputs`, links followed."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder `{path.parent}`", hint=f"create it, or change `{option}`")
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise UsageError(f"`{option} {path}` would overwrite an input", hint=f"change `{option}`")
