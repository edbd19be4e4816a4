"""Names and texts, quoted only where SQL or YAML needs it."""

import functools
import json
import re

import duckdb

from wukongctl.data.query import sql

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
YAML_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_+]*")
YAML_KEYWORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def sql_name(text: str) -> str:
    """A column name in SQL."""
    is_plain = NAME.fullmatch(text) and text.lower() not in _sql_keywords()
    return text if is_plain else sql.identifier(text)


def yaml_text(text: str) -> str:
    """A text in YAML, on one line."""
    if YAML_TEXT.fullmatch(text) and text.lower() not in YAML_KEYWORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


@functools.cache
def _sql_keywords() -> frozenset[str]:
    """Keywords that cannot be column names without quotes."""
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    with duckdb.connect() as connection:
        return frozenset(str(word) for (word,) in connection.execute(query).fetchall())
