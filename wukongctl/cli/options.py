"""Options that several commands share."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from wukongctl.cli.output import Output
from wukongctl.errors import UsageError
from wukongctl.machine import MOST_PER_CORE, most_workers

Command = Callable[..., None]


def common(function: Command) -> Command:
    """`--json`, `-q`, `-v`; the command receives them as one `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
    @click.option("-q", "--quiet", is_flag=True, help="Print only the result and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Print more detail.")
    @functools.wraps(function)
    def wrapped(*, as_json: bool, quiet: bool, verbose: bool, **arguments: Any) -> None:
        exclusive(("--quiet", quiet), ("--verbose", verbose))
        output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
        if verbose and not as_json:
            output.show_log()
        function(output=output, **arguments)

    return wrapped


overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe key; repeatable."
)
data = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    envvar="WUKONGCTL_DATA",
    help="Folder of prepared datasets.",
)


class MetricName(click.ParamType):
    """A metric to compare runs by; the names are loaded lazily."""

    name = "metric"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; fails with the known names."""
        known = _compared()
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, known))}.", param, ctx)
        return value

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 as in click.ParamType
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Names that start with `incomplete`."""
        return [CompletionItem(name) for name in _compared() if name.startswith(incomplete)]


def _compared() -> list[str]:
    from wukongctl.training.metrics import COMPARED

    return [metric.name for metric in COMPARED]


class RecipeName(click.ParamType):
    """The path of a recipe, or the name of a shipped one; shells complete both."""

    name = "recipe"

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 as in click.ParamType
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Files, and shipped names that start with `incomplete`."""
        from wukongctl.config import library

        names = [name for name in library.names(self.kind) if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *(CompletionItem(name) for name in names)]


recipe = RecipeName()
dataset = RecipeName("datasets")


class Choices(click.Choice[str]):
    """A list of choices, separated by commas; combine with `flat` as the callback."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The chosen values; fails with the known ones."""
        return tuple(super(Choices, self).convert(one.strip(), param, ctx) for one in value.split(","))


def flat(_context: click.Context, _param: click.Parameter, lists: tuple[tuple[str, ...], ...]) -> Any:
    """All values of a repeated list, each once."""
    return tuple(dict.fromkeys(value for values in lists for value in values))


def exclusive(first: tuple[str, object], *others: tuple[str, object]) -> None:
    """Raise UsageError if the first option was given together with one of the others."""
    for option, value in others:
        if first[1] and value:
            raise UsageError(f"`{first[0]}` cannot be used with `{option}`", hint="leave one out")


def require_few(option: str, number: int | None) -> None:
    """Raise UsageError if `number` threads or processes would only fight over the cores."""
    most = most_workers()
    if number is not None and number > most:
        raise UsageError(
            f"`{option} {number}` is too many for this machine with {most // MOST_PER_CORE} cores",
            hint=f"give at most {most}",
        )


def out(default: str, help_text: str, envvar: str | None = None) -> Callable[[Command], Command]:
    """`--out DIR` with a command's own default."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        envvar=envvar,
        help=help_text,
    )
