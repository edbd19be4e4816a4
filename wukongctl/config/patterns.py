"""Patterns of texts in recipes, and how to say what they ask for."""

import re

IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MD5, SHA256 = r"^[0-9a-f]{32}$", r"^[0-9a-f]{64}$"
URL = r"^https?://[^/\s]+/\S*$"
EXPECTED = {
    IDENTIFIER: "letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
    MD5: "32 digits 0-9 and a-f, as `md5sum` prints",
    SHA256: "64 digits 0-9 and a-f, as `sha256sum` prints",
    URL: "an address such as `https://example.org/clicks.zip`",
}


def identifier_like(text: str) -> str | None:
    """The identifier that `text` is closest to; None if nothing of it can stay."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or None
