"""A recipe's SELECT over its training file → the same transformation over any rows with its columns.

DuckDB parses the SELECT and writes it back. What selects or orders rows for training is removed (WHERE,
QUALIFY, DISTINCT, ORDER BY, LIMIT, SAMPLE; inner joins become left joins), and what combines several rows is
refused: each row to be scored must come out exactly once.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import duckdb

from wukongctl.data.query import sql, syntax
from wukongctl.data.query.syntax import Node, nodes

RAW = "wukongctl_raw"
"""The table of raw rows in a rewritten SELECT."""
ROW = "wukongctl_row"
"""The column of their numbers, followed by the level of nesting."""
FileKind = Literal["csv", "parquet", "json"]
READERS: dict[str, FileKind] = {
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
JSON = (".json", ".jsonl", ".ndjson")
WINDOWS = frozenset({"WINDOW", "STREAMING_WINDOW"})
"""Operators that read other rows."""
NOT_ONE_TO_ONE = "its rows do not correspond one to one to those of a file"
NAMED_FILE = re.compile(r'"(\{[^{}"]+\})"')
"""A placeholder that DuckDB wrote as the name of a table."""


class NotRowByRow(Exception):
    """The reason why a SELECT cannot be run row by row over another file."""


class Reader(NamedTuple):
    """The FROM item that reads the raw rows."""

    text: str
    """SQL with its placeholder."""
    kind: FileKind
    options: Mapping[str, str]
    """Name of each named argument in lower case → SQL of its value."""


@dataclass(frozen=True)
class Rewritten:
    """A SELECT over `RAW` that keeps all rows."""

    reader: Reader
    plain: str
    numbered: str
    """The same with row numbers: the column `ROW` + `0` of `RAW`, as `number`."""
    number: str
    filtered: str
    """With row numbers, and with everything that selects rows: what training saw."""
    joins: bool

    def over(self, rows: str, *, text: str | None = None) -> str:
        """`plain`, or another of the texts, over the subquery `rows`."""
        return re.sub(rf"\b{RAW}\b", lambda _: f"(\n{rows}\n)", text or self.plain)


@dataclass
class _Path:
    """What is between the result and the raw rows."""

    levels: list[Node] = field(default_factory=list)
    """SELECTs from the outside in."""
    joins: list[tuple[Node, str]] = field(default_factory=list)
    """Joins, with the side of the raw rows."""
    holders: list[tuple[Node, str]] = field(default_factory=list)
    """Nodes, with the key of the next one."""


def rewritten(query: str, source: int = 0) -> Rewritten:
    """`query` over its reader number `source`, counted from the left among those that may read the rows.

    Raises NotRowByRow with the reason where rows would not come out one to one.
    """
    tree = _parse(query)
    leaves = list(_leaves(tree))
    if not leaves:
        raise NotRowByRow("it reads no file")
    if source >= len(leaves):
        raise NotRowByRow(NOT_ONE_TO_ONE)
    leaf = leaves[source]
    if isinstance(leaf, NotRowByRow):
        raise leaf
    reader = _reader(leaf)
    _require_once(tree, leaf)
    plain, _ = _written(tree, source, keep=False, number=False)
    numbered, name = _written(tree, source, keep=False, number=True)
    filtered, _ = _written(tree, source, keep=True, number=True)
    return Rewritten(reader, plain, numbered, name, filtered, bool(leaf.path.joins))


def is_plain(query: str) -> bool:
    """Whether `query` is just `SELECT * FROM` one file."""
    try:
        tree = _parse(query)
        rewritten(query)
    except NotRowByRow:
        return False
    star = {"type": "STAR", "exclude_list": [], "replace_list": [], "rename_list": [], "columns": False}
    selects = [node for node in nodes(tree) if node.get("type") == "SELECT_NODE"]
    items = [item for node in selects for item in node["select_list"]]
    return not any(node.get("type") == "JOIN" for node in nodes(tree)) and all(
        item.get(key) == value for item in items for key, value in star.items()
    )


def _parse(query: str) -> Node:
    text = query.strip().rstrip(";")
    tree = json.loads(_value("SELECT json_serialize_sql(?)", text))
    if tree["error"] or len(tree["statements"]) != 1:
        raise NotRowByRow("it is not a single SELECT")
    return tree


def _text(tree: Node) -> str:
    return NAMED_FILE.sub(r"'\1'", _value("SELECT json_deserialize_sql(?::JSON)", json.dumps(tree)))


def _value(select: str, parameter: str) -> str:
    try:
        return syntax.value_of(select, parameter)
    except duckdb.Error as error:
        raise NotRowByRow("this version of DuckDB cannot parse it") from error


class _Leaf(NamedTuple):
    """A reader, and what is between it and the result."""

    node: Node
    path: _Path


def _leaves(tree: Node) -> Iterator[_Leaf | NotRowByRow]:
    """The readers that may read the rows, from the left; the first obstacle ends a branch."""
    yield from _in_query(tree["statements"][0], "node", {}, _Path())


def _in_query(holder: Node, key: str, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | NotRowByRow]:
    node = holder[key]
    if node["type"] != "SELECT_NODE":
        name = node.get("setop_type", "WITH RECURSIVE" if "RECURSIVE" in node["type"] else node["type"])
        yield NotRowByRow(f"it combines rows with {name}")
        return
    if node["group_expressions"] or node["group_sets"] or node["aggregate_handling"] != "STANDARD_HANDLING":
        yield NotRowByRow("it groups rows")
        return
    known = {**ctes, **{entry["key"].lower(): entry["value"] for entry in node["cte_map"]["map"]}}
    yield from _in_table(node, "from_table", known, replace(path, levels=[*path.levels, node]))


def _in_table(holder: Node, key: str, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | NotRowByRow]:
    table = holder[key]
    here = replace(path, holders=[*path.holders, (holder, key)])
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
            yield NotRowByRow(f"its rows come from {other.replace('_', ' ').lower()}, not from a file")


def _in_join(join: Node, ctes: Mapping[str, Node], path: _Path) -> Iterator[_Leaf | NotRowByRow]:
    sides = {"INNER": ("left", "right"), "RIGHT": ("right",)}.get(join["join_type"], ("left",))
    if join["join_type"] == "OUTER" or join["ref_type"] == "POSITIONAL":
        yield NotRowByRow("its join adds rows")
        return
    for side in sides:
        yield from _in_table(join, side, ctes, replace(path, joins=[*path.joins, (join, side)]))


def _reader(leaf: _Leaf) -> Reader:
    node, (holder, key) = leaf.node, leaf.path.holders[-1]
    tree = _parse("SELECT * FROM t")
    tree["statements"][0]["node"]["from_table"] = {**holder[key], "alias": "", "sample": None}
    text = _text(tree).removeprefix("SELECT * FROM ")
    if node["type"] == "BASE_TABLE":
        return Reader(text, _kind_of_files(sql.PLACEHOLDER.findall(text)), {})
    function = node["function"]
    return Reader(text, READERS[function["function_name"]], dict(map(_argument, function["arguments"][1:])))


def _kind_of_files(names: list[str]) -> FileKind:
    name = names[0].lower().removesuffix(".gz").removesuffix(".zst") if names else ""
    if name.endswith(".parquet"):
        return "parquet"
    return "json" if name.endswith(JSON) else "csv"


def _argument(argument: Node) -> tuple[str, str]:
    """Lower-case name and SQL of the value of `name = value` or `name => value`."""
    name, value = argument["name"], argument["expression"]
    if not name and value["type"] == "COMPARE_EQUAL":
        name, value = value["left"]["column_names"][-1], value["right"]
    tree = _parse("SELECT 1")
    tree["statements"][0]["node"]["select_list"] = [{**value, "alias": ""}]
    return name.lower(), _text(tree).removeprefix("SELECT ")


def _require_once(tree: Node, leaf: _Leaf) -> None:
    """NotRowByRow if the file of `leaf` is read twice: a row's values may then depend on other rows."""
    files = _files(leaf.node)
    readers = [node for node in nodes(tree) if node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION")]
    if sum(bool(files & _files(node)) for node in readers) > 1:
        raise NotRowByRow("it reads the raw file more than once")
    keys = [node["key"] for node in nodes(tree) if {"key", "value"} == node.keys()]
    ctes = [key.lower() for key in keys if isinstance(key, str)]  # the key of RENAME is an object
    for name in ctes:
        uses = sum(node.get("table_name", "").lower() == name for node in readers)
        if uses > 1 and any(h[key].get("table_name", "").lower() == name for h, key in leaf.path.holders):
            raise NotRowByRow(f"it reads `{name}` more than once")


def _files(node: Node) -> set[str]:
    """The files of a reader: the texts of its first argument, or its name."""
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
        _keep_all_rows(leaf.path)
    name = _number(leaf.path) if number else ""
    holder, key = leaf.path.holders[-1]
    function = leaf.node.get("function", {}).get("function_name", "")
    base = _parse(f"SELECT * FROM {RAW} AS alias")["statements"][0]["node"]["from_table"]
    table = leaf.node.get("table_name", "")
    base["alias"] = leaf.node["alias"] or function or (table if table.isidentifier() else ROW)
    base["column_name_alias"] = leaf.node["column_name_alias"]
    holder[key] = base
    return _text(tree), name


def _keep_all_rows(path: _Path) -> None:
    """Remove what selects or orders rows."""
    for node in path.levels:
        inner = [join for join, _ in path.joins if join["ref_type"] == "CROSS"]
        if not inner:  # whose condition is in WHERE
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
    """Add the number of each raw row to all levels; its name in the result."""
    column = _parse(f"SELECT {ROW} AS alias")["statements"][0]["node"]["select_list"][0]
    for depth, node in enumerate(reversed(path.levels)):
        for star in (inner for inner in nodes(node["select_list"]) if inner.get("type") == "STAR"):
            if star["expr"] is None and not star["relation_name"]:
                star["exclude_list"] = [*star["exclude_list"], f"{ROW}{depth}"]
        node["select_list"].append(
            {**column, "column_names": [f"{ROW}{depth}"], "alias": f"{ROW}{depth + 1}"}
        )
    return f"{ROW}{len(path.levels)}"


def numbered(rows: str) -> str:
    """`rows` with the numbers, from 1, that a numbered SELECT reads."""
    return f"SELECT *, row_number() OVER () AS {ROW}0 FROM (\n{rows}\n)"


def identifiers(names: list[str]) -> str:
    """Names as a list of columns."""
    return ", ".join(map(sql.identifier, names))
