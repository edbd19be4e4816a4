"""The description for PyPI: README.md, whose relative links a package index cannot follow."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)]+)\)")


class Description(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the fields of `[project]`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(text, source)}


def described(text: str, source: str | None) -> str:
    """The text with links into the repository at `source`; without an address pictures and links go."""

    def linked(found: re.Match[str]) -> str:
        picture, label, path = found.groups()
        if source is None:
            return "" if picture else label
        return f"{picture}[{label}]({source.rstrip('/')}/{'raw' if picture else 'blob'}/main/{path})"

    return re.sub(r"\n{3,}", "\n\n", LINK.sub(linked, text))
