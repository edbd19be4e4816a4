"""Secrets in the texts of a recipe, masked before they are written to a manifest.

Presigned addresses and connection strings carry their key as `name=value`. A column of such a name, as in
`token = 'x'`, is no secret, so only the inside of SQL strings and whole addresses are looked at.
"""

import re
from typing import Any

MASK = "***"
NAMES = (
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|(?:access|auth|refresh|id)?[_-]?token"
    r"|(?:client|aws)?[_-]?secret(?:[_-]?(?:access)?[_-]?key)?|api[_-]?key|account[_-]?key|access[_-]?key(?:[_-]?id)?"
    r"|aws[_-]?access[_-]?key[_-]?id|googleaccessid|password|passwd|pwd"
)
NAMED = re.compile(rf"(?<![a-z0-9])({NAMES})(\s*=\s*)[^&;\s'\"]+", re.IGNORECASE)
LOGIN = re.compile(r"(\w://)[^/@\s'\"]+@")
TEXT = re.compile(r"'(?:[^']|'')*'|(\$\w*\$).*?\1", re.DOTALL)
ADDRESS = re.compile(r"\w+://\S+")


def masked(value: Any) -> Any:
    """`value`, plain JSON types, without the secrets in its addresses and SQL strings."""
    match value:
        case str() if ADDRESS.fullmatch(value):
            return _without_secrets(value)
        case str():
            return TEXT.sub(lambda text: _without_secrets(text[0]), value)
        case dict():
            return {key: masked(inner) for key, inner in value.items()}
        case list() | tuple():
            return [masked(inner) for inner in value]
    return value


def _without_secrets(text: str) -> str:
    return NAMED.sub(rf"\1\2{MASK}", LOGIN.sub(rf"\1{MASK}@", text))
