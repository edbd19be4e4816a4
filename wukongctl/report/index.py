"""The page that links the reports of several datasets."""

import re
from pathlib import Path

from wukongctl.data.atomic import write_atomic
from wukongctl.laws.analysis import Report
from wukongctl.report import wording
from wukongctl.report.evidence import analyses
from wukongctl.report.files import environment
from wukongctl.report.headline import headline
from wukongctl.report.palette import COLORS, DARK_COLORS

INDEX = "index.html"
TITLE = "<title>Scaling reports</title>"
"""What tells the page from others."""


def folder_of(label: str) -> str:
    """The folder of a dataset's report."""
    return re.sub(r"[^\w.-]+", "-", label).strip("-.") or "dataset"


def write_index(reports: dict[str, Report], out: Path, *, dashboard: str | None = None) -> Path:
    """Write the page into `out`, which has the reports in folders of their own; returns its path."""
    rows = [
        (
            label,
            folder_of(label),
            headline(report),
            [(name, one.plateau.verdict) for name, one in analyses(report)],
            wording.verdicts(report.source.axis),
        )
        for label, report in reports.items()
    ]
    palette = list(zip(COLORS, DARK_COLORS, strict=True))
    page = (
        environment().get_template("index.html.jinja").render(rows=rows, palette=palette, dashboard=dashboard)
    )
    write_atomic(out / INDEX, lambda file: file.write(page.encode()))
    return out / INDEX
