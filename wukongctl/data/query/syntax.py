"""What SQL says, by DuckDB's own parser: the columns and functions of an expression, and where a column of a
SELECT comes from. Nothing is bound or run, so no file need be there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import duckdb

ALL = "*"
"""Stands for columns that only the data could name: of `*`, `COLUMNS(…)` or `#1`."""
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
"""Functions that spell their arguments out."""
SERIALIZED = "SELECT json_serialize_sql($1, skip_empty := true, skip_null := true, skip_default := true)"
Node = dict[str, Any]


class Reads(NamedTuple):
    """Of an expression: lower-case columns, with `ALL` for stars; the columns every star leaves out;
    functions; whether it looks at other rows; and which columns it hands on as they are."""

    columns: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    windows: bool = False
    plain: frozenset[str] = frozenset()

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


def ask(question: str, text: str) -> str:
    """The answer of a DuckDB without data to a SELECT of one value, of which `text` is the parameter."""
    ((answer,),) = _parser().cursor().execute(question, [text]).fetchall()
    return answer


def parse(query: str) -> Node | None:
    """The tree of one SELECT; None for text that is none, of which DuckDB says more when it runs."""
    made = json.loads(ask(SERIALIZED, query))
    return None if made["error"] or len(made["statements"]) != 1 else made["statements"][0]["node"]


def reads(text: str) -> Reads:
    """What an expression reads; nothing if it cannot be parsed."""
    return _reads(expression(text))


def origins(tree: Node, column: str) -> Reads:
    """What the lower-case `column` of the SELECT `tree` is made of: columns of its tables, and functions."""
    return _Lineage({}).of(tree, column)


def spelled(value: Any) -> frozenset[str]:
    """Columns of which a tree takes the text: those it puts together, or casts to VARCHAR."""
    taken: set[str] = set()
    for node in nodes(value):
        if node.get("class") == "CAST" and node["type_expr"].get("type_name", "").upper() in TEXT:
            taken |= _named([node["child"]])
        elif node.get("class") == "FUNCTION" and node["function_name"].lower() in JOINING:
            taken |= _named(argument["expression"] for argument in node.get("arguments", ()))
    return frozenset(taken)


def used(tree: Node) -> frozenset[str]:
    """Columns with which a SELECT does more than hand them on, under whatever name."""
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
    """New and old name of each column that an entry of a SELECT's list hands on under another one."""
    if item.get("class") == "COLUMN_REF" and "alias" in item:
        yield item["alias"].lower(), item["column_names"][-1].lower()
    for entry in item.get("rename_list", ()):
        yield entry["value"].lower(), entry["key"]["column"].lower()


def typed(value: Any) -> frozenset[str]:
    """Columns of an expression that is cast to text at the end, of which it does more than spell them out."""
    match value.get("class"):
        case "COLUMN_REF":
            return frozenset()
        case "CAST" if value["type_expr"].get("type_name", "").upper() in TEXT:
            return typed(value["child"])
        case "FUNCTION" if value["function_name"].lower() in JOINING | {"row"}:
            parts = (typed(argument["expression"]) for argument in value.get("arguments", ()))
            return frozenset().union(*parts)
    return _reads(value).columns


def expression(text: str) -> Node | None:
    """The tree of an expression."""
    tree = parse(f"SELECT (\n{text}\n)")
    return tree["select_list"][0] if tree is not None else None


def _named(expressions: Iterable[Node]) -> set[str]:
    known = {"COLUMN_REF", "STAR"}
    named = (e.get("column_names", [ALL])[-1].lower() for e in expressions if e.get("class") in known)
    return set(named)


def nodes(value: Any) -> Iterator[Node]:
    """Every object of a tree, the outermost first."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from nodes(part)
    elif isinstance(value, list):
        for part in value:
            yield from nodes(part)


def _reads(value: Any, bound: frozenset[str] = frozenset()) -> Reads:
    """What a tree reads; `bound` are the parameters of lambdas around it."""
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
            value = value["expr"]
            return _reads(value, bound)
        case "STAR":
            excluded = frozenset(str(name).lower() for name in value.get("exclude_list", ()))
            own = Reads(frozenset({ALL}), excluded)
        case "POSITIONAL_REFERENCE":
            own = Reads(frozenset({ALL}))
        case "WINDOW":
            own = Reads(functions=frozenset({value["function_name"].lower()}), windows=True)
        case "FUNCTION":
            own = Reads(functions=frozenset({value["function_name"].lower()}))
    return own | _union(_reads(part, bound) for part in value.values())


def _union(several: Iterator[Reads]) -> Reads:
    result = Reads()
    for reads in several:
        result |= reads
    return result


class _Lineage:
    """Where columns come from, given the trees of the CTEs in scope."""

    def __init__(self, known: Mapping[str, Node]) -> None:
        self.known = known

    def of(self, node: Node, column: str) -> Reads:
        """Of a query's column."""
        own = {entry["key"].lower(): entry["value"] for entry in node.get("cte_map", {}).get("map", ())}
        inner = {name: cte.get("query_node") or cte["query"]["node"] for name, cte in own.items()}
        scope = _Lineage({**self.known, **inner}) if inner else self
        if node["type"] == "SET_OPERATION_NODE":
            return _union(scope.of(child, column) for child in node["children"])
        if node["type"] != "SELECT_NODE":
            return Reads(frozenset({column}), plain=frozenset({column}))
        made = [scope._item(item, column) for item in node["select_list"]]
        found = [expression for expression in made if expression is not None]
        return _union(scope._through(expression, node) for expression in found)

    def _item(self, item: Node, column: str) -> Any:
        """The expression that gives `column` in an entry of the SELECT's list, if that does."""
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
        """What an expression over the tables of `node` reads, followed into these tables."""
        if isinstance(expression, str):
            return self._table(node["from_table"], expression)
        if expression.get("class") == "COLUMN_REF":
            return self._table(node["from_table"], expression["column_names"][-1].lower())
        own = _reads(expression)
        inner = [self._table(node["from_table"], name) for name in own.columns if name != ALL]
        return _union(iter([own._replace(columns=own.columns & {ALL}), *inner]))._replace(plain=frozenset())

    def _table(self, table: Node, column: str) -> Reads:
        match table["type"]:
            case "JOIN":
                return self._table(table["left"], column) | self._table(table["right"], column)
            case "SUBQUERY":
                return self.of(table["subquery"]["node"], column)
            case "BASE_TABLE" if table["table_name"].lower() in self.known:
                known = {
                    name: node for name, node in self.known.items() if name != table["table_name"].lower()
                }
                return _Lineage(known).of(self.known[table["table_name"].lower()], column)
            case _:
                return Reads(frozenset({column}), plain=frozenset({column}))
