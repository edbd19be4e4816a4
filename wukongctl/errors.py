"""Errors that a user can act on, with their exit codes.

    WukongError              1   base class
    ├── RunFailed            1   work that failed while running (diverged, disk full, network)
    ├── UsageError           2   a wrong argument, option or path
    │   └── RecipeError      2   a recipe with problems, each with its position
    ├── CheckFailed          3   a checksum, row count or gate failed
    ├── Inconclusive         4   not enough evidence (only with `--strict`)
    └── Interrupted     130/143  stopped by a signal after saving its state

Anything else that escapes is a bug and keeps its traceback.
"""

import copyreg
import errno
import shlex
from dataclasses import dataclass
from pathlib import Path

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@dataclass(frozen=True)
class Problem:
    """One problem, with its position in a file."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str | None = None

    @property
    def where(self) -> str:
        """`file:line:column`, or the file alone when the line is unknown."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class WukongError(Exception):
    """An error with a one-line message and, where possible, a hint: the next command or edit."""

    exit_code = 1
    on_every_rank = False
    """Whether all processes of a run raise it, so that rank 0 alone needs to tell."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems: tuple[Problem, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle without `__init__`, whose arguments differ between errors."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class RunFailed(WukongError):
    """Work that failed while running."""


class UsageError(WukongError):
    """A wrong argument, option, path or recipe."""

    exit_code = 2


class RecipeError(UsageError):
    """A file with one or more problems, all found in one pass."""

    def __init__(self, problems: list[Problem], *, hint: str | None = None) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        files = sorted({problem.file for problem in problems})
        super().__init__(f"{count} in {', '.join(f'`{file}`' for file in files)}", hint=hint)
        self.problems = tuple(problems)


class CheckFailed(WukongError):
    """A checksum, an expected row count or a gate failed."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class Inconclusive(WukongError):
    """There is not enough evidence for a verdict."""

    exit_code = 4


class Interrupted(WukongError):
    """A signal stopped the work after its state was saved; the exit code is 128 + the signal's number."""

    def __init__(self, message: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signal_number


def cannot_write(path: Path, error: OSError) -> WukongError:
    """The error to raise when `path` cannot be written: a usage error unless the disk is at fault."""
    message = f"cannot write `{path}`: {(error.strerror or str(error)).lower()}"
    if error.errno in DISK_ERRORS:
        return RunFailed(message, hint="free some disk space, then run the same command again")
    if not path.parent.exists() and error.errno == errno.ENOENT:
        return UsageError(
            message, hint=f"create the folder first: `mkdir -p {shlex.quote(str(path.parent))}`"
        )
    if blocking := next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None):
        return UsageError(message, hint=f"`{blocking}` is a file: choose another path")
    return UsageError(message, hint="choose a path that you can write to")
