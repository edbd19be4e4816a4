"""The SELECT of a recipe: columns converted as needed, under names that a recipe accepts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wukongctl.config.dataset import RESERVED_COLUMNS
from wukongctl.data.query import sql

LINE = 80
"""Longest SQL list on one line."""
NO_LABEL = "-- drop rows without a label"
ROW = "row_number"
"""Column with the row number, for a split by it."""


@dataclass
class Selection:
    """What is selected; `text` applies it to any FROM item with these columns."""

    names: dict[str, str]
    """Column → its name in the SELECT."""
    changes: dict[str, str] = field(default_factory=dict)
    """Column → SQL that replaces it."""
    added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column → SQL items that replace it."""
    where: str = ""
    """SQL condition on columns of the table: rows with a label."""
    outer_where: str = ""
    """The same on columns of the SELECT."""
    with_row_number: bool = False

    def text(self, source: str, order: str = "") -> str:
        """SQL; `order` is a column of `source` to sort by, which is dropped."""
        items = [self._star(order), *(item for parts in self.added.values() for item in parts)]
        if self.with_row_number:
            items.append(f"row_number() OVER ({f'ORDER BY {order}' if order else ''}) AS {ROW}")
        broken = len(items) > 1 and sum(map(len, items)) > LINE
        listed = ",\n  ".join(_filled(items)) if broken else ", ".join(items)
        text = f"SELECT {listed}\nFROM {source}" if listed != "*" else f"SELECT * FROM {source}"
        text += f"\nWHERE {self.where} {NO_LABEL}" if self.where else ""
        text += f"\nORDER BY {order}" if order else ""
        if not self.outer_where:
            return text
        inner = text.replace("\n", "\n  ")
        return f"SELECT * FROM (\n  {inner}\n)\nWHERE {self.outer_where} {NO_LABEL}"

    def _star(self, order: str) -> str:
        """`*` with its changes."""
        changes = {name: new for name, new in self.changes.items() if name not in self.added}
        renames = {old: new for old, new in self.names.items() if old != new and old not in self.added}
        both = changes.keys() & renames.keys()  # DuckDB allows a column in one list only
        excluded = [name for name in self.names if name in both or name in self.added]
        lists = {
            "EXCLUDE": [*([order] if order else []), *map(sql.identifier, excluded)],
            "REPLACE": [f"{new} AS {sql.identifier(n)}" for n, new in changes.items() if n not in both],
            "RENAME": [
                f"{sql.identifier(old)} AS {sql.identifier(new)}"
                for old, new in renames.items()
                if old not in both
            ],
        }
        star = "*" + "".join(f" {word} ({_items(items)})" for word, items in lists.items() if items)
        renamed = (f"{changes[old]} AS {sql.identifier(renames[old])}" for old in self.names if old in both)
        return ", ".join([star, *renamed])


def _items(items: Sequence[str]) -> str:
    """An SQL list, one item per line if it is long."""
    line = ", ".join(items)
    return line if len(line) <= LINE else "\n    " + ",\n    ".join(items)


def _filled(items: Sequence[str]) -> list[str]:
    """`items` as lines, with several short ones on one."""
    lines = [items[0]]
    for item in items[1:]:
        if lines[-1] is items[0] or len(lines[-1]) + len(item) > LINE:
            lines.append(item)
        else:
            lines[-1] += f", {item}"
    return lines


def names(columns: Sequence[str], label: Sequence[str]) -> dict[str, str]:
    """Column → its name in the SELECT: its own, unless reserved or unprintable."""
    found: dict[str, str] = {}
    taken = {column.lower() for column in columns}
    for column in columns:
        name = re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]", "_", column)[:60]
        if name in RESERVED_COLUMNS and column not in label:
            name = f"{name}_feature"
        found[column] = _unique(name, taken, column)
        taken.add(found[column].lower())
    return found


def vector(column: str, value: str, size: int, taken: Mapping[str, str]) -> dict[str, str]:
    """Name → SQL of each number of a list of `size` numbers, `value`."""
    known, items = {name.lower() for name in taken.values()}, {}
    for position in range(1, size + 1):
        name = _unique(f"{column[:50]}_{position}", known, "")
        known.add(name.lower())
        items[name] = f"{value}[{position}]"
    return items


def _unique(name: str, taken: set[str], own: str) -> str:
    unique, count = name, 2
    while unique != own and (unique.lower() in taken or not unique):
        unique, count = f"{name}_{count}", count + 1
    return unique
