"""Structs, maps and JSON objects, and the SQL that selects their fields."""

from typing import NamedTuple

from wukongctl.data.drafting.counting import MEASURED, ValueCounts
from wukongctl.data.drafting.profile import Column
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

SAMPLE = 1000
"""Rows sampled."""
LEAST_SHARE = 0.95
"""Least share of values that are objects."""
SHOWN = 6
"""Fields in a remark."""
DEPTH = 3


class ObjectField(NamedTuple):
    """A field: the name of its column, and the SQL that selects it."""

    name: str
    expression: str


def remark(counts: ValueCounts, column: Column) -> str | None:
    """The remark on a column of objects; None for any other column."""
    fields = _fields(counts.engine, column)
    if not fields:
        return None
    selected = ", ".join(f"{part.expression} AS {sql.identifier(part.name)}" for part in fields[:SHOWN])
    more = f" ({SHOWN} of {len(fields)})" if len(fields) > SHOWN else ""
    what = "lists of objects" if column.type.endswith("]") else "objects"
    return f"`{column.name}` holds {what}: to use their fields{more} as features, select `*, {selected}`"


def _fields(engine: Engine, column: Column) -> list[ObjectField]:
    name = sql.identifier(column.name)
    if column.type.startswith("STRUCT"):
        return _struct_fields(engine, column.name, name, column.type)
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


def _struct_fields(
    engine: Engine, name: str, expression: str, kind: str, depth: int = DEPTH
) -> list[ObjectField]:
    """The fields of a struct and of structs inside it; for a list of structs, a list per field."""
    found: list[ObjectField] = []
    if kind.endswith("]"):
        inner = engine.types(f"SELECT unnest(({expression})[1]) FROM {MEASURED}")
        return [
            ObjectField(f"{name}_{key}", f"list_transform({expression}, lambda x: x.{sql.identifier(key)})")
            for key, part in inner.items()
            if not sql.NESTED.search(part)
        ]
    for key, part in engine.types(f"SELECT unnest({expression}) FROM {MEASURED}").items():
        value = f"{expression}.{sql.identifier(key)}"
        if part.startswith("STRUCT") and depth:
            found += _struct_fields(engine, f"{name}_{key}", value, part, depth - 1)
        elif not part.startswith("MAP"):
            found.append(ObjectField(f"{name}_{key}", value))
    return found


def _are_objects(engine: Engine, column: Column) -> bool:
    """Whether nearly all texts are JSON objects."""
    text = f"CAST({sql.identifier(column.name)} AS VARCHAR)"
    sample = f"SELECT {text} AS t FROM {MEASURED} WHERE trim({text}) <> '' LIMIT {SAMPLE}"
    is_object = "starts_with(trim(t), '{') AND json_type(TRY_CAST(t AS JSON)) = 'OBJECT'"
    ((rows, objects),) = engine.rows(f"SELECT count(*), count(*) FILTER ({is_object}) FROM ({sample})")
    return 0 < LEAST_SHARE * rows <= objects


def _keys(engine: Engine, keys: str, column: Column) -> list[str]:
    """Names of fields, the most frequent first."""
    rows = f"SELECT {sql.identifier(column.name)} FROM {MEASURED} LIMIT {SAMPLE}"
    query = f"SELECT k, count(*) AS n FROM (SELECT {keys} AS k FROM ({rows})) GROUP BY k ORDER BY n DESC, k"
    return [str(key) for key, _ in engine.rows(query)]


def _path(key: str) -> str:
    return '$."' + key.replace('"', '\\"') + '"'
