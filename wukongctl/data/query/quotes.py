"""The quote character of a CSV file: `"`, unless the file clearly uses `'`.

DuckDB detects `'` as soon as one pair of them fits. Two rows with an apostrophe each are such a pair: DuckDB
then reads both rows, and all between them, as one.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wukongctl.data.query import headers, lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError, WukongError

SAMPLE = 20_480
"""Lines read of a file: as many as DuckDB samples."""
FILES = 10
"""Files read of a pattern."""
SHOWN = 60
QUOTE_SET = re.compile(r"\bquote\s*(=>|:=|=)|\bauto_detect\s*(=>|:=|=)\s*'?false", re.IGNORECASE)
BARE = re.compile(r"\b(?:FROM|JOIN)\s+('\{[^{}']+\.[ct]sv(?:\.gz|\.zst)?\}')", re.IGNORECASE)
"""A text file that a query reads without `read_csv`."""
HINT = "set the quote character in `read_csv`: `quote='\"'`, or `quote=''''` for values such as `'a, b'`"


class _Records(NamedTuple):
    """The records of a sample under one quote."""

    records: list[list[str]]
    odd: int
    """Records that are not as wide as most."""


def sample(path: Path, encoding: str = "utf-8") -> list[str]:
    """The first lines of a file, which show its quote character."""
    with lines.opened(path) as file:
        return [line.decode(encoding, "replace").rstrip("\r\n") + "\n" for line in islice(file, SAMPLE)]


def is_apostrophe(texts: Sequence[str], delimiter: str, escape: str = "") -> bool:
    """Whether `'` is the quote character of these lines.

    It is where it alone makes all rows equally wide. Where both characters do, every value that begins with
    `'` must also end with it on the same line, and no value may be quoted with `"`.
    """
    if len(delimiter) != 1 or not any("'" in text for text in texts):
        return False
    plain = _read(texts, delimiter, '"')
    enclosed = _read(texts, delimiter, "'", escape)
    if plain is None or enclosed is None:
        return False
    if enclosed.odd != plain.odd:
        return enclosed.odd < plain.odd
    opening = [cell.strip() for record in plain.records for cell in record if cell.lstrip().startswith("'")]
    quoted = re.compile(rf'(?:^|{re.escape(delimiter)})\s*"', re.MULTILINE)
    return (
        len(enclosed.records) == len(plain.records)
        and bool(opening)
        and all(len(cell) > 1 and cell.endswith("'") for cell in opening)
        and not any(quoted.search(text) for text in texts if '"' in text)
    )


def spanning(texts: Sequence[str], delimiter: str, quote: str) -> tuple[int, int, str] | None:
    """The first record that spans several lines which are complete rows by themselves, due to stray quotes.

    Returns its first and last line, and the value that spans them.
    """
    if len(delimiter) != 1 or not any(text.count(quote) % 2 for text in texts):
        return None
    width = Counter(text.count(delimiter) for text in texts if text.strip()).most_common(1)[0][0]
    if any(text.count(delimiter) != width for text in texts if text.strip()):
        return None
    reader, first = csv.reader(texts, delimiter=delimiter, quotechar=quote), 1
    try:
        for record in reader:
            if reader.line_num > first:
                value = next((cell for cell in record if "\n" in cell), "")
                return first, reader.line_num, value.strip().replace("\n", "⏎")[:SHOWN]
            first = reader.line_num + 1
    except csv.Error:
        return None
    return None


def require_plausible(engine: Engine, query: str) -> None:
    """UsageError for a CSV file in which DuckDB detects `'` as the quote character without good reason."""
    for arguments in (*sql.csv_calls(query), *(found[1] for found in BARE.finditer(query))):
        if QUOTE_SET.search(arguments):
            continue
        for path in islice(headers.local_files(engine, arguments), FILES):
            _require_plausible(engine, path, arguments)


def _require_plausible(engine: Engine, path: Path, arguments: str) -> None:
    try:
        texts = sample(path)
    except lines.UNREADABLE:
        return  # DuckDB reports what is wrong with it
    if not any("'" in text for text in texts):
        return
    delimiter_set = headers.DELIMITER.search(arguments)
    options = f"sample_size={SAMPLE}{f', {delimiter_set[0]}' if delimiter_set else ''}"
    sniff = f"SELECT Delimiter, Quote, Escape FROM sniff_csv({sql.literal(str(path.absolute()))}, {options})"
    try:
        found = engine.rows(sniff)
    except WukongError:
        return
    delimiter, quote, escape = map(str, found[0])
    if quote != "'" or len(delimiter) != 1 or is_apostrophe(texts, delimiter, escape):
        return
    merged = spanning(texts, delimiter, "'")
    line = merged[0] if merged else next(n for n, text in enumerate(texts, start=1) if "'" in text)
    result = f", which merges lines {merged[0]} to {merged[1]} into one row" if merged else ""
    raise UsageError(f"`{path.name}:{line}`: DuckDB detects `'` as the quote character{result}", hint=HINT)


def _read(texts: Sequence[str], delimiter: str, quote: str, escape: str = "") -> _Records | None:
    """None where a quoted value is not closed."""
    escaped = escape if escape == "\\" else None
    strict = quote == "'"
    reader = csv.reader(texts, delimiter=delimiter, quotechar=quote, escapechar=escaped, strict=strict)
    records: list[list[str]] = []
    try:
        records.extend(reader)
    except csv.Error:
        # The sample may end within a value.
        if len(texts) < SAMPLE or reader.line_num < len(texts):
            return None
    widths = Counter(len(record) for record in records if record)
    common = widths.most_common(1)[0][0] if widths else 0
    return _Records(records, sum(widths.values()) - widths[common])
