"""Values with named parts, as structs or as JSON in text, and the SQL that makes columns of the parts."""

from typing import NamedTuple

from wukongctl.data.drafting.counting import LOOKED_AT, ValueCounts
from wukongctl.data.drafting.profile import Column
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

SAMPLE = 1000
"""Rows looked at."""
LEAST_SHARE = 0.95
"""Values that must be objects."""
SHOWN = 6
"""Parts that a remark shows."""
DEPTH = 3


class ObjectField(NamedTuple):
    """A part of an object: how it is called, and the SQL that gives it."""

    name: str
    expression: str


def remark(counts: ValueCounts, column: Column) -> str | None:
    """What to say of a column of objects; None for another."""
    parts = _parts(counts.engine, column)
    if not parts:
        return None
    selected = ", ".join(f"{part.expression} AS {sql.identifier(part.name)}" for part in parts[:SHOWN])
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    what = "lists of objects" if column.type.endswith("]") else "objects"
    return f"`{column.name}` holds {what}: for features of their parts{more} select `*, {selected}`"


def _parts(engine: Engine, column: Column) -> list[ObjectField]:
    name = sql.identifier(column.name)
    if column.type.startswith("STRUCT"):
        return _of(engine, column.name, name, column.type)
    if column.type.startswith("MAP(VARCHAR"):
        keys = f"unnest(map_keys({name}))"
        return [
            ObjectField(f"{column.name}_{key}", f"{name}[{sql.literal(key)}]")
            for key in _keys(engine, keys, column)
        ]
    if column.type in ("JSON", "VARCHAR") and _are_objects(engine, column):
        keys = f"unnest(json_keys(TRY_CAST({name} AS JSON)))"
        text = f"CAST({name} AS JSON)" if column.type == "JSON" else f"TRY_CAST({name} AS JSON)"
        return [
            ObjectField(f"{column.name}_{key}", f"json_extract_string({text}, {sql.literal(_path(key))})")
            for key in _keys(engine, keys, column)
        ]
    return []


def _of(engine: Engine, name: str, expression: str, kind: str, depth: int = DEPTH) -> list[ObjectField]:
    """The parts of a struct, of those in it too; of a list of structs, a list of each part."""
    found: list[ObjectField] = []
    if kind.endswith("]"):
        inner = engine.types(f"SELECT unnest(({expression})[1]) FROM {LOOKED_AT}")
        return [
            ObjectField(f"{name}_{key}", f"list_transform({expression}, lambda x: x.{sql.identifier(key)})")
            for key, part in inner.items()
            if not sql.NESTED.search(part)
        ]
    for key, part in engine.types(f"SELECT unnest({expression}) FROM {LOOKED_AT}").items():
        value = f"{expression}.{sql.identifier(key)}"
        if part.startswith("STRUCT") and depth:
            found += _of(engine, f"{name}_{key}", value, part, depth - 1)
        elif not part.startswith("MAP"):
            found.append(ObjectField(f"{name}_{key}", value))
    return found


def _are_objects(engine: Engine, column: Column) -> bool:
    """Whether nearly all texts are JSON objects."""
    text = f"CAST({sql.identifier(column.name)} AS VARCHAR)"
    some = f"SELECT {text} AS t FROM {LOOKED_AT} WHERE trim({text}) <> '' LIMIT {SAMPLE}"
    is_object = "starts_with(trim(t), '{') AND json_type(TRY_CAST(t AS JSON)) = 'OBJECT'"
    ((rows, objects),) = engine.rows(f"SELECT count(*), count(*) FILTER ({is_object}) FROM ({some})")
    return 0 < LEAST_SHARE * rows <= objects


def _keys(engine: Engine, keys: str, column: Column) -> list[str]:
    """Names of parts, the most frequent first."""
    rows = f"SELECT {sql.identifier(column.name)} FROM {LOOKED_AT} LIMIT {SAMPLE}"
    query = f"SELECT k, count(*) AS n FROM (SELECT {keys} AS k FROM ({rows})) GROUP BY k ORDER BY n DESC, k"
    return [str(key) for key, _ in engine.rows(query)]


def _path(key: str) -> str:
    return '$."' + key.replace('"', '\\"') + '"'
