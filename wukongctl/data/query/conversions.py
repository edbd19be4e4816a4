"""A text that the SQL of a recipe could not convert → the line of the file that holds it."""

import re

from wukongctl.data.query import lines, sql

VALUE = re.compile(
    r"""(?:Could not (?:convert|parse) string|out of range:|field format:) (["'])(.*?)\1(?= to | acc|,|$)""",
    re.DOTALL | re.MULTILINE,
)
EXPRESSION = re.compile(r"^(LINE \d+: .*)\n( *)(\^+)$", re.MULTILINE)
"""DuckDB's picture of the query, with carets under the part that failed."""
STRPTIME = re.compile(r"\bstrptime\s*\([^()]*", re.IGNORECASE)
HINT = "fix it, or make such values missing: in the SQL, `TRY_CAST` for `CAST`, `try_strptime` for `strptime`"


def expression(text: str) -> str | None:
    """The part of the query that an error of DuckDB points at."""
    picture = EXPRESSION.search(text)
    if picture is None:
        return None
    start = len(picture[2])
    return picture[1][start : start + len(picture[3])]


def place(engine: lines.Queries, query: str, text: str) -> str | None:
    """`file:line` of the first value that is the one an error of DuckDB names, where that can be told.

    Looked for in the columns that the failed expression names, as they are in the file.
    """
    value, calls = VALUE.search(text), list(sql.csv_calls(query))
    # Of a format that does not fit, DuckDB draws no picture.
    failed = expression(text) or " ".join(call[0] for call in STRPTIME.finditer(query))
    if value is None or len(calls) != 1:
        return None
    raw = f"SELECT * FROM read_csv({calls[0]})"
    described = engine.try_rows(f"DESCRIBE {raw}")
    names = [name for name, *_ in described[0]] if described else []
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", failed, re.IGNORECASE)]
    texts = ", ".join(f"trim(CAST({sql.identifier(name)} AS VARCHAR))" for name in named)
    numbered = f"SELECT row_number() OVER () AS wukongctl_row, * FROM ({raw})"
    wanted = f"list_contains([{texts}], {sql.literal(value[2].strip())})"
    found = (
        engine.try_rows(f"SELECT wukongctl_row FROM ({numbered}) WHERE {wanted} LIMIT 1") if texts else None
    )
    return lines.place(engine, raw, found[0][0][0]) if found and found[0] else None
