"""DuckDB's failures → errors that name the file, the line and what to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from wukongctl.data.query import access, encodings, kinds, lines, sql
from wukongctl.data.query.lines import RawFiles
from wukongctl.errors import RunFailed, UsageError, WukongError

KINDS = (duckdb.Error, pa.ArrowException, OSError)
CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
CSV_COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
CSV_REASON = re.compile(
    r"^(Expected Number of Columns|Error when converting|Value with unterminated quote|Invalid unicode|"
    r"Maximum line size|The CSV Parser state machine|Quoted value).*$",
    re.MULTILINE,
)
CSV_DELIMITERS = re.compile(r"^Delimiter Candidates: (.+)$", re.MULTILINE)
CSV_FILE = re.compile(r'^\s*file = (.+)$|sniffing file "([^"]+)"', re.MULTILINE)
CSV_LIMIT = re.compile(r"Maximum line size of (\d+) bytes")
CSV_MISMATCH = re.compile(r"^Main file schema: (.+)\nCurrent file: (.+)\n(.+)$", re.MULTILINE)
UNKNOWN_COLUMN = re.compile(r'Referenced column "(.+?)" not found.*(?:\nCandidate bindings: (.+))?')
MISSING_EXTENSION = re.compile(
    r'requires the extension (\w+)|Extension "[^"]*?(\w+)\.duckdb_extension" not found'
)
UNUSED_EXTENSION = re.compile(r"it exists in the (\w+) extension")
BAD_JSON = re.compile(r'Malformed JSON in file "([^"]+)", at byte \d+ in [\w/]+ (\d+): ([^\n]+)')
TRUNCATED = re.compile(r"Unexpected end of GZIP stream: (.+)")
CONVERTED = re.compile(
    r"""(?:Could not (?:convert|parse) string|out of range:|field format:) (["'])(.*?)\1(?= to | acc|,|$)""",
    re.DOTALL | re.MULTILINE,
)
EXPRESSION = re.compile(r"^(LINE \d+: .*)\n( *)(\^+)$", re.MULTILINE)
"""DuckDB's excerpt of the query, with carets under the part that failed."""
STRPTIME = re.compile(r"\bstrptime\s*\([^()]*", re.IGNORECASE)
TYPE_OPTIONS = re.compile(r"\b(all_varchar|columns|dtypes|types|column_types)\b", re.IGNORECASE)
DELIMITER = re.compile(r"\b(?:delim|sep|delimiter)\s*(?:=>|:=|=)\s*'(\\t|[^'])'", re.IGNORECASE)
UNICODE = ("unicode", "not utf-8", "not latin-1")
BAD_STATE = "CSV Parser state machine reached an invalid state"
DISK_FULL = "No space left on device"
SET_OPTIONS = "fix the file, or set `delim`, `quote`, `columns` or `max_line_size` in `read_csv`"
AS_TEXT = f"{lines.SKIP}; or read all columns as text with `all_varchar=true` in `read_csv`"
COPY_AGAIN = "download or copy the file again"
NOT_STRICT = "fix the file, or read it with `strict_mode=false`"
TRY_CAST = (
    "fix it, or read such values as missing: `TRY_CAST` for `CAST`, `try_strptime` for `strptime` in the SQL"
)


class ConversionFailed(RunFailed):
    """A text that should have been a number; the pipeline looks for its line."""


class OutOfMemory(RunFailed):
    """The statement needs more than `--memory-limit`; a slower one may not."""


def explain(files: RawFiles, error: Exception, query: str) -> WukongError:
    """What to raise for an `error` of `query`."""
    text, dataset = str(error), files.dataset
    if "Out of Memory" in text:
        return OutOfMemory(f"out of memory while reading dataset `{dataset}`")
    if DISK_FULL in text:
        return RunFailed(
            f"cannot write the files of dataset `{dataset}`: {DISK_FULL.lower()}",
            hint="nothing was changed; free some disk space and try again",
        )
    other = access.refusal(text, dataset, files.search) or _needs_extension(dataset, text) or _no_table(files)
    if failure := other or _wrong_encoding(files, text) or _bad_file(files, text, query):
        return failure
    if isinstance(error, duckdb.ConversionException) or CONVERTED.search(text):
        return _not_converted(files, text, query)
    if unknown := UNKNOWN_COLUMN.search(text):
        similar = ", ".join(f"`{name}`" for name in re.findall('"([^"]+)"', unknown[2] or ""))
        return UsageError(
            f"dataset `{dataset}` has no column `{unknown[1]}`",
            hint=f"similar columns: {similar}" if similar else None,
        )
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return UsageError(f"the SQL of dataset `{dataset}` is not valid: {first_line(text)}")
    return RunFailed(f"reading dataset `{dataset}` failed: {first_line(text)}")


def _no_table(files: RawFiles) -> UsageError | None:
    """The error for a raw file that is something else, whatever DuckDB makes of it."""
    for path in _paths(files):
        if other := kinds.of(path):
            return UsageError(
                f"`{path.name}` is {other.name}, not a table (dataset `{files.dataset}`)", hint=other.advice
            )
    return None


def _needs_extension(dataset: str, text: str) -> WukongError | None:
    """The error for a table that only an extension of DuckDB reads."""
    if unused := UNUSED_EXTENSION.search(text):
        return UsageError(
            f"the SQL of dataset `{dataset}` needs the DuckDB extension `{unused[1]}`, which is never loaded",
            hint="convert the data to Parquet or CSV first",
        )
    extension = MISSING_EXTENSION.search(text)
    if extension is None:
        return None
    name = extension[1] or extension[2]
    install = f"python -c \"import duckdb; duckdb.sql('INSTALL {name}')\""
    return RunFailed(
        f"dataset `{dataset}` needs the DuckDB extension `{name}`, which is not installed",
        hint=f"run `{install}` once with network access, or copy the files here and use local paths",
    )


def first_line(text: str) -> str:
    """DuckDB's message without its class, its excerpt of the query and its list of settings."""
    parts = [line.strip() for line in text.splitlines() if line.strip()] or ["unknown error"]
    message = re.sub(r"^(Invalid Input|[A-Za-z]+)( with name \w+)? Error: ", "", parts[0])
    candidates = [part for part in parts[1:3] if part.startswith(("Candidate", "Did you mean"))]
    return " · ".join([message.rstrip("!."), *candidates])


def _not_converted(files: RawFiles, text: str, query: str) -> ConversionFailed:
    expression, location = _expression(text), _location_of_value(files, query, text)
    what = first_line(text) + (f" in `{expression}`" if expression is not None else "")
    if location is None:
        return ConversionFailed(f"reading dataset `{files.dataset}` failed: {what}", hint=TRY_CAST)
    message = f"`{location}`: {what[:1].lower()}{what[1:]} (dataset `{files.dataset}`)"
    return ConversionFailed(message, hint=TRY_CAST)


def _expression(text: str) -> str | None:
    """The part of the query that DuckDB points at."""
    excerpt = EXPRESSION.search(text)
    if excerpt is None:
        return None
    start = len(excerpt[2])
    return excerpt[1][start : start + len(excerpt[3])]


def _location_of_value(files: RawFiles, query: str, text: str) -> str | None:
    """`file:line` of the first value like the one DuckDB names, in the columns of the failed expression."""
    value, calls = CONVERTED.search(text), list(sql.csv_calls(query))
    # Where a format does not match, DuckDB shows no excerpt.
    failed = _expression(text) or " ".join(call[0] for call in STRPTIME.finditer(query))
    if value is None or len(calls) != 1:
        return None
    raw = f"SELECT * FROM read_csv({calls[0]})"
    described = files.try_rows(f"DESCRIBE {raw}")
    names = [name for name, *_ in described[0]] if described else []
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", failed, re.IGNORECASE)]
    if not named:
        return None
    texts = ", ".join(f"trim(CAST({sql.identifier(name)} AS VARCHAR))" for name in named)
    numbered = f"SELECT row_number() OVER () AS wukongctl_row, * FROM ({raw})"
    matches = f"list_contains([{texts}], {sql.literal(value[2].strip())})"
    found = files.try_rows(f"SELECT wukongctl_row FROM ({numbered}) WHERE {matches} LIMIT 1")
    return lines.location(files, raw, found[0][0][0]) if found and found[0] else None


def _bad_file(files: RawFiles, text: str, query: str) -> RunFailed | None:
    """What is wrong with a raw file, and where; None for an error of another kind."""
    dataset = f"(dataset `{files.dataset}`)"
    if "CSV Error on Line" in text or "sniffing file" in text:
        what = _csv_problem(files, text)
        is_row = lines.LOCATED.match(what) and not CSV_LIMIT.search(text) and "store_rejects" not in query
        has_other_ends = what.endswith((lines.OTHER_ENDING, lines.TWO_RETURNS))
        hint = NOT_STRICT if has_other_ends else lines.SKIP if is_row else SET_OPTIONS
        if is_row and "Error when converting" in text and not TYPE_OPTIONS.search(query):
            hint = AS_TEXT
        hint = _of_other_delimiter(files, text, query) or hint
        return RunFailed(f"{what} {dataset}", hint=hint)
    if BAD_STATE in text:  # names no file
        for path in _paths(files):
            if odd := lines.odd_line(path, lines.DELIMITERS):
                return RunFailed(f"{_located(path.name, odd[0], odd[1])} {dataset}", hint=NOT_STRICT)
    if bad := BAD_JSON.search(text):
        what = _located(Path(bad[1]).name, int(bad[2]), f"malformed JSON: {bad[3]}")
        return RunFailed(f"{what} {dataset}", hint="fix it: one object per line, or one array")
    if truncated := TRUNCATED.search(text):
        what = f"`{Path(truncated[1]).name}` is truncated {dataset}"
        return RunFailed(what, hint=COPY_AGAIN)
    if mismatch := CSV_MISMATCH.search(text):
        first, file = Path(mismatch[1]).name, Path(mismatch[2]).name
        what = re.sub('[Cc]olumn with name: "(.*)" is missing', r"column `\1` is missing", mismatch[3])
        return RunFailed(
            f"`{file}`: {what}, which `{first}` has {dataset}",
            hint="give all files the same columns, or read them with `union_by_name=true`",
        )
    return None


def _of_other_delimiter(files: RawFiles, text: str, query: str) -> str | None:
    """The hint for a file whose first line has another delimiter than the one in the SQL."""
    said = DELIMITER.search(query)
    path = next((path for path in _paths(files) if path.name == _file_name(text)), None)
    if said is None or path is None:
        return None
    first = lines.first_line(path)
    delimiter = max(lines.DELIMITERS, key=first.count)
    if said[1].replace("\\t", "\t") in first or delimiter not in first:
        return None
    written = r"\t" if delimiter == "\t" else delimiter
    return f"its columns are separated by `{written}`: write `delim='{written}'` in `read_csv`"


def _wrong_encoding(files: RawFiles, text: str) -> RunFailed | None:
    """The error for a text file in another encoding or compression than the SQL says."""
    is_unicode = any(word in text for word in UNICODE)
    if not is_unicode and not any(word in text for word in ("CSV Error", "sniffing file", BAD_STATE)):
        return None
    named = _file_name(text)
    for path in _paths(files):
        hint = encodings.advice(path, whole=is_unicode) if named in ("", path.name) else None
        if hint is not None:
            what = _csv_problem(files, text) if is_unicode and CSV_LINE.search(text) else ""
            what = what or f"`{path.name}`: its encoding or compression is not what the SQL says"
            return RunFailed(f"{what} (dataset `{files.dataset}`)", hint=hint)
    return None


def _csv_problem(files: RawFiles, text: str) -> str:
    """`file:line: what`, from DuckDB's page-long report.

    Where DuckDB cannot detect the dialect of a file, its report has no line: the odd one is looked for.
    """
    name, line = _file_name(text), CSV_LINE.search(text)
    path = next((path for path in _paths(files) if path.name == name), None)
    if line is not None:
        reason, limit = CSV_REASON.search(text, line.end()), CSV_LIMIT.search(text)
        # Of a line that is too long DuckDB gives the number within its sample.
        long = lines.long_line(path, int(limit[1])) if limit and path else None
        return _located(name, long or int(line[1]), reason[0] if reason else first_line(text))
    candidates = CSV_DELIMITERS.search(text)
    delimiters = "".join(re.findall("'(.)'", candidates[1])) if candidates else ""
    odd = lines.odd_line(path, delimiters or lines.DELIMITERS) if path else None
    if odd is not None:
        return _located(name, *odd)
    entries = [entry.strip() for entry in text.splitlines() if entry.strip()]
    return _located(name, None, entries[min(1, len(entries) - 1)])


def _file_name(text: str) -> str:
    found = CSV_FILE.search(text)
    return Path(found[1] or found[2]).name if found else ""


def _paths(files: RawFiles) -> Iterator[Path]:
    for paths in files.paths.values():
        yield from lines.paths_of(paths)


def _located(name: str, line: int | None, what: str) -> str:
    what = CSV_COLUMNS.sub(r"expected \1 columns, found \2", what.strip())
    return f"`{name if line is None else f'{name}:{line}'}`: {what[:1].lower()}{what[1:].rstrip('.')}"
