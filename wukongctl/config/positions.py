"""YAML text → plain values, remembering where each key and value stands.

Values are built from the node graph rather than by ruamel's constructor, because that one stops at the
first duplicate key and we promise all problems at once.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from wukongctl.errors import Problem

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a recipe to a value."""
MAX_VALUES = 200_000
"""Values of one file, aliases followed: a few lines of YAML can stand for billions."""
TOO_DEEP = "too deeply nested for a recipe"
TOO_MANY = f"too large for a recipe: more than {MAX_VALUES:,} values, with aliases followed"
Position = tuple[str, int, int]
"""File, line and column; line 0 where the value is from no file."""
_SCALARS = frozenset({"null", "bool", "int", "float", "str"})


@dataclass
class Document:
    """Plain values of one file plus the position of every key and value in it."""

    file: str
    value: Any = None
    keys: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    values: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    overrides: dict[KeyPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(
        self, message: str, path: KeyPath, *, at_key: bool = False, hint: str | None = None
    ) -> Problem:
        """A problem at `path`; where the path does not exist, at its nearest parent that does."""
        for end in range(len(path), -1, -1):
            prefix = path[:end]
            if prefix in self.overrides:
                return Problem(message, *self.overrides[prefix], hint=hint)
            key = self.keys.get(prefix) if at_key and end == len(path) else None
            place = key or self.values.get(prefix)
            if place is not None:
                return Problem(message, self.file, *place, hint=hint)
        return Problem(message, self.file, 1, 1, hint=hint)

    def is_overridden(self, path: KeyPath) -> bool:
        """Whether `path`, or something it is part of, is not from the file."""
        return any(path[:end] in self.overrides for end in range(1, len(path) + 1))

    def replace(self, path: KeyPath, place: Position) -> None:
        """What stands at `path` comes from `place` now; what the file had below it is gone."""
        for known in (self.keys, self.values, self.overrides):
            for below in [other for other in known if other[: len(path)] == path and other != path]:
                del known[below]
        self.overrides[path] = place


def parse(text: str, file: str) -> Document:
    """Read one YAML 1.2 document; syntax errors and duplicate keys become problems of the document."""
    document = Document(file)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.problems.append(_invalid(str(error.problem or error.context), file, place))
        return document
    except RecursionError:
        document.problems.append(Problem(TOO_DEEP, file, 1, 1))
        return document
    except YAMLError as error:
        document.problems.append(Problem(f"not valid YAML: {str(error).splitlines()[0]}", file, 1, 1))
        return document
    if node is not None:
        try:
            document.value = _Builder(document, yaml).build(node, ())
        except (_TooMuch, RecursionError) as error:
            document.value = None
            why = TOO_MANY if isinstance(error, _TooMuch) else TOO_DEEP
            document.problems.append(Problem(why, file, 1, 1))
    return document


def _invalid(reason: str, file: str, place: tuple[int, int]) -> Problem:
    """What is not YAML, with the remedy where it is known."""
    if "'\\t'" in reason:
        return Problem("not valid YAML: a tab", file, *place, hint="indent with spaces")
    return Problem(f"not valid YAML: {reason}", file, *place)


def parse_scalar(text: str) -> Any:
    """The value that `text` has as YAML: `1e-3` a number, `[1, 2]` a list, `adam` a string."""
    document = parse(text, "")
    return text if document.problems else document.value


class _TooMuch(Exception):
    """The document stands for more than MAX_VALUES values."""


class _Builder:
    def __init__(self, document: Document, yaml: YAML) -> None:
        self.document = document
        self.construct = yaml.constructor.construct_object
        self.open_nodes: set[int] = set()
        self.built = 0

    def build(self, node: Node, path: KeyPath) -> Any:
        self.built += 1
        if self.built > MAX_VALUES:
            raise _TooMuch
        self.document.values.setdefault(path, _place(node))
        if id(node) in self.open_nodes:
            self._report("an alias may not contain itself", node)
            return None
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, ScalarNode)
            return self._scalar(node)
        finally:
            self.open_nodes.discard(id(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in built:
                first_line, _ = self.document.keys[(*path, key)]
                self._report(f"duplicate key `{key}`, first on line {first_line}", key_node)
                continue
            self.document.keys[(*path, key)] = _place(key_node)
            built[key] = self.build(value_node, (*path, key))
        return built

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            self._report("a key must be a plain word", node)
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Hashable:
        kind = str(node.tag).rsplit(":", 1)[-1]
        if kind not in _SCALARS:
            # Dates and the like: recipes have none, and text is what the writer sees.
            return str(node.value)
        try:
            return self.construct(node)
        except ValueError as error:  # a number of thousands of digits
            self._report(f"not a value: {str(error).partition(';')[0].lower()}", node)
            return None

    def _report(self, message: str, node: Node) -> None:
        self.document.problems.append(Problem(message, self.document.file, *_place(node)))


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
