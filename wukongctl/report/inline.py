"""Embed SVG plots in an HTML page with light and dark themes."""

import re

from wukongctl.report.canvas import GRID, INK, SOFT_INK
from wukongctl.report.compact import compact
from wukongctl.report.palette import COLORS

THEME = {
    INK: "var(--ink)",
    SOFT_INK: "var(--soft)",
    GRID: "var(--grid)",
    "#ffffff": "var(--card)",
    **{color: f"var(--c{index})" for index, color in enumerate(COLORS)},
}


def embed(svg: str, *, prefix: str, label: str) -> str:
    """The `<svg>` element with unique ids, the colors of the page and a label for screen readers."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element).replace("xlink:href=", "href=")
    element = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', element)
    element = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", element)
    element = re.sub(r' (width|height)="[\d.]+pt"', "", element, count=2)
    element = re.sub(r"#[0-9a-f]{6}\b", lambda found: THEME.get(found.group(), found.group()), element)
    return compact(element).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
