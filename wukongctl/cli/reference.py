"""The page of all commands, docs/reference/commands.md, from their help."""

import click

from wukongctl.cli import COMMANDS, SECTIONS, _command

HEADER = """# Commands

Every command takes `--help`, `--json`, `--quiet` and `--verbose`. What `--json` prints, and the exit codes,
are in [contracts](contracts.md). An option can also be set by an environment variable: the one in its row,
or `WUKONGCTL_COMMAND_OPTION`, such as `WUKONGCTL_PREPARE_THREADS=8`. This page is generated.
"""
COMMON = {"json", "quiet", "verbose", "as_json", "help"}
WIDTH = 100


def to_markdown() -> str:
    """The page: every command by section, with usage, options and examples."""
    parts = [HEADER]
    for title, section in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for name in section:
            parts += _described((name,), _command(name))
    return "\n".join(parts)


def _described(path: tuple[str, ...], command: click.Command | None) -> list[str]:
    assert command is not None, f"{path[0]} is in COMMANDS: {sorted(COMMANDS)}"
    if isinstance(command, click.Group):
        members = [_described((*path, name), member) for name, member in sorted(command.commands.items())]
        return [
            f"### {path[-1]}\n",
            _paragraphs(command.help or ""),
            *(line for one in members for line in one),
        ]
    with click.Context(command, info_name=" ".join(("wukongctl", *path)), max_content_width=WIDTH) as context:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        rows = [row for parameter in command.params if (row := _row(parameter, context))]
    table = ["| option | |", "|---|---|", *rows, ""] if rows else []
    heading = "####" if len(path) > 1 else "###"
    return [
        f"{heading} {' '.join(path)}\n",
        f"```text\n{usage}\n```\n",
        _paragraphs(command.help or ""),
        *table,
        *_examples(command.epilog),
    ]


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    """A row of the table of options; None for an argument, and for what every command has."""
    if not isinstance(parameter, click.Option) or parameter.name in COMMON:
        return None
    record = parameter.get_help_record(context)
    if record is None:
        return None
    names, text = (part.replace("|", "\\|") for part in record)
    variable = f" `{parameter.envvar}`" if parameter.envvar else ""
    return f"| `{names}` | {' '.join(text.split())}{variable} |"


def _paragraphs(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.replace("\b", "").split("\n\n"))
    return "\n\n".join(paragraph.replace("<", "\\<") for paragraph in paragraphs) + "\n"


def _examples(epilog: str | None) -> list[str]:
    lines = [line.strip() for line in (epilog or "").splitlines() if line.strip().startswith("wukongctl")]
    return ["```sh\n" + "\n".join(lines) + "\n```\n"] if lines else []


if __name__ == "__main__":
    click.echo(to_markdown(), nl=False)
