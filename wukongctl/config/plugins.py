"""Models of other packages: entry points of the group `wukongctl.models`, looked up when a recipe names one.

An entry point has the name of the model and leads to its section, a subclass of `ModelSpec` with `network`.
Models of this package come first: a plug-in cannot replace one.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from wukongctl.config.model_section import ModelSpec
from wukongctl.config.spec import Mistake, Mistakes
from wukongctl.errors import UsageError

GROUP = "wukongctl.models"


@dataclass(frozen=True)
class PluginModel:
    """A model of another package, whose code is not imported yet."""

    name: str
    package: str
    """The distribution that brings it, as pip knows it."""
    version: str
    entry: EntryPoint
    rival: str | None = None
    """Another package with a model of this name."""

    def section(self) -> type[ModelSpec]:
        """Its section; raises UsageError that names the package if it cannot be imported or is not one."""
        if self.rival is not None:
            raise UsageError(
                f"the packages `{self.package}` and `{self.rival}` both have a model `{self.name}`",
                hint=f"remove one, `pip uninstall {self.rival}`",
            )
        with self.blamed():
            found = self.entry.load()
        if not (isinstance(found, type) and issubclass(found, ModelSpec)):
            self.refuse(f"`{self.entry.value}` is not a subclass of `ModelSpec`")
        field = found.model_fields.get("name")
        if field is None or get_args(field.annotation) != (self.name,):
            self.refuse(f'`{self.entry.value}` has no key `name: Literal["{self.name}"]`')
        return found

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Whatever the code of the package raises is one line that names it."""
        try:
            yield
        except Exception as error:
            what = str(error).splitlines()[0] if str(error) else ""
            self.refuse(f"{type(error).__name__}{f': {what}' if what else ''}")

    def refuse(self, why: str) -> NoReturn:
        """Raise UsageError: the package has a mistake."""
        raise UsageError(
            f"model `{self.name}` of the package `{self.package}` {self.version} does not work: {why}",
            hint=f"repair the package or remove it, `pip uninstall {self.package}`",
        ) from None


def models() -> dict[str, PluginModel]:
    """Name → model, of all installed packages; nothing is imported."""
    found: dict[str, PluginModel] = {}
    for entry in entry_points(group=GROUP):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")
        first = found.setdefault(entry.name, PluginModel(entry.name, package, version, entry))
        if first.package != package:
            found[entry.name] = replace(first, rival=package)
    return found


def model_of(section: ModelSpec) -> PluginModel:
    """The model that a section belongs to; raises UsageError if no package has it."""
    name = str(getattr(section, "name", ""))
    if (found := models().get(name)) is not None:
        return found
    raise UsageError(
        f"no package has an entry point for `{type(section).__name__}`",
        hint=f'its `pyproject.toml` needs one named `{name}` in `[project.entry-points."{GROUP}"]`',
    )


def validated(value: Any) -> ModelSpec:
    """The section of a plug-in's model from the values of a recipe; raises ValidationError as any section
    does."""
    if isinstance(value, ModelSpec):
        return value
    name = value["name"]
    try:
        section = models()[name].section()
    except UsageError as error:
        raise Mistakes([Mistake(error.message, ("name",), error.hint)]) from None
    try:
        return section.model_validate_json(json.dumps(value))  # a list may fill a tuple
    except ValidationError as error:
        raise ValidationError.from_exception_data(
            name, [_below(name, each) for each in error.errors()]
        ) from None


def _below(name: str, detail: Any) -> InitErrorDetails:
    """An error of a section with the name of its model, as the union of the other models reports it."""
    kind, context = detail["type"], detail.get("ctx", {})
    known = (
        kind if kind in get_args(core_schema.ErrorType) else PydanticCustomError(kind, detail["msg"], context)
    )
    return InitErrorDetails(type=known, loc=(name, *detail["loc"]), input=detail["input"], ctx=context)


OWN, PLUGIN = "<own>", "<plug-in>"
"""Which of the two a section is: steps of pydantic's locations, which are no keys of a recipe."""


class OrPlugin:
    """Annotation of the union of this package's sections: adds those of plug-ins.

    Sections of this package are validated as if there were no plug-ins, whose packages are not even looked
    up.
    """

    def __init__(self, own: Collection[str]) -> None:
        self.own = own

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plugin = core_schema.no_info_plain_validator_function(
            validated, serialization=core_schema.plain_serializer_function_ser_schema(ModelSpec.to_dict)
        )
        return core_schema.tagged_union_schema({OWN: handler(source), PLUGIN: plugin}, self._kind)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The union of this package's sections; `schema.json_schema` adds the others."""
        assert schema["type"] == "tagged-union"
        return handler(schema["choices"][OWN])

    def _kind(self, value: Any) -> str:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        if not isinstance(name, str) or name in self.own:
            return OWN
        return PLUGIN if name in models() else OWN
