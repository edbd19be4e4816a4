"""The text of a drafted recipe: YAML written by hand, since it needs comments."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wukongctl.data.drafting import guess
from wukongctl.data.drafting.guess import Role
from wukongctl.data.drafting.quoting import yaml_text
from wukongctl.data.drafting.splitting import Names, SplitGuess

ORDER = ("categorical", "numeric", "vector", "sequence", "left out")
WIDTH = 100


@dataclass(frozen=True)
class Recipe:
    """What is written."""

    name: str
    title: str
    """The file, without its folder."""
    measured: str
    """The number of measured rows, in words."""
    files: Sequence[str]
    table_remarks: Sequence[str]
    rows: str
    label: str
    label_remark: str
    rule: SplitGuess
    roles: Sequence[Role]
    names: Names
    remarks: Sequence[str] = field(default=())
    """Remarks on the features."""

    def text(self) -> str:
        """The recipe as YAML."""
        files = ", ".join(f"{yaml_text(file)}: {{}}" for file in self.files)
        lines = [
            f"# wukongctl prepare ./{self.name}.yaml",
            f"# Drafted from {self.measured} of {self.title}: check it, and edit what is wrong.",
            f"name: {yaml_text(self.name)}",
            f"description: {json.dumps(f'{self.title}, described by wukongctl datasets init')}",
            f"files: {{{files}}} # beside this recipe, or in --source",
            *_comments(self.table_remarks),
            *_block("rows", self.rows),
            *_comments((*self.rule.reasons, *self.rule.remarks)),
            f"split: {_flow(self.rule.split)}",
            *_comments([self.label_remark]),
            f"label: {yaml_text(self.label)}",
            *_comments(self.remarks),
            "features:",
            *(line for group in _groups(self.roles) for line in self._group(group)),
            *self._left_out(),
        ]
        return "\n".join(lines) + "\n"

    def _group(self, roles: Sequence[Role]) -> list[str]:
        kind, keys = _keys(roles[0])
        lines = [f"  - type: {kind}", *(f"    {key}: {_flow(value)}" for key, value in keys)]
        if roles[0].kind == "vector":
            columns = [yaml_text(name) for role in roles for name in self.names[role.column.name]]
            return [
                lines[0] + f" # {'; '.join(_printable(role.note)[:200] for role in roles)}",
                *lines[1:],
                *_wrapped("    columns: [", columns),
            ]
        names = {role: yaml_text(self.names[role.column.name][0]) for role in roles}
        columns = (
            f"      - {name}" + (f" # {role.note}" if role.note else "") for role, name in names.items()
        )
        return [*lines, "    columns:", *columns]

    def _left_out(self) -> list[str]:
        out = [role for role in self.roles if role.kind == "left out"]
        return ["# Left out:"] * bool(out) + [
            f"#   {_printable(role.column.name)[:200]}: {_printable(role.note)[:200]}" for role in out
        ]


def _keys(role: Role) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The type of a role's feature group, and its keys beside the columns."""
    column = role.column
    least = guess.min_count(column)
    min_count = (("min_count", least),) if least > 1 else ()
    match role.kind:
        case "numeric":
            return "numeric", guess.numeric_keys(column)
        case "vector":
            return "numeric", ()
        case "sequence":
            separator = (("separator", column.separator),) if not column.is_list else ()
            length = min(max(column.items, 1), guess.LONGEST)
            return "sequence", (*separator, ("max_len", length), *min_count)
        case _:
            return role.kind, min_count


def _groups(roles: Sequence[Role]) -> list[list[Role]]:
    """Roles by feature group: categorical first, vectors apart from numbers."""
    groups: dict[Any, list[Role]] = {}
    for role in sorted(roles, key=lambda role: ORDER.index(role.kind)):
        if role.kind != "left out":
            groups.setdefault((role.kind, _keys(role)), []).append(role)
    return list(groups.values())


def _block(key: str, text: str) -> list[str]:
    """A multi-line text as a YAML block."""
    lines = text.split("\n")
    if all(line.isprintable() for line in lines):
        return [f"{key}: |", *(f"  {line}" for line in lines)]
    return [f"{key}: {json.dumps(text)}"]


def _flow(value: Any) -> str:
    """A YAML value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in value.items())}}}"
    return yaml_text(value) if isinstance(value, str) else json.dumps(value)


def _wrapped(start: str, items: Sequence[str]) -> list[str]:
    """A YAML flow list opened by `start`, over as many lines as needed."""
    indent = " " * (len(start) - len(start.lstrip()) + 2)
    lines = [start]
    for position, item in enumerate(items, start=1):
        part = item + ("," if position < len(items) else "]")
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append(indent + part)
        else:
            lines[-1] += part if lines[-1].endswith("[") else f" {part}"
    return lines


def _comments(texts: Sequence[str]) -> list[str]:
    """Comment lines."""
    return [
        f"# {line}"
        for text in texts
        for line in textwrap.wrap(_printable(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    ]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text)
