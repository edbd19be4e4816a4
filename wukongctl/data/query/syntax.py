"""SQL analysed with DuckDB's own parser: the columns and functions of an expression, and where a column of a
SELECT comes from. Nothing is bound or run, so no file needs to exist.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, reduce
from operator import or_
from typing import Any, NamedTuple

import duckdb

ALL = "*"
"""Columns that only the data could name: those of `*`, `COLUMNS(…)` or `#1`."""
VOLATILE = frozenset({"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval", "currval"})
CLOCK = frozenset(
    {
        "now",
        "today",
        "current_date",
        "current_time",
        "current_timestamp",
        "current_localtime",
        "current_localtimestamp",
        "get_current_time",
        "get_current_timestamp",
        "localtime",
        "localtimestamp",
        "transaction_timestamp",
    }
)
TEXT = frozenset({"VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR"})
JOINING = frozenset({"concat", "concat_ws", "||", "format", "printf"})
"""Functions of the text of their arguments."""
SERIALIZED = "SELECT json_serialize_sql($1, skip_empty := true, skip_null := true, skip_default := true)"
Node = dict[str, Any]


class Reads(NamedTuple):
    """What an expression reads. Names are in lower case."""

    columns: frozenset[str] = frozenset()
    """With `ALL` for stars."""
    excluded: frozenset[str] = frozenset()
    """Columns that every star excludes."""
    functions: frozenset[str] = frozenset()
    windows: bool = False
    """Whether it reads other rows."""
    plain: frozenset[str] = frozenset()
    """Columns that it returns unchanged."""

    def reads(self, column: str) -> bool:
        """Whether it reads `column`, or may."""
        return column in self.columns or (ALL in self.columns and column not in self.excluded)

    def __or__(self, other: "Reads") -> "Reads":
        both = [reads.excluded for reads in (self, other) if ALL in reads.columns]
        return Reads(
            self.columns | other.columns,
            frozenset.intersection(*both) if both else frozenset(),
            self.functions | other.functions,
            self.windows or other.windows,
            self.plain | other.plain,
        )


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def value_of(select: str, parameter: str) -> str:
    """The one value that a SELECT without tables returns for its `parameter`."""
    ((value,),) = _parser().cursor().execute(select, [parameter]).fetchall()
    return value


def parse(query: str) -> Node | None:
    """The tree of one SELECT; None for other text, which fails with a better message when it runs."""
    parsed = json.loads(value_of(SERIALIZED, query))
    return None if parsed["error"] or len(parsed["statements"]) != 1 else parsed["statements"][0]["node"]


def reads(text: str) -> Reads:
    """What an expression reads; nothing if it cannot be parsed."""
    return _reads(expression(text))


def origins(tree: Node, column: str) -> Reads:
    """The columns and functions from which a SELECT derives a `column`, given in lower case."""
    return _Lineage({}).of(tree, column)


def read_as_text(value: Any) -> frozenset[str]:
    """Columns whose text a tree reads: those it concatenates or casts to VARCHAR."""
    found: set[str] = set()
    for node in nodes(value):
        if node.get("class") == "CAST" and node["type_expr"].get("type_name", "").upper() in TEXT:
            found |= _named([node["child"]])
        elif node.get("class") == "FUNCTION" and node["function_name"].lower() in JOINING:
            found |= _named(argument["expression"] for argument in node.get("arguments", ()))
    return frozenset(found)


def used(tree: Node) -> frozenset[str]:
    """Columns that a SELECT does not just return, under whatever name."""
    items = [item for node in nodes(tree) for item in node.get("select_list", ())]
    plain = {id(item) for item in items}
    refs = (n for n in nodes(tree) if n.get("class") == "COLUMN_REF" and id(n) not in plain)
    found = {ref["column_names"][-1].lower() for ref in refs}
    found |= {name.lower() for node in nodes(tree) for name in node.get("using_columns", ())}
    aliases = [pair for item in items for pair in _aliases(item)]
    while more := {source for alias, source in aliases if alias in found and source not in found}:
        found |= more
    return frozenset(found)


def _aliases(item: Node) -> Iterator[tuple[str, str]]:
    """New and old name of each column that an item of a SELECT list renames."""
    if item.get("class") == "COLUMN_REF" and "alias" in item:
        yield item["alias"].lower(), item["column_names"][-1].lower()
    for entry in item.get("rename_list", ()):
        yield entry["value"].lower(), entry["key"]["column"].lower()


def read_by_type(value: Any) -> frozenset[str]:
    """Columns of which an expression, cast to text in the end, reads more than their text."""
    match value.get("class"):
        case "COLUMN_REF":
            return frozenset()
        case "CAST" if value["type_expr"].get("type_name", "").upper() in TEXT:
            return read_by_type(value["child"])
        case "FUNCTION" if value["function_name"].lower() in JOINING | {"row"}:
            parts = (read_by_type(argument["expression"]) for argument in value.get("arguments", ()))
            return frozenset().union(*parts)
    return _reads(value).columns


def expression(text: str) -> Node | None:
    """The tree of an expression."""
    tree = parse(f"SELECT (\n{text}\n)")
    return tree["select_list"][0] if tree is not None else None


def _named(expressions: Iterable[Node]) -> set[str]:
    named = (e for e in expressions if e.get("class") in ("COLUMN_REF", "STAR"))
    return {e.get("column_names", [ALL])[-1].lower() for e in named}


def nodes(value: Any) -> Iterator[Node]:
    """Every object of a tree, from the outside in."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from nodes(part)
    elif isinstance(value, list):
        for part in value:
            yield from nodes(part)


def _reads(value: Any, bound: frozenset[str] = frozenset()) -> Reads:
    """What a tree reads; `bound` are the parameters of enclosing lambdas."""
    if isinstance(value, list):
        return _union(_reads(part, bound) for part in value)
    if not isinstance(value, dict):
        return Reads()
    own = Reads()
    match value.get("class"):
        case "COLUMN_REF":
            name = value["column_names"][0].lower()
            return Reads() if name in bound else Reads(frozenset({name}))
        case "LAMBDA":
            bound |= _reads(value["lhs"]).columns
            return _reads(value["expr"], bound)
        case "STAR":
            excluded = frozenset(str(name).lower() for name in value.get("exclude_list", ()))
            own = Reads(frozenset({ALL}), excluded)
        case "POSITIONAL_REFERENCE":
            own = Reads(frozenset({ALL}))
        case "WINDOW" | "FUNCTION":
            function = value["function_name"].lower()
            own = Reads(functions=frozenset({function}), windows=value["class"] == "WINDOW")
    return own | _union(_reads(part, bound) for part in value.values())


def _union(parts: Iterable[Reads]) -> Reads:
    return reduce(or_, parts, Reads())


class _Lineage:
    """Origins of columns, given the trees of the CTEs in scope."""

    def __init__(self, known: Mapping[str, Node]) -> None:
        self.known = known

    def of(self, node: Node, column: str) -> Reads:
        """Origins of a query's column."""
        own = {entry["key"].lower(): entry["value"] for entry in node.get("cte_map", {}).get("map", ())}
        inner = {name: cte.get("query_node") or cte["query"]["node"] for name, cte in own.items()}
        scope = _Lineage({**self.known, **inner}) if inner else self
        if node["type"] == "SET_OPERATION_NODE":
            return _union(scope.of(child, column) for child in node["children"])
        if node["type"] != "SELECT_NODE":
            return Reads(frozenset({column}), plain=frozenset({column}))
        items = (scope._item(item, column) for item in node["select_list"])
        return _union(scope._through(item, node) for item in items if item is not None)

    def _item(self, item: Node, column: str) -> Any:
        """The expression or column behind `column` in an item of the SELECT list, if it is there."""
        if item.get("class") == "STAR":
            replaced = {e["key"].lower(): e["value"] for e in item.get("replace_list", ())}
            renamed = {e["value"].lower(): e["key"]["column"].lower() for e in item.get("rename_list", ())}
            if column in [str(name).lower() for name in item.get("exclude_list", ())]:
                return None
            return replaced.get(column, renamed.get(column, column))
        name = item.get("alias") or (item.get("column_names") or [""])[-1]
        starred = not name and any(node.get("class") == "STAR" for node in nodes(item))
        return item if starred or name.lower() == column else None

    def _through(self, expression: Any, node: Node) -> Reads:
        """What an expression reads, followed into the tables of `node`."""
        if isinstance(expression, str):
            return self._table(node["from_table"], expression)
        if expression.get("class") == "COLUMN_REF":
            return self._table(node["from_table"], expression["column_names"][-1].lower())
        own = _reads(expression)
        inner = [self._table(node["from_table"], name) for name in own.columns if name != ALL]
        return _union([own._replace(columns=own.columns & {ALL}), *inner])._replace(plain=frozenset())

    def _table(self, table: Node, column: str) -> Reads:
        match table["type"]:
            case "JOIN":
                return self._table(table["left"], column) | self._table(table["right"], column)
            case "SUBQUERY":
                return self.of(table["subquery"]["node"], column)
            case "BASE_TABLE" if table["table_name"].lower() in self.known:
                known = dict(self.known)
                query = known.pop(table["table_name"].lower())  # within itself, the name is another table
                return _Lineage(known).of(query, column)
            case _:
                return Reads(frozenset({column}), plain=frozenset({column}))
