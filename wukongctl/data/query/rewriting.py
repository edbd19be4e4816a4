"""A recipe's SELECT, written for one training file → the same transformation over any rows with its columns.

DuckDB parses the SELECT and writes it back, so nothing here guesses at text. On the way from the raw rows to
the result, whatever chooses or orders rows for training is taken out (WHERE, QUALIFY, DISTINCT, ORDER BY,
LIMIT, SAMPLE; inner joins become left joins), and whatever makes one row of several is refused: rows to be
scored come out as they went in, one for one.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from wukongctl.data.query import sql, syntax
from wukongctl.data.query.syntax import Node, nodes

RAW = "wukongctl_raw"
"""What stands for the raw rows in a rewritten SELECT…"""
ROW = "wukongctl_row"
"""… and the column that numbers them, at each level of nesting under a name of its own."""
READERS = {
    "read_csv": "csv",
    "read_csv_auto": "csv",
    "read_parquet": "parquet",
    "parquet_scan": "parquet",
    "read_json": "json",
    "read_json_auto": "json",
    "read_json_objects": "json",
    "read_ndjson": "json",
    "read_ndjson_auto": "json",
}
NO_MORE = "its rows do not correspond one to one to those of a file"
NAMED_FILE = re.compile(r'"(\{[^{}"]+\})"')
"""A placeholder that DuckDB has taken for the name of a table."""


class Unwritable(Exception):
    """Why a SELECT cannot be run row by row over another file."""


class Reader(NamedTuple):
    """The FROM item that reads the raw rows."""

    text: str
    """As SQL, with its placeholder."""
    kind: str
    """`csv`, `parquet`, `json`, or `` where only DuckDB knows."""
    options: Mapping[str, str]
    """Named arguments, in lower case → SQL of their values."""


@dataclass(frozen=True)
class Rewritten:
    """A SELECT over `RAW`, which keeps rows; numbered, its result has `number` (from `ROW` + `0`)."""

    reader: Reader
    plain: str
    numbered: str
    number: str
    filtered: str
    """Numbered, with everything left in that chooses rows: what training saw."""
    joins: bool

    def over(self, rows: str, *, text: str | None = None) -> str:
        """`plain`, or another of the texts, with the subquery `rows` for the raw rows."""
        return re.sub(rf"\b{RAW}\b", lambda _: f"(\n{rows}\n)", text or self.plain)


@dataclass
class _Path:
    """What is met between the result and the raw rows."""

    tree: Node
    levels: list[Node] = field(default_factory=list)
    """SELECTs from the outermost in."""
    joins: list[tuple[Node, str]] = field(default_factory=list)
    """Joins and the side on which the raw rows are."""
    holders: list[tuple[Node, str]] = field(default_factory=list)


def rewritten(query: str, source: int = 0) -> Rewritten:
    """`query` over its reader number `source`, counted from the left among those that can hold the rows.

    Raises Unwritable with the reason where rows would not come out one for one.
    """
    tree = _parse(query)
    leaves = list(_leaves(tree))
    if not leaves:
        raise Unwritable("it reads no file")
    if source >= len(leaves):
        raise Unwritable(NO_MORE)
    leaf = leaves[source]
    if isinstance(leaf, Unwritable):
        raise leaf
    reader = _reader(leaf)
    _require_once(tree, leaf)
    texts = [_written(tree, source, keep=keep, number=number) for keep, number in _VARIANTS]
    (plain, _), (numbered, name), (filtered, _) = texts
    return Rewritten(reader, plain, numbered, name, filtered, bool(leaf.path.joins))


_VARIANTS = ((False, False), (False, True), (True, True))


def is_plain(query: str) -> bool:
    """Whether `query` is `SELECT * FROM` one file and nothing else, so that it changes no value."""
    try:
        tree = _parse(query)
        rewritten(query)
    except Unwritable:
        return False
    plain = {"type": "STAR", "exclude_list": [], "replace_list": [], "rename_list": [], "columns": False}
    return not any(node.get("type") == "JOIN" for node in nodes(tree)) and all(
        node.get(key) == value for node in _select_lists(tree) for key, value in plain.items()
    )


def _select_lists(tree: Node) -> Iterator[Node]:
    for node in nodes(tree):
        if node.get("type") == "SELECT_NODE":
            yield from node["select_list"]


def _parse(query: str) -> Node:
    text = query.strip().rstrip(";")
    tree = json.loads(_asked("SELECT json_serialize_sql(?)", text))
    if tree["error"] or len(tree["statements"]) != 1:
        raise Unwritable("it is not a single SELECT")
    return tree


def _text(tree: Node) -> str:
    text = _asked("SELECT json_deserialize_sql(?::JSON)", json.dumps(tree))
    return NAMED_FILE.sub(r"'\1'", text)


def _asked(question: str, text: str) -> str:
    try:
        return syntax.value_of(question, text)
    except duckdb.Error as error:
        raise Unwritable("this version of DuckDB cannot parse it") from error


class _Leaf(NamedTuple):
    """A reader, the place that holds it, and what lies between it and the result."""

    node: Node
    path: _Path


def _leaves(tree: Node) -> Iterator[_Leaf | Unwritable]:
    """The readers that may hold the rows, from the left; the first obstacle on the way ends a branch."""
    root = tree["statements"][0]
    yield from _in_query(root, "node", {}, _Path(tree))


def _in_query(holder: Node, key: str, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | Unwritable]:
    node = holder[key]
    if node["type"] != "SELECT_NODE":
        name = node.get("setop_type", "WITH RECURSIVE" if "RECURSIVE" in node["type"] else node["type"])
        yield Unwritable(f"it combines rows with {name}")
        return
    if node["group_expressions"] or node["group_sets"] or node["aggregate_handling"] != "STANDARD_HANDLING":
        yield Unwritable("it groups rows")
        return
    known = {**ctes, **{entry["key"].lower(): entry["value"] for entry in node["cte_map"]["map"]}}
    below = _Path(path.tree, [*path.levels, node], path.joins, path.holders)
    yield from _in_table(node, "from_table", known, below)


def _in_table(holder: Node, key: str, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | Unwritable]:
    table = holder[key]
    here = _Path(path.tree, path.levels, path.joins, [*path.holders, (holder, key)])
    match table["type"]:
        case "JOIN":
            yield from _in_join(table, ctes, here)
        case "SUBQUERY":
            yield from _in_query(table["subquery"], "node", ctes, here)
        case "BASE_TABLE" if table["table_name"].lower() in ctes:
            name = table["table_name"].lower()
            rest = {other: value for other, value in ctes.items() if other != name}
            yield from _in_query(ctes[name], "query_node", rest, here)
        case "BASE_TABLE":
            yield _Leaf(table, here)
        case "TABLE_FUNCTION" if table["function"]["function_name"] in READERS:
            yield _Leaf(table, here)
        case other:
            yield Unwritable(f"its rows come from {other.replace('_', ' ').lower()}, not from a file")


def _in_join(join: Node, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | Unwritable]:
    sides = {"INNER": ("left", "right"), "RIGHT": ("right",)}.get(join["join_type"], ("left",))
    if join["join_type"] == "OUTER" or join["ref_type"] == "POSITIONAL":
        yield Unwritable("its join adds rows")
        return
    for side in sides:
        yield from _in_table(
            join, side, ctes, _Path(path.tree, path.levels, [*path.joins, (join, side)], path.holders)
        )


def _reader(leaf: _Leaf) -> Reader:
    node, (holder, key) = leaf.node, leaf.path.holders[-1]
    text = _text(_bare(holder[key])).removeprefix("SELECT * FROM ")
    if node["type"] == "BASE_TABLE":
        return Reader(text, "", {})
    function = node["function"]
    options = {}
    for name, value in map(_argument, function["arguments"][1:]):
        options[name] = _text(_bare(None, {**value, "alias": ""})).removeprefix("SELECT ")
    return Reader(text, READERS[function["function_name"]], options)


def _argument(argument: Node) -> tuple[str, Node]:
    """Name and value of `name = value` or `name => value`."""
    expression = argument["expression"]
    if argument["name"] or expression["type"] != "COMPARE_EQUAL":
        return argument["name"].lower(), expression
    return expression["left"]["column_names"][-1].lower(), expression["right"]


def _bare(table: Node | None, expression: Node | None = None) -> Node:
    """The tree of `SELECT * FROM table`, or of `SELECT expression`."""
    tree = copy.deepcopy(_parse("SELECT * FROM t" if table is not None else "SELECT 1"))
    node = tree["statements"][0]["node"]
    if table is not None:
        node["from_table"] = {**table, "alias": "", "sample": None}
    if expression is not None:
        node["select_list"] = [expression]
    return tree


def _require_once(tree: Node, leaf: _Leaf) -> None:
    """Unwritable where the file of `leaf` is read in two places: a row's values then depend on other rows."""
    mine = _files(leaf.node)
    readers = [node for node in nodes(tree) if node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION")]
    if sum(bool(mine & _files(node)) for node in readers) > 1:
        raise Unwritable("it reads the raw file more than once")
    keys = [node["key"] for node in nodes(tree) if {"key", "value"} == node.keys()]
    named = [key.lower() for key in keys if isinstance(key, str)]  # that of RENAME is an object
    for name in named:
        uses = sum(node.get("table_name", "").lower() == name for node in readers)
        through = any(holder[key].get("table_name", "").lower() == name for holder, key in leaf.path.holders)
        if through and uses > 1:
            raise Unwritable(f"it reads `{name}` more than once")


def _files(node: Node) -> set[str]:
    """What a reader reads: texts of its first argument, or its name."""
    if node["type"] == "BASE_TABLE":
        return {node["table_name"]}
    arguments = node["function"]["arguments"][:1]
    return {inner["text"] for inner in nodes(arguments) if inner.get("kind") == "STRING"}


def _written(tree: Node, source: int, *, keep: bool, number: bool) -> tuple[str, str]:
    """The SELECT over `RAW` as text, and the name of the column with row numbers."""
    tree = copy.deepcopy(tree)
    leaf = list(_leaves(tree))[source]
    assert isinstance(leaf, _Leaf)
    if not keep:
        _loosen(leaf.path)
    name = _number(leaf.path) if number else ""
    holder, key = leaf.path.holders[-1]
    function = leaf.node.get("function", {}).get("function_name", "")
    base = copy.deepcopy(_parse(f"SELECT * FROM {RAW} AS alias")["statements"][0]["node"]["from_table"])
    table = leaf.node.get("table_name", "")
    base["alias"] = leaf.node["alias"] or function or (table if table.isidentifier() else ROW)
    base["column_name_alias"] = leaf.node["column_name_alias"]
    holder[key] = base
    return _text(tree), name


def _loosen(path: _Path) -> None:
    """Take out what chooses or orders rows."""
    for node in path.levels:
        inner = [join for join, _ in path.joins if join["ref_type"] == "CROSS"]
        if not inner:  # else its condition is in WHERE
            node["where_clause"] = None
        node["qualify"] = node["sample"] = None
        node["modifiers"] = []
    for join, side in path.joins:
        if join["ref_type"] != "CROSS" and join["join_type"] == "INNER":
            join["join_type"] = side.upper()
    for holder, key in path.holders:
        holder[key]["sample"] = None
        if holder[key].get("join_type") in ("SEMI", "ANTI"):
            holder[key] = holder[key]["left"]


def _number(path: _Path) -> str:
    """Hand the number of each raw row from level to level; its name in the result."""
    column = copy.deepcopy(_parse(f"SELECT {ROW} AS alias")["statements"][0]["node"]["select_list"][0])
    for depth, node in enumerate(reversed(path.levels)):
        for star in (inner for inner in nodes(node["select_list"]) if inner.get("type") == "STAR"):
            if star["expr"] is None and not star["relation_name"]:
                star["exclude_list"] = [*star["exclude_list"], f"{ROW}{depth}"]
        node["select_list"].append(
            {**column, "column_names": [f"{ROW}{depth}"], "alias": f"{ROW}{depth + 1}"}
        )
    return f"{ROW}{len(path.levels)}"


def numbered(rows: str) -> str:
    """`rows` with their numbers, from 1, as a numbered SELECT wants them."""
    return f"SELECT *, row_number() OVER () AS {ROW}0 FROM (\n{rows}\n)"


def identifiers(names: list[str]) -> str:
    """Names as a list of columns."""
    return ", ".join(map(sql.identifier, names))
