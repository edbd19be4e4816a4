"""The dashboard as one HTML page, without requests to anywhere."""

import datetime
from pathlib import Path

import jinja2

from wukongctl.data import next_steps
from wukongctl.data.atomic import write_atomic
from wukongctl.report.palette import COLORS, DARK_COLORS
from wukongctl.runs.dashboard import Dashboard

FILE = "dashboard.html"
"""The page, beside the reports that link to it."""
GENERATOR = b'<meta name="generator" content="wukongctl dashboard">'
"""Marks a page as ours, near its start."""


def write(content: Dashboard, path: Path, *, data: Path, reload_every: float | None = None) -> None:
    """Write the page atomically; with `reload_every`, in seconds, browsers reload it.

    `data` is the folder of prepared datasets, for commands that the page shows.
    """
    html = to_html(content, data=data, reload_every=reload_every).encode()
    write_atomic(path, lambda file: file.write(html))


def to_html(content: Dashboard, *, data: Path, reload_every: float | None = None) -> str:
    """A self-contained page; it shows the time at which it was made."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wukongctl.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    return environment.get_template("dashboard.html.jinja").render(
        content=content,
        generator=GENERATOR.decode(),
        reload_every=reload_every,
        made=datetime.datetime.now(tz=datetime.UTC).astimezone(),
        comparisons=_comparisons(content, data),
        palette=list(zip(COLORS, DARK_COLORS, strict=True)),
    )


def _comparisons(content: Dashboard, data: Path) -> dict[str, str]:
    """Dataset → the command that compares its leaders by paired tests."""
    leaders: dict[str, list[int]] = {}
    for leader in content["leaders"]:
        leaders.setdefault(leader["dataset"], []).append(leader["recipe"])
    return {
        dataset: next_steps.compare_command(
            [
                Path(content["runs"][index]["folder"])
                for recipe in recipes
                for index in content["recipes"][recipe]["runs"]
                if content["runs"][index]["status"] == "complete"
            ],
            data,
        )
        for dataset, recipes in leaders.items()
        if len(recipes) > 1
    }
