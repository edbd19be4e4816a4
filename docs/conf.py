"""The documentation site: `sphinx-build -W docs site`. Pages stay plain Markdown, readable on any forge."""

import re
from pathlib import Path

from sphinx.application import Sphinx

import wukongctl

project = "wukongctl"
author = "the wukongctl authors"
release = version = wukongctl.__version__
extensions = ["myst_parser", "sphinx_copybutton"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "strikethrough"]
html_theme = "furo"
html_title = f"wukongctl {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
templates_path: list[str] = []
exclude_patterns = ["guides/*.ipynb"]
suppress_warnings = ["misc.highlighting_failure"]

DOCS = Path(__file__).parent
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
PAGE = re.compile(r"\]\(([\w/.-]+)\.md\)")


def navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Build the side bar from the links of the front page, section by section."""
    if page == "index":
        titles_and_texts = SECTION.split(source[0])[1:]
        pairs = zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True)
        source[0] += "".join(_toctree(title, PAGE.findall(text)) for title, text in pairs)
    elif page == "decisions/README":
        pages = sorted(path.stem for path in (DOCS / "decisions").glob("0*.md"))
        source[0] += _toctree("Decisions", pages, hidden=False)


def _toctree(caption: str, pages: list[str], *, hidden: bool = True) -> str:
    options = f":caption: {caption}\n" + ":hidden:\n" * hidden
    return f"\n```{{toctree}}\n{options}\n" + "\n".join(pages) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", navigation)
