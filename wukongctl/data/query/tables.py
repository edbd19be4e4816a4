"""A file without a recipe → the SQL that reads it, with the names and types of its columns."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wukongctl.data.query import encodings, kinds, lines, quotes, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.failures import COPY_AGAIN
from wukongctl.errors import RunFailed, UsageError

WIDTH = 100
MIN_CONTROLS, CONTROL_SHARE = 3, 0.005
"""Distinct control bytes, and their share of all bytes, in a binary file."""
MIN_REGULAR = 0.5
"""Minimum share of lines with the most common number of columns."""
TITLE_LINES = 20
"""The header is one of the first so many lines."""


class Table(NamedTuple):
    """The FROM item that reads a file, and its columns: name → DuckDB type."""

    source: str
    columns: dict[str, str]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """Remarks on what the user should check."""


class _SniffedCsv(NamedTuple):
    """The dialect of a CSV file; `quote` and `escape` are empty where it has none."""

    delimiter: str
    quote: str
    escape: str
    has_header: bool


def describe(engine: Engine, path: Path, name: str) -> Table:
    """The table of the placeholder `'{name}'`, whose first (or only) file is `path`.

    Raises RunFailed for a file that cannot be read as a table, UsageError for one that is empty or
    of another kind.
    """
    start = _start(path)
    if not start.strip():
        raise UsageError(f"`{path}` is empty", hint="give a file with a header and rows")
    if other := kinds.of_start(start):
        hint = f"{other.advice}, then run `wukongctl datasets init` on the table"
        raise UsageError(f"`{path}` is {other.name}, not a table", hint=hint)
    controls = kinds.CONTROLS.findall(start)
    is_text = encodings.of_start(start) is not None or len(set(controls)) < MIN_CONTROLS
    if not is_text and not start.startswith(b"PAR1") and len(controls) > CONTROL_SHARE * len(start):
        raise UsageError(f"`{path}` is not a table: it contains binary data", hint=kinds.SAVE)
    if start.startswith(b"PAR1"):
        return _typed(engine, f"read_parquet('{{{name}}}')")
    if start.lstrip()[:1] in (b"{", b"[") and ".csv" not in path.suffixes:
        return _typed(engine, f"read_json('{{{name}}}', sample_size=-1)")
    return _csv(engine, path, name)


def require_table(path: Path) -> None:
    """UsageError for a text file, such as a program or a letter, whose lines do not look like rows."""
    try:
        texts = [text for text in quotes.sample(path) if text.strip()]
    except lines.UNREADABLE:
        return
    for delimiter in lines.DELIMITERS:
        try:
            widths = Counter(len(row) for row in csv.reader(texts, delimiter=delimiter))
        except csv.Error:  # an open quote makes one value of the rest
            return
        if sum(n for width, n in widths.most_common(1) if width > 1) >= MIN_REGULAR * sum(widths.values()):
            return
    raise UsageError(
        f"`{path}` is not a table: its lines do not split into columns at `,` `;` `|` or tabs",
        hint=kinds.SAVE,
    )


def _start(path: Path) -> bytes:
    """The first bytes, decompressed."""
    try:
        return lines.start_of(path, 4096)
    except lines.UNREADABLE as error:
        if not isinstance(error, OSError) or error.errno is None:  # of the decompression
            raise RunFailed(f"`{path}` is truncated or damaged", hint=COPY_AGAIN) from None
        raise RunFailed(f"cannot read `{path}`: {str(error.strerror).lower()}") from None


def _typed(engine: Engine, source: str) -> Table:
    """A format that carries names and types."""
    return Table(
        source, engine.types(f"SELECT * FROM {source}"), remarks=tuple(engine.schemas.notes.values())
    )


def _csv(engine: Engine, path: Path, name: str) -> Table:
    """All columns as text: the recipe says which are numbers, and no later row can contradict it."""
    sample = sql.literal(str(path.absolute()))
    options, remarks = encodings.options(path), []
    if "encoding=" not in options and not encodings.is_utf8(path):
        latin, remark = encodings.fallback(path)
        options, remarks = options + latin, [f"`{path.name}`: {remark}"]
    delimiter, mark, escape, has_header = _sniffed(engine, path, options, remarks)
    title = _title(path, delimiter, mark)
    dialect = f"delim={_text(delimiter)}, quote={sql.literal(mark)}, escape={sql.literal(escape)}{options}"
    if title:
        dialect += f", skip={len(title)}"
        remarks += _skipped(path, title)
    first = f"SELECT * FROM read_csv({sample}, header=false, all_varchar=true, {dialect}) LIMIT 1"
    rows = engine.rows(first)
    if not rows:
        raise UsageError(f"`{path}` has no rows", hint="give a file with a header and rows")
    cells = [None if cell is None else str(cell).strip() for cell in rows[0]]
    odd = lines.odd_line(path, lines.DELIMITERS) if len(cells) == 1 else None
    if odd is not None:
        raise RunFailed(f"`{path.name}:{odd[0]}`: {odd[1]}", hint=lines.SKIP)
    header = (has_header or bool(title)) and _is_header(cells)
    titles = [cell if header and cell else f"column_{i + 1}" for i, cell in enumerate(cells)]
    names = _unique(titles)
    columns = ", ".join(f"{sql.literal(column)}: 'VARCHAR'" for column in names)
    reader = f"read_csv('{{{name}}}', {dialect}, header={'true' if header else 'false'}, auto_detect=false,"
    source = f"{reader}\n{_wrapped(f'columns={{{columns}}})')}"
    notes = [] if header else ["no header found: name the columns here, in order"]
    remarks += _repeated(titles, names)
    return Table(source, dict.fromkeys(names, "VARCHAR"), tuple(notes), tuple(remarks))


def _sniffed(engine: Engine, path: Path, options: str, remarks: list[str]) -> _SniffedCsv:
    """The dialect of the file; adds remarks on its quotes to `remarks`."""
    sniff = (
        "SELECT Delimiter, Quote, Escape, HasHeader "
        f"FROM sniff_csv({sql.literal(str(path.absolute()))}, sample_size={quotes.SAMPLE}{options}"
    )
    ((delimiter, quote, escape, has_header),) = engine.rows(f"{sniff})")
    texts = quotes.sample(path, "latin-1" if "latin-1" in options else "utf-8")
    if quote == "'" and not quotes.is_apostrophe(texts, delimiter, escape):
        ((delimiter, _, _, has_header),) = engine.rows(f"{sniff}, quote='\"')")
        quote = '"' if any('"' in text for text in texts) else "(empty)"
    if quote == "'":
        remarks.append(f"`{path.name}`: values are quoted with `'`, as in `'a, b'`")
    # A quoted value may follow after the sample, except in logs, which are not separated by commas.
    quoted = quote != "(empty)" or delimiter == ","
    mark = (quote if quote != "(empty)" else '"') if quoted else ""
    merged = quotes.spanning(texts, delimiter, mark) if mark else None
    if merged is not None:
        first, last, value = merged
        remarks.append(
            f"`{path.name}:{first}`: lines {first} to {last} are read as one row, because a quoted value "
            f"spans them: `{value}`; if they are separate rows, set `quote=''` and `escape=''`"
        )
    return _SniffedCsv(delimiter, mark, escape if mark and escape == "\\" else mark, bool(has_header))


def _title(path: Path, delimiter: str, quote: str) -> tuple[str, ...]:
    """The lines above the header."""
    with lines.opened(path) as file:
        texts = [line.decode("utf-8", "replace").rstrip("\r\n") for line in islice(file, TITLE_LINES)]
    if len(delimiter) != 1 or any(quote and text.count(quote) % 2 for text in texts):
        return ()
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    rows = csv.reader(texts, delimiter=delimiter, quotechar=quote or '"', quoting=quoting)
    try:
        return tuple(texts[: encodings.title(list(rows))])
    except csv.Error:
        return ()


def _skipped(path: Path, title: tuple[str, ...]) -> Iterator[str]:
    """A remark, unless blank lines are all that is skipped."""
    first = next((text.strip() for text in title if text.strip()), None)
    if first is None:
        return
    which = "the first line is" if len(title) == 1 else f"the first {len(title)} lines are"
    yield f"`{path.name}`: {which} not the header and skipped: `{first[:WIDTH]}`"


def _is_header(cells: list[str | None]) -> bool:
    """Whether a first row names columns: it has no numbers, or they just count from 0."""
    filled = [cell for cell in cells if cell]
    counting = filled == [str(index) for index in range(len(cells))]
    numbers = any(re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", cell) for cell in filled)
    return bool(filled) and (counting or not numbers)


def _unique(names: list[str]) -> list[str]:
    """Names that differ regardless of case, without control characters."""
    result: list[str] = []
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[\x00-\x1f\x7f{}]", "_", name)[:100]
        unique, count = base, 2
        while unique.lower() in taken:
            unique, count = f"{base}_{count}", count + 1
        taken.add(unique.lower())
        result.append(unique)
    return result


def _repeated(titles: list[str], names: list[str]) -> Iterator[str]:
    """A remark for each column renamed because an earlier one has its name."""
    seen: dict[str, int] = {}
    for number, (cell, name) in enumerate(zip(titles, names, strict=True), start=1):
        first = seen.setdefault(cell.lower(), number)
        if first != number:
            yield f"columns {first} and {number} are both named `{cell}`: the second is read as `{name}`"


def _wrapped(text: str) -> str:
    """Wrapped between entries only: a name may contain spaces."""
    lines = [" "]
    for part in re.split(r"(?<=', )|(?<=, )(?=')", text):
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append("   ")
        lines[-1] += (" " if lines[-1].isspace() else "") + part
    return "\n".join(line.rstrip() for line in lines)


def _text(delimiter: str) -> str:
    return r"'\t'" if delimiter == "\t" else sql.literal(delimiter)
