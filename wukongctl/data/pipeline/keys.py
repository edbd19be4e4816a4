"""The key of a split by hash must be a function of its row that does not read the label.

With a key that reads the label, rows that differ only in their label go to different splits: for such rows,
train then shows the opposite of the other splits.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wukongctl.config.dataset import ByHash, DatasetSpec, Numeric
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.query import sql, syntax
from wukongctl.data.query.syntax import ALL, CLOCK, VOLATILE, Reads

PATH = ("split", "key")
NAMED = 6
"""Up to so many features a hint lists all; of more, it names those to exclude."""
PERSON = re.compile(r"user|session|visitor|customer|client|patient|member|account|household|cookie", re.I)
"""Columns that often identify many rows of one person."""


class _Sides(NamedTuple):
    """What the key and the label read of the SELECT, and from what that is derived."""

    key: Reads
    label: Reads
    key_origins: Reads
    label_origins: Reads


def require(spec: DatasetSpec) -> None:
    """Mismatch for a key that reads columns of the label, or that is not a function of its row."""
    if mistakes := [mistake for sides in _sides(spec) for mistake in _mistakes(spec, sides)]:
        raise Mismatch(mistakes[:1])


def notes(spec: DatasetSpec) -> Iterator[str]:
    """A remark on a key that the SELECT derives from a column of the label."""
    for sides in _sides(spec):
        shared = sorted((sides.key_origins.columns & sides.label_origins.columns) - {ALL})
        if shared:
            yield (
                f"the SELECT derives both `split.key` and the label from `{shared[0]}`: a key that depends "
                "on the label makes comparisons meaningless"
            )


def _sides(spec: DatasetSpec) -> Iterator[_Sides]:
    if not isinstance(spec.split, ByHash):
        return
    query = spec.rows if spec.rows is not None else (spec.splits or {})[spec.divided or "train"]
    tree = syntax.parse(sql.source(query))
    key, label = syntax.reads(spec.split.key), syntax.reads(spec.label)
    yield _Sides(key, label, *(_origins(tree, side) for side in (key, label)))


def _origins(tree: syntax.Node | None, side: Reads) -> Reads:
    result = Reads()
    if tree is not None:
        for column in side.columns - {ALL}:
            result |= syntax.origins(tree, column)
    return result


def _mistakes(spec: DatasetSpec, sides: _Sides) -> Iterator[Mistake]:
    reads_all = ALL in sides.key.columns
    shared = [column for column in sorted(sides.label.columns - {ALL}) if sides.key.reads(column)]
    sources = sides.label_origins.columns & (sides.label_origins if reads_all else sides.key_origins).columns
    derived = [column for column in sorted(sources - {ALL}) if sides.key.reads(column)]
    for column in (shared or derived)[:1]:
        what = "which the label reads too" if shared else "from which the SELECT derives the label"
        message = f"the key reads `{column}`, {what}: rows would be split by their label"
        yield Mistake(message, PATH, _hint(spec, sorted({*sides.label.columns, *derived} - {ALL})))
    functions = sides.key.functions | sides.key_origins.functions
    for name in sorted(functions & VOLATILE):
        message = f"the key calls `{name}()`, which returns a different value every time"
        yield Mistake(message, PATH, _hint(spec))
    for name in sorted((functions | sides.key.columns) & CLOCK):
        yield Mistake(f"the key calls `{name}`, which depends on when it runs", PATH, _hint(spec))
    if sides.key.windows:
        message = "the key reads other rows; it must be a function of one row"
        yield Mistake(message, PATH, "make it a column of the SELECT")


def _hint(spec: DatasetSpec, label: Sequence[str] = ()) -> str:
    """Keys to use instead."""
    names = [name for name, group in spec.columns if not isinstance(group, Numeric)]
    names = names or [name for name, _ in spec.columns]
    listed = ", ".join(map(_name, names))
    if len(names) > NAMED and label:
        listed = f"*COLUMNS(* EXCLUDE ({', '.join(map(_name, label))}))"
    hint = f"hash the features instead, `key: 'row({listed})'`"
    person = next((name for name in names if PERSON.search(name)), None)
    if person is None or person == names[0] == names[-1]:
        return hint
    name = _name(person)
    scalar = name if name.isidentifier() else f"'{name}'"
    return f"{hint}; or one of them, to keep its rows in one split: `key: {scalar}`"


def _name(column: str) -> str:
    """A column as SQL in a single-quoted YAML string."""
    return column if column.isidentifier() else sql.identifier(column).replace("'", "''")
