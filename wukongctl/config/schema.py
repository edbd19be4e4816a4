"""The recipe formats described: JSON Schema for editors, Markdown for people."""

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from wukongctl.config import plugins
from wukongctl.config.formats import FORMATS, FormatName
from wukongctl.config.plugins import PluginModel
from wukongctl.config.spec import Spec


class _WithDescriptions(GenerateJsonSchema):
    """Takes descriptions from the attribute docstrings.

    Pydantic would read them whenever a section is imported, which takes most of the time of an import.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        section = super().model_schema(schema)
        for key, text in _attribute_docstrings(schema["cls"]):
            if key in section["properties"]:  # not a class variable
                section["properties"][key].setdefault("description", text)
        return section


def _attribute_docstrings(section: type) -> Iterator[tuple[str, str]]:
    """Keys of a section with the docstrings below them, inherited keys last."""
    for origin in (each for each in section.__mro__ if issubclass(each, Spec)):
        (definition,) = ast.parse(dedent(inspect.getsource(origin))).body
        assert isinstance(definition, ast.ClassDef)
        for key, text in pairwise(definition.body):
            match key, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(docstring))):
                    yield name, inspect.cleandoc(docstring)


def json_schema(name: FormatName) -> dict[str, Any]:
    """The schema of one recipe format; for training recipes with the models of plug-ins.

    Raises UsageError for a plug-in that does not work.
    """
    schema = FORMATS[name].spec.model_json_schema(schema_generator=_WithDescriptions)
    if name == "training":
        for model in plugins.models().values():
            _add_model(schema, model)
    return schema


def _add_model(schema: dict[str, Any], model: PluginModel) -> None:
    """Add the section of a plug-in to the union of models."""
    section, union, known = model.section(), schema["properties"]["model"], schema["$defs"]
    if model.name in union["discriminator"]["mapping"]:
        return  # a plug-in cannot replace a model of this package
    described = section.model_json_schema(schema_generator=_WithDescriptions)
    title = section.__name__ if section.__name__ not in known else f"{model.package}.{section.__name__}"
    schema["$defs"] = known | described.pop("$defs", {}) | {title: described}
    place = f"#/$defs/{title}"
    union["oneOf"].append({"$ref": place})
    union["discriminator"]["mapping"][model.name] = place


def to_markdown(name: FormatName) -> str:
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
