"""Where a command may write: into a folder that is there, and never over what it reads."""

from collections.abc import Sequence
from pathlib import Path

from wukongctl.errors import UsageError


def require_writable(path: Path, option: str, inputs: Sequence[Path] = ()) -> None:
    """UsageError unless the folder of `path` exists and `path` is none of `inputs`, links followed."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder `{path.parent}`", hint=f"make it, or name another `{option}`")
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise UsageError(f"`{option} {path}` would overwrite its own input", hint=f"name another `{option}`")
