"""A recipe's text: YAML by hand, for only that has room for comments."""

import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names that need no quotes."""
PLAIN_YAML = re.compile(r"[A-Za-z_][A-Za-z0-9_+]*")
"""Texts that YAML needs no quotes for."""
WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""… but for these, which are no names in YAML."""
RESERVED = frozenset(
    [
        *("all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof"),
        *("asymmetric", "at", "authorization", "between", "bigint", "binary", "bit", "boolean", "both"),
        *("by", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation"),
        *("column", "columns", "concurrently", "constraint", "create", "cross", "dec", "decimal"),
        *("default", "deferrable", "desc", "describe", "distinct", "do", "else", "end", "except"),
        *("exists", "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full"),
        *("generated", "glob", "group", "grouping", "grouping_id", "having", "ilike", "in"),
        *("initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is"),
        *("isnull", "join", "lambda", "lateral", "leading", "left", "like", "limit", "map", "national"),
        *("natural", "nchar", "none", "not", "notnull", "null", "nullif", "numeric", "offset", "on"),
        *("only", "or", "order", "out", "outer", "overlaps", "overlay", "pivot", "pivot_longer"),
        *("pivot_wider", "placing", "position", "positional", "precision", "primary", "qualify"),
        *("real", "references", "returning", "right", "row", "select", "semi", "setof", "show"),
        *("similar", "smallint", "some", "struct", "substring", "summarize", "symmetric", "table"),
        *("tablesample", "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true"),
        *("try_cast", "tuple", "union", "unique", "unpack", "unpivot", "using", "values", "varchar"),
        *("variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat"),
        *("xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot"),
        *("xmlserialize", "xmltable"),
    ]
)
"""… and need quotes in SQL: all of `duckdb_keywords()` but the unreserved ones."""
WIDTH = 100


def block(key: str, text: str) -> list[str]:
    """The lines of a text of several lines."""
    if text.isprintable() or all(line.isprintable() for line in text.split("\n")):
        return [f"{key}: |", *(f"  {line}" for line in text.split("\n"))]
    return [f"{key}: {json.dumps(text)}"]


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow(item)}' for key, item in value.items())}}}"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def scalar(text: str) -> str:
    """A text, in quotes where it needs them."""
    if PLAIN_YAML.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def sql_name(text: str) -> str:
    """A column's name in SQL, in quotes where it needs them."""
    is_plain = PLAIN.fullmatch(text) and text.lower() not in RESERVED
    return text if is_plain else '"' + text.replace('"', '""') + '"'


def wrapped(start: str, items: Sequence[str]) -> list[str]:
    """A flow list that `start` opens, on as many lines as it takes."""
    indent = " " * (len(start) - len(start.lstrip()) + 2)
    lines = [start]
    for position, item in enumerate(items, start=1):
        part = item + ("," if position < len(items) else "]")
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append(indent + part)
        else:
            lines[-1] += part if lines[-1].endswith("[") else f" {part}"
    return lines


def remark(text: str) -> list[str]:
    """Lines of comment."""
    lines = textwrap.wrap(_printable(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def comment(text: str) -> str:
    """What may stand behind a `#`."""
    return _printable(text)[:200]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text)
