"""What pydantic found wrong with one value, in the words of a recipe."""

import json
import re
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails

from wukongctl.config import patterns

KINDS = {
    "int": "an integer",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "`true` or `false`",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping of keys",
    "model": "a mapping of keys",
}
"""Pydantic's name of an error, without its ending → what the key takes."""
ENDING = re.compile(r"_(attributes_type|type|parsing|parsing_size|from_float)$")
BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
}
TRUTHS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
NUMBER = re.compile(r"-?\d+(\.\d*)?")
UNIT = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgG])")
THOUSANDS = {"k": 10**3, "m": 10**6, "g": 10**9}


class Wording(NamedTuple):
    """What to say about the value of a key, and how to write it instead."""

    message: str
    hint: str | None = None


def of_value(key: str, detail: ErrorDetails) -> Wording | None:
    """The wording for the value of `key`; None if its type and range are right."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx") or {}
    if "pattern" in context:
        return _of_pattern(key, str(context["pattern"]), value)
    if kind in BOUNDS:
        name, phrase = BOUNDS[kind]
        return Wording(f"`{key}` is {shown(value)}, expected {phrase.format(context[name])}")
    expected = KINDS.get(ENDING.sub("", kind))
    if expected is None:
        return None
    return Wording(f"`{key}` is {shown(value)}, expected {expected}", _instead(expected, value))


def shown(value: Any) -> str:
    """A value as a recipe has it; only the kind of one that has parts."""
    match value:
        case None:
            return "empty"
        case list():
            return "a list"
        case dict():
            return "a mapping of keys"
        case str():
            return f'`"{value}"`' if NUMBER.fullmatch(value) else f"`{value}`"  # quoted in the recipe
        case _:
            return f"`{json.dumps(value)}`"


def _of_pattern(key: str, pattern: str, value: Any) -> Wording | None:
    if pattern not in patterns.EXPECTED:
        return None
    like = patterns.identifier_like(str(value)) if pattern == patterns.IDENTIFIER else None
    message = f"`{key}` is `{value}`, expected {patterns.EXPECTED[pattern]}"
    return Wording(message, f"for example `{like}`" if like else None)


def _instead(expected: str, value: Any) -> str | None:
    """How to write `value` as what the key expects, where that is clear."""
    written = value if isinstance(value, str) else json.dumps(value)
    number = UNIT.fullmatch(written)
    if expected == KINDS["list"] and isinstance(value, str | int | float):
        return f"write `[{written.strip('[], ')}]`"
    if expected == KINDS["bool"] and written.lower() in TRUTHS:
        return f"write `{TRUTHS[written.lower()]}`"
    if expected in (KINDS["int"], KINDS["float"]) and number:
        return f"write `{float(number[1]) * THOUSANDS[number[2].lower()]:.0f}`"
    if expected in (KINDS["int"], KINDS["float"]) and NUMBER.fullmatch(written) and value != 0:
        whole = written.removesuffix(".0")
        return f"write `{whole}`" if expected == KINDS["float"] or "." not in whole else None
    if expected == KINDS["string"] and isinstance(value, int | float):
        return f'write `"{written}"`'
    return None
