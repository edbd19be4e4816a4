"""The only place that prints or decides an exit code.

Data goes to stdout, everything else to stderr. `--json` prints exactly one object: the result on stdout,
or the error on stderr.
"""

import contextlib
import itertools
import json
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wukongctl.cli import launch, progress
from wukongctl.cli.progress import ProgressBar
from wukongctl.errors import DISK_ERRORS, Problem, UsageError, WukongError, cannot_write
from wukongctl.signals import Stopped, raise_stopped

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 200
"""Width of tables in a file or pipe, where lines need not wrap."""
MOST_PROBLEMS = 20
"""Problems that are printed; a table may have one in every row."""


@dataclass(frozen=True)
class Output:
    """How a command prints: as text or JSON, with more or less detail."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def result(self, data: Any, human: Callable[["Console"], None]) -> None:
        """Print the result: `data` as one JSON document, or `human` on a console.

        A reader that closes the pipe early, such as `head`, does not change the exit code.
        """
        if not self.as_json:
            human(_console(stderr=False))
            return
        try:
            click.echo(json.dumps(data, ensure_ascii=False))
        except BrokenPipeError:
            _discard_output()

    def note(self, text: str) -> None:
        """Print a remark, unless `--quiet` or `--json`."""
        if not (self.quiet or self.as_json):
            progress.echo(text)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Print a warning, even with `--quiet`; with `--json`, warnings are part of the result."""
        if not self.as_json:
            progress.echo(f"warning: {text}")
            if hint:
                progress.echo(f"hint: {hint}")
            if _under_github_actions():
                click.echo(_annotation(Problem(text), "warning"), err=True)

    @contextlib.contextmanager
    def warnings_shown(self) -> Iterator[None]:
        """Print the warnings that the package logs, unless `--verbose` shows the whole log."""
        handler = _Warnings(logging.WARNING)
        handler.warn = self.warn
        logger = logging.getLogger("wukongctl")
        if not self.verbose:
            logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def show_log(self) -> None:
        """Print the package's log on stderr."""
        handler = _Lines()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger = logging.getLogger("wukongctl")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    @contextlib.contextmanager
    def progress(self) -> Iterator[ProgressBar]:
        """A live bar on a terminal, one plain line every 30 seconds elsewhere."""
        if self.quiet or self.as_json:
            yield progress.Silent()
            return
        with progress.bar(_console(stderr=True) if progress.is_terminal() else None) as bar:
            yield bar


def first_sentence(text: str) -> str:
    """The first sentence of a text of several lines."""
    return re.split(r"(?<=[a-z0-9)`])\.(?= [A-Z`])", " ".join(text.split()))[0].rstrip(".") + "."


def catch_signals() -> None:
    """End the process with a one-line error on Ctrl-C or SIGTERM. Call this in the main thread."""
    raise_stopped(_fail)


def run(command: click.Command) -> int:
    """Run a command and return its exit code. User errors print one line; bugs keep their traceback."""
    try:
        command.main(prog_name="wukongctl", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        return _fail(_from_click(error))
    except WukongError as error:
        return _fail(error)
    except OSError as error:
        return _of_system(error)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # a bug: Click takes it for Ctrl-D at a prompt
            raise error.__cause__ from None
        cause = error if isinstance(error, Stopped) else error.__cause__  # Click wraps it
        return _fail((cause if isinstance(cause, Stopped) else Stopped(signal.SIGINT)).failure)
    return 0


def _of_system(error: OSError) -> int:
    """The exit code of a file or stream that failed; raises what is a bug."""
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return 0
    if isinstance(error, PermissionError):
        file = shlex.quote(str(error.filename))
        hint = f"`ls -l {file}` shows who may read it"
        return _fail(UsageError(f"cannot read `{error.filename}`: permission denied", hint=hint))
    if error.errno not in DISK_ERRORS:
        raise error
    if error.filename is None:
        _discard_output()
    return _fail(cannot_write(Path(error.filename or "standard output"), error))


def _discard_output() -> None:
    """Send stdout to /dev/null; otherwise Python reports the closed pipe again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: WukongError) -> int:
    if launch.is_left_to_rank_zero(error):
        return error.exit_code
    if "--json" in sys.argv:
        click.echo(json.dumps(_error_object(error), ensure_ascii=False), err=True)
    else:
        for problem in error.problems[:MOST_PROBLEMS]:
            click.echo(str(problem), err=True)
        if more := len(error.problems[MOST_PROBLEMS:]):
            click.echo(f"and {more} more", err=True)
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
    if _under_github_actions() and "--json" not in sys.argv:
        for problem in error.problems or (Problem(error.message),):
            click.echo(_annotation(problem), err=True)
    return error.exit_code


def _error_object(error: WukongError) -> dict[str, Any]:
    problems = [
        {"message": p.message, "file": p.file, "line": p.line, "column": p.column, "hint": p.hint}
        for p in error.problems
    ]
    return {
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
        "problems": problems,
    }


def _from_click(error: click.ClickException) -> WukongError:
    message = error.format_message().replace(" is not a valid integer range", " is not an integer")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else _typed_command()
    hint = f"run `{command} --help`"
    if isinstance(error, click.NoSuchOption) and command == "wukongctl" and len(sys.argv) > 2:
        message, hint = message.partition(". ")[0], f"options follow the command: write `{_reordered()}`"
    wrapped = WukongError(message[:1].lower() + message[1:].rstrip("."), hint=hint)
    wrapped.exit_code = error.exit_code if error.exit_code != 1 else 2
    return wrapped


def _reordered() -> str:
    """The command line with the options that came first at its end."""
    options = list(itertools.takewhile(lambda word: word.startswith("-"), sys.argv[1:]))
    return shlex.join(["wukongctl", *sys.argv[1 + len(options) :], *options])


def _typed_command() -> str:
    """The command on the command line, for errors that come before Click knows it."""
    words = itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:2])
    return " ".join(["wukongctl", *words])


def _under_github_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _annotation(problem: Problem, kind: Literal["error", "warning"] = "error") -> str:
    """A GitHub workflow command: one line, with `%` escapes."""
    place = f" file={problem.file},line={problem.line},col={problem.column}" if problem.line else ""
    message = problem.message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind}{place}::{message}"


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:  # Rich would exit with 1
            _discard_output()

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    # No markup or emoji: paths such as `runs[1]` and values such as `:key:` are text.
    return PipeConsole(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def prose(console: "Console", text: str) -> None:
    """Print sentences, which a terminal breaks between words; elsewhere they stay on one line."""
    console.print(text, soft_wrap=not console.is_terminal)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        progress.echo(self.format(record))


class _Warnings(logging.Handler):
    warn: Callable[[str], None]

    def emit(self, record: logging.LogRecord) -> None:
        self.warn(record.getMessage())
