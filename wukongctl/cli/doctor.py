"""`wukongctl doctor`: what this machine and this installation offer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """\b
Examples:
  wukongctl doctor
  wukongctl doctor --json > machine.json      # to attach to an issue
"""


@click.command(epilog=EXAMPLES)
@options.data
@options.common
def doctor(output: Output, data: Path) -> None:
    """Show versions, hardware, limits, measured speed and extras; paste the output into an issue."""
    from wukongctl.training.diagnosis import diagnose

    found = diagnose(data)
    output.result(found, lambda console: _show(console, found))


def _show(console: "Console", found: dict[str, Any]) -> None:
    for title, text in _lines(found):
        console.print(f"{title:<11} {text}", soft_wrap=True)


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    from wukongctl import extras

    versions = [f"{name} {version or 'missing'}" for name, version in found["versions"].items()]
    cores, memory, speed = found["cores"], found["memory"], found["speed"]
    compiler = "with" if found["torch"]["compiler"] else "without"
    missing = [name for name, installed in found["extras"].items() if not installed]
    installed = [name for name, has_it in found["extras"].items() if has_it]
    return [
        ("versions", ", ".join(versions)),
        ("system", f"{found['platform']['system']}, {found['platform']['processor']}"),
        ("torch", f"{found['torch']['build']} build, {compiler} a C++ compiler for `compile`"),
        ("cores", f"{cores['usable']} usable of {cores['machine']}{_limit(cores['container'])}"),
        ("memory", f"{_bytes(memory['total'])}{_limit(memory['container'], _bytes)}"),
        ("disk", f"{_bytes(found['disk']['free'])} free in {found['disk']['folder']}"),
        ("cache", f"{_bytes(found['cache']['bytes'])} in {found['cache']['folder']}"),
        *[("GPU", f"{gpu['name']}, {_bytes(gpu['memory'])}, {gpu['capability']}") for gpu in found["gpus"]],
        *([] if found["gpus"] else [("GPU", "none that torch finds")]),
        ("precision", ", ".join(found["precisions"])),
        (
            "speed",
            f"{speed['matmul_gflops_per_second']:,.0f} GFLOP/s of float32 matrix products, "
            f"{_bytes(speed['copy_bytes_per_second'])}/s copied",
        ),
        ("extras", ", ".join(installed) or "none"),
        *[("", f"{name} is missing: {extras.install(name)}") for name in missing],
        *[("model", f"{name}: {told}") for name, told in found["models"].items()],
    ]


def _limit(limit: int | None, text: Any = str) -> str:
    return "" if limit is None else f", limited to {text(limit)} by the container"


def _bytes(number: float | None) -> str:
    return "unknown" if number is None else f"{number / 1e9:,.1f} GB"
