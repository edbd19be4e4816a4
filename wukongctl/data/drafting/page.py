"""A recipe's text: YAML by hand, for only that has room for comments."""

import json
import re
import textwrap
from typing import Any

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names that need no quotes."""
WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""… but for these, which are no names in YAML."""
WIDTH = 100


def block(key: str, text: str) -> list[str]:
    """The lines of a text of several lines."""
    if text.isprintable() or all(line.isprintable() for line in text.split("\n")):
        return [f"{key}: |", *(f"  {line}" for line in text.split("\n"))]
    return [f"{key}: {json.dumps(text)}"]


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow(item)}' for key, item in value.items())}}}"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def scalar(text: str) -> str:
    """A text, in quotes where it needs them."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def remark(text: str) -> list[str]:
    """Lines of comment."""
    lines = textwrap.wrap(_printable(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def comment(text: str) -> str:
    """What may stand behind a `#`."""
    return _printable(text)[:200]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text)
