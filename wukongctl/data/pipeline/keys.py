"""The key of a split by hash: a function of its row alone, in which the label has no part.

A key that holds the label sends rows that differ in nothing else to different splits: what train says of such
rows is then the opposite of what the other splits say.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wukongctl.config.dataset import ByHash, DatasetSpec, Numeric
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.query import sql, syntax
from wukongctl.data.query.syntax import ALL, CLOCK, VOLATILE, Reads

PLACE = ("split", "key")
NAMED = 6
"""Features that a hint names; of more, it names what to leave out."""
PERSON = re.compile(r"user|session|visitor|customer|client|patient|member|account|household|cookie", re.I)
"""What often comes in many rows that belong together."""


class _Sides(NamedTuple):
    """The key and the label: what they read of the SELECT, and what that is made of."""

    key: Reads
    label: Reads
    key_origins: Reads
    label_origins: Reads


def require(spec: DatasetSpec) -> None:
    """Mismatch for a key that reads what the label reads, or that is not a function of its row."""
    if mistakes := [mistake for sides in _sides(spec) for mistake in _mistakes(spec, sides)]:
        raise Mismatch(mistakes[:1])


def notes(spec: DatasetSpec) -> Iterator[str]:
    """A warning for a key that the SELECT makes of what it makes the label of."""
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
    whole = ALL in sides.key.columns
    shared = [column for column in sorted(sides.label.columns - {ALL}) if sides.key.reads(column)]
    sources = sides.label_origins.columns & (sides.label_origins if whole else sides.key_origins).columns
    made = [column for column in sorted(sources - {ALL}) if sides.key.reads(column)]
    for column in (shared or made)[:1]:
        what = "which the label reads too" if shared else "from which the SELECT derives the label"
        said = f"the key reads `{column}`, {what}: rows would be split by their label"
        yield Mistake(said, PLACE, _hint(spec, sorted({*sides.label.columns, *made} - {ALL})))
    functions = sides.key.functions | sides.key_origins.functions
    for name in sorted(functions & VOLATILE):
        said = f"the key calls `{name}()`, which returns a different value every time"
        yield Mistake(said, PLACE, _hint(spec))
    for name in sorted((functions | sides.key.columns) & CLOCK):
        yield Mistake(f"the key calls `{name}`, which depends on when it runs", PLACE, _hint(spec))
    if sides.key.windows:
        said = "the key reads other rows; it must be a function of one row"
        yield Mistake(said, PLACE, "make it a column of the SELECT")


def _hint(spec: DatasetSpec, label: Sequence[str] = ()) -> str:
    """Keys to type instead."""
    names = [name for name, group in spec.columns if not isinstance(group, Numeric)]
    names = names or [name for name, _ in spec.columns]
    listed = ", ".join(map(_name, names))
    if len(names) > NAMED and label:
        listed = f"*COLUMNS(* EXCLUDE ({', '.join(map(_name, label))}))"
    said = f"hash the features instead, `key: 'row({listed})'`"
    person = next((name for name in names if PERSON.search(name)), None)
    if person is None or person == names[0] == names[-1]:
        return said
    name = _name(person)
    scalar = name if name.isidentifier() else f"'{name}'"
    return f"{said}; or one of them, to keep its rows in one split: `key: {scalar}`"


def _name(column: str) -> str:
    """A column as SQL inside a single-quoted text of YAML."""
    return column if column.isidentifier() else sql.identifier(column).replace("'", "''")
