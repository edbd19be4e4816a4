"""Remarks on joins that repeat rows, because a key occurs twice, or that drop many, as inner joins do, and on
rows in no particular order.

Only joins of two files by equal columns are checked: all keys of the joined table, and the first rows of the
table that it is joined to.
"""

from collections.abc import Iterator
from typing import NamedTuple

from wukongctl.data.query import sql, syntax
from wukongctl.data.query.engine import Engine
from wukongctl.errors import WukongError

CHECKED_ROWS = 100_000
"""Rows that are checked for a match in the joined table."""
MAX_DROPPED = 0.5
KINDS = ("LEFT", "INNER")
UNORDERED = (
    "the SELECT joins or groups rows without an `ORDER BY`: their order, and with it the fingerprint, may "
    "differ each time; end it with one, for example `ORDER BY ALL`"
)


class _Join(NamedTuple):
    """The table `side` joined to `rows`, both FROM items, by pairs of their columns."""

    rows: str
    side: str
    pairs: tuple[tuple[str, str], ...]
    is_inner: bool


def notes(engine: Engine, query: str) -> Iterator[str]:
    """Remarks on the joins and the order of `query`."""
    tree = syntax.parse(query)
    if tree is None:
        return
    if _is_unordered(tree):
        yield UNORDERED
    for join in _joins(query, tree):
        try:
            yield from _doubled(engine, join)
            yield from _dropped(engine, join)
        except WukongError:  # reported for the whole SELECT
            continue


def _is_unordered(tree: syntax.Node) -> bool:
    """Whether DuckDB's threads may return rows in any order, as of joins, groups and windows."""
    mixes = ordered = False
    for node in syntax.nodes(tree):
        changed = {modifier["type"] for modifier in node.get("modifiers", ())}
        ordered |= "ORDER_MODIFIER" in changed
        mixes |= node.get("type") == "JOIN" or "DISTINCT_MODIFIER" in changed
        mixes |= node.get("aggregate_handling") == "FORCE_AGGREGATES"  # GROUP BY ALL
        mixes |= bool(node.get("group_expressions") or node.get("partitions"))
    return mixes and not ordered


def _doubled(engine: Engine, join: _Join) -> Iterator[str]:
    columns = [column for _, column in join.pairs]
    keys = ", ".join(map(sql.identifier, columns))
    known = " AND ".join(f"{sql.identifier(column)} IS NOT NULL" for column in columns)
    counted = f"SELECT {keys}, count(*) AS times FROM {join.side} WHERE {known} GROUP BY ALL HAVING times > 1"
    ((repeated, most),) = engine.rows(f"SELECT count(*), coalesce(max(times), 0) FROM ({counted})")
    if repeated:
        names = ", ".join(f"`{column}`" for column in columns)
        yield (
            f"{repeated:,} keys {names} occur more than once in {_named(join.side)}, up to {most:,} times, "
            "so the join repeats rows; if that is not intended, join `(SELECT DISTINCT …)` or one row per key"
        )


def _dropped(engine: Engine, join: _Join) -> Iterator[str]:
    if not join.is_inner:
        return
    left, right = (
        ", ".join(f"{sql.identifier(column)} AS k{i}" for i, column in enumerate(side))
        for side in zip(*join.pairs, strict=True)
    )
    rows = f"SELECT {left} FROM {join.rows} LIMIT {CHECKED_ROWS}"
    using = ", ".join(f"k{i}" for i in range(len(join.pairs)))
    unmatched = f"SELECT count(*) FROM ({rows}) ANTI JOIN (SELECT {right} FROM {join.side}) USING ({using})"
    ((total,),) = engine.rows(f"SELECT count(*) FROM ({rows})")
    ((missing,),) = engine.rows(unmatched)
    if total and missing >= MAX_DROPPED * total:
        yield (
            f"{missing:,} of the first {total:,} rows of {_named(join.rows)} have no match in "
            f"{_named(join.side)}: the inner join drops them; `LEFT JOIN` keeps them"
        )


def _joins(query: str, tree: syntax.Node) -> Iterator[_Join]:
    for node in syntax.nodes(tree):
        if node.get("type") != "JOIN" or node.get("join_type") not in KINDS:
            continue
        left, right = _leftmost(node["left"]), node["right"]
        if left["type"] == right["type"] == "TABLE_FUNCTION":
            pairs = tuple(_pairs(node, right.get("alias", "").lower()))
            if pairs:
                inner = node["join_type"] == "INNER"
                yield _Join(_text(query, left), _text(query, right), pairs, inner)


def _leftmost(table: syntax.Node) -> syntax.Node:
    return _leftmost(table["left"]) if table["type"] == "JOIN" else table


def _pairs(join: syntax.Node, alias: str) -> Iterator[tuple[str, str]]:
    """The columns that must be equal, that of the joined table second; empty for other conditions."""
    if "using_columns" in join:
        yield from ((name, name) for name in join["using_columns"])
        return
    condition = join.get("condition", {})
    parts = condition.get("children", [condition])
    found = []
    for part in parts:
        sides = [part.get("left", {}).get("column_names", ()), part.get("right", {}).get("column_names", ())]
        owned = [len(names) == 2 and names[0].lower() == alias for names in sides]
        if part.get("type") != "COMPARE_EQUAL" or sorted(owned) != [False, True] or not all(sides):
            return
        first, second = (sides[0], sides[1]) if owned[1] else (sides[1], sides[0])
        found.append((first[-1], second[-1]))
    yield from found


def _text(query: str, table: syntax.Node) -> str:
    """The text of a table function in the query; DuckDB counts bytes."""
    start = table["query_location"]
    return query.encode()[start : start + table["query_location_length"]].decode()


def _named(table: str) -> str:
    names = sql.PLACEHOLDER.findall(table)
    return f"`{names[0]}`" if names else "the joined table"
