"""The recipe formats described: JSON Schema for editors, Markdown for people."""

import json
from typing import Any

from wukongctl.config.formats import FORMATS


def json_schema(name: str) -> dict[str, Any]:
    """The schema of one format of `FORMATS`."""
    return FORMATS[name].spec.model_json_schema()


def to_markdown(name: str) -> str:
    """A reference page of one format: a table of keys per section of the recipe."""
    schema = json_schema(name)
    sections = {FORMATS[name].title.capitalize(): schema} | dict(sorted(schema["$defs"].items()))
    return "\n\n".join(_section(title, section) for title, section in sections.items()) + "\n"


def _section(title: str, section: dict[str, Any]) -> str:
    required = section.get("required", [])
    rows = [
        f"| `{key}` | {_type(entry)} | {'required' if key in required else _default(entry)} "
        f"| {' '.join(entry.get('description', '').split())} |"
        for key, entry in section["properties"].items()
    ]
    description = " ".join(section.get("description", "").split())
    return "\n".join(
        [f"## {title}", "", description, "", "| key | type | default | |", "|---|---|---|---|", *rows]
    )


def _type(entry: dict[str, Any]) -> str:
    """A JSON Schema type in words."""
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    if "$ref" in entry:
        return entry["$ref"].rpartition("/")[2]
    if alternatives := entry.get("anyOf") or entry.get("oneOf"):
        return " or ".join(_type(one) for one in alternatives if one.get("type") != "null")
    if entry.get("type") == "array":
        items = entry.get("items") or {"anyOf": entry.get("prefixItems", [])[:1]}
        return f"list of {_type(items)}"
    if entry.get("type") == "object":
        values = entry.get("additionalProperties")
        return f"mapping to {_type(values)}" if isinstance(values, dict) else "mapping"
    return entry.get("type", "any")


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`"
