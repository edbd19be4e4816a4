"""The text of a drafted recipe, with what a person should know above what it concerns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wukongctl.data.drafting import guess, page
from wukongctl.data.drafting.guess import Role
from wukongctl.data.drafting.splitting import Names, SplitGuess

ORDER = ("categorical", "numeric", "vector", "sequence", "left out")


@dataclass(frozen=True)
class Recipe:
    """All that is written."""

    name: str
    title: str
    """The file, without its folder."""
    seen: str
    """How many rows were looked at, in words."""
    files: Sequence[str]
    said: Sequence[str]
    """What to know of reading the table."""
    rows: str
    label: str
    label_said: Sequence[str]
    rule: SplitGuess
    roles: Sequence[Role]
    names: Names
    doubts: Sequence[str] = field(default=())
    """What to know of the features."""

    def changed(self, **parts: Any) -> "Recipe":
        """The same with other parts."""
        return replace(self, **parts)

    def text(self) -> str:
        """YAML."""
        places = ", ".join(f"{page.scalar(file)}: {{}}" for file in self.files)
        lines = [
            f"# wukongctl prepare ./{self.name}.yaml",
            f"# A first recipe, guessed from {self.seen} of {self.title}: read it and correct it.",
            f"name: {page.scalar(self.name)}",
            f"description: {json.dumps(f'{self.title}, described by wukongctl datasets init')}",
            f"files: {{{places}}} # found beside this recipe, or in --source",
            *_remarks(self.said),
            *page.block("rows", self.rows),
            *_remarks((*self.rule.said, *self.rule.doubts)),
            f"split: {page.flow(self.rule.split)}",
            *_remarks(self.label_said),
            f"label: {page.scalar(self.label)}",
            *_remarks(self.doubts),
            "features:",
            *(line for group in _groups(self.roles) for line in self._group(group)),
            *self._omitted(),
        ]
        return "\n".join(lines) + "\n"

    def _group(self, roles: Sequence[Role]) -> list[str]:
        kind, keys = _keys(roles[0])
        lines = [f"  - type: {kind}", *(f"    {key}: {page.flow(value)}" for key, value in keys)]
        if kind == "numeric" and roles[0].kind == "vector":
            listed = [page.scalar(name) for role in roles for name in self.names[role.column.name]]
            return [
                lines[0] + f" # {'; '.join(page.comment(role.note) for role in roles)}",
                *lines[1:],
                *page.wrapped("    columns: [", listed),
            ]
        names = {role: page.scalar(self.names[role.column.name][0]) for role in roles}
        noted = (f"      - {name}" + (f" # {role.note}" if role.note else "") for role, name in names.items())
        return [*lines, "    columns:", *noted]

    def _omitted(self) -> list[str]:
        out = [role for role in self.roles if role.kind == "left out"]
        return ["# Left out:"] * bool(out) + [
            f"#   {page.comment(role.column.name)}: {page.comment(role.note)}" for role in out
        ]


def _remarks(texts: Sequence[str]) -> list[str]:
    return [line for text in texts if text for line in page.remark(text)]


def _keys(role: Role) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The type and the keys that a feature group of this role has beside its columns."""
    column = role.column
    least = guess.min_count(column)
    seen = (("min_count", least),) if least > 1 else ()
    match role.kind:
        case "numeric":
            return "numeric", guess.numeric_keys(column)
        case "vector":
            return "numeric", ()
        case "sequence":
            separator = (("separator", column.separator),) if not column.is_list else ()
            length = min(max(column.items, 1), guess.LONGEST)
            return "sequence", (*separator, ("max_len", length), *seen)
        case _:
            return role.kind, seen


def _groups(roles: Sequence[Role]) -> list[list[Role]]:
    """Roles that can stand in one feature group, categorical ones first; vectors apart from numbers."""
    groups: dict[Any, list[Role]] = {}
    for role in sorted(roles, key=lambda role: ORDER.index(role.kind)):
        if role.kind != "left out":
            groups.setdefault((role.kind, _keys(role)), []).append(role)
    return list(groups.values())
