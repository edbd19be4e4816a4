"""DuckDB behind four verbs: settings that keep memory flat, and errors a person can act on.

Queries carry placeholders `'{name}'` for raw files; paths are put in only here, so that the text of a
statement is the same on every machine.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from wukongctl.data.query import conversions, encodings, lines, sql
from wukongctl.data.query.schemas import Schemas
from wukongctl.errors import RunFailed, UsageError, WukongError

CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
CSV_COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
CSV_REASON = re.compile(
    r"^(Expected Number of Columns|Error when converting|Value with unterminated quote|Invalid unicode|"
    r"Maximum line size|The CSV Parser state machine|Quoted value).*$",
    re.MULTILINE,
)
CSV_SNIFFED = re.compile(r'sniffing file "([^"]+)"')
CSV_DELIMITERS = re.compile(r"^Delimiter Candidates: (.+)$", re.MULTILINE)
CSV_FILE = re.compile(r"^\s*file = (.+)$", re.MULTILINE)
CSV_LIMIT = re.compile(r"Maximum line size of (\d+) bytes")
CSV_MISMATCH = re.compile(r"^Main file schema: (.+)\nCurrent file: (.+)\n(.+)$", re.MULTILINE)
UNKNOWN_COLUMN = re.compile(r'Referenced column "(.+?)" not found.*(?:\nCandidate bindings: (.+))?')
MISSING_EXTENSION = re.compile(
    r'requires the extension (\w+)|Extension "[^"]*?(\w+)\.duckdb_extension" not found'
)
FAILURES = (duckdb.Error, pa.ArrowException, OSError)


LIMIT = re.compile(r"(?=.*[1-9])\d+(\.\d+)? ?([KMGT]i?B|B|bytes)", re.IGNORECASE)
SIZE = re.compile(r"([\d.]+) ?(\w+)")
UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DISABLED = "statistics_propagation"
"""DuckDB takes the bounds of a Parquet column for those of all its values, though they leave NaN out: `isnan`
of it is then false without a look."""
FULL = "No space left on device"
CLOSE_ATTEMPTS, CLOSE_SECONDS = 500, 0.01
"""After these, what a thread still holds is left to it: the error that led here matters more."""
UNICODE = ("unicode", "not utf-8", "not latin-1")
LOST = "CSV Parser state machine reached an invalid state"
CUT_SHORT = re.compile(r"Unexpected end of GZIP stream: (.+)")
MEND = "fix it, or tell `read_csv` more about the file: `delim`, `quote`, `columns`, `max_line_size`"
TEXTS = re.compile(r"\b(all_varchar|columns|dtypes|types|column_types)\b", re.IGNORECASE)
AS_TEXT = f"{lines.SKIP}; or, with `all_varchar=true` in `read_csv`, leave types to the features"
LOOSEN = "fix it, or read it with `strict_mode=false`"


def require_memory_limit(size: str | None) -> None:
    """UsageError unless DuckDB takes `size` for an amount of memory; asked before anything is fetched."""
    if size is not None and not LIMIT.fullmatch(size.strip()):
        raise UsageError(
            f"`--memory-limit {size}` is not valid: it is not a size", hint="write it as 4GB, 500MB or 2GiB"
        )


class ConversionFailed(RunFailed):
    """A text that should have been a number; the pipeline finds out where it stands."""


class OutOfMemory(RunFailed):
    """The statement needs more than `--memory-limit`; a slower one may not."""


class Engine:
    """One in-memory DuckDB for one stage."""

    connect = staticmethod(duckdb.connect)
    """Opens the database."""

    def __init__(
        self,
        dataset: str,
        paths: Mapping[str, Path | tuple[Path, ...]],
        *,
        spill: Path,
        search: Path,
        memory_limit: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.dataset, self.paths, self.threads = dataset, paths, threads
        self.memory_limit = memory_limit
        self._connection = self.connect()
        self.schemas = Schemas(lambda text: self._connection.cursor().sql(text).fetchall(), search)
        settings = {
            "enable_progress_bar": "false",
            "temp_directory": sql.literal(str(spill)),
            "autoinstall_known_extensions": "false",
            "disabled_optimizers": sql.literal(DISABLED),
            "streaming_buffer_size": "'16MB'",  # with 1 MB, its default, threads wait for the reader
        }
        if memory_limit is not None:
            settings["memory_limit"] = sql.literal(memory_limit)
        if threads is not None:
            settings["threads"] = str(threads)
        for name, value in settings.items():
            self._set(name, value)
        self._set("GLOBAL file_search_path", sql.literal(str(search)))  # for cursors too

    def path(self, name: str) -> Path:
        """Where the raw file `name`, which is no pattern, is."""
        path = self.paths[name]
        assert isinstance(path, Path)
        return path

    @contextmanager
    def reading(self, paths: Mapping[str, Path | tuple[Path, ...]]) -> Iterator[None]:
        """Fill placeholders with `paths` for a while."""
        before, self.paths = self.paths, paths
        try:
            yield
        finally:
            self.paths = before

    def execute(self, text: str) -> None:
        """Run a statement that gives no rows."""
        with self._explained(text):
            self._connection.execute(self._filled(text))

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a small result."""
        with self._explained(text):
            return self._connection.sql(self._filled(text)).fetchall()

    def cursor_rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a question that is asked while a reader may still be open."""
        with self._explained(text):
            return self._connection.cursor().sql(self._filled(text)).fetchall()

    def types(self, text: str) -> dict[str, str]:
        """Column name → DuckDB type, without running the query."""
        with self._explained(text):
            relation = self._connection.sql(self._filled(text))
            return dict(zip(relation.columns, map(str, relation.types), strict=True))

    def operators(self, text: str) -> set[str]:
        """Names of the operators of the query's plan."""
        ((_, plan),) = self.cursor_rows(f"EXPLAIN (FORMAT json) {text}")
        return set(_names(json.loads(plan)))

    def unreadable(self) -> list[tuple[str, int, str, str]]:
        """File, line, message and text of each line that a scan with `store_rejects` could not read."""
        with self._explained():
            return _unreadable(self._connection)

    def try_rows(self, text: str) -> tuple[list[tuple[Any, ...]], list[tuple[str, int, str, str]]] | None:
        """The rows of a question asked aside, and what it could not read (see `unreadable`); None if it
        fails."""
        cursor = self._connection.cursor()
        try:
            return cursor.sql(self._filled(text)).fetchall(), _unreadable(cursor)
        except duckdb.Error:
            return None

    @property
    def memory(self) -> int:
        """DuckDB's own limit in bytes."""
        ((text,),) = self.rows("SELECT current_setting('memory_limit')")
        number, unit = SIZE.fullmatch(text).groups()  # pyrefly: ignore[missing-attribute]
        return int(float(number) * UNITS[unit])

    @contextmanager
    def reader(self, text: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """A streaming result, in the order of the query; nothing else may run until it is read."""
        with self._explained(text):
            yield self._connection.sql(self._filled(text)).to_arrow_reader(batch_rows)

    @contextmanager
    def registered(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[None]:
        """For a while, a table of that name that can be read once, batch by batch."""
        self._connection.register(name, pa.RecordBatchReader.from_batches(schema, batches))
        try:
            yield
        finally:
            self._connection.unregister(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free memory and spilled files; a result that another thread still reads is broken off first."""
        for _ in range(CLOSE_ATTEMPTS):
            try:
                self._connection.close()
            except duckdb.ResourceInUseException:
                self._connection.interrupt()
                time.sleep(CLOSE_SECONDS)
            else:
                return

    def _filled(self, text: str) -> str:
        """`text` with the paths of raw files, and Parquet files of different columns read without loss."""
        return self.schemas.unified(sql.fill(text, self.paths))

    def _set(self, name: str, value: str) -> None:
        try:
            self._connection.execute(f"SET {name} = {value}")
        except duckdb.Error as error:
            option = "--" + name.replace("_", "-")
            given = value.strip("'")
            raise UsageError(f"`{option} {given}` is not valid: {first_line(str(error))}") from None

    @contextmanager
    def _explained(self, query: str = "") -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise self._explain(error, query) from None
        except RuntimeError as error:
            if "Query interrupted" in str(error):  # what DuckDB makes of Ctrl-C
                raise KeyboardInterrupt from None
            raise

    def _roomier(self) -> str:
        """What to try where memory did not suffice. Not asked of DuckDB: it may still be at work."""
        fewer = "" if self.threads == 1 else ", or lower `--threads`"
        given = f" above {self.memory_limit}" if self.memory_limit is not None else ""
        return f"raise `--memory-limit`{given}{fewer}"

    def _explain(self, error: Exception, query: str) -> WukongError:
        text = str(error)
        if "Out of Memory" in text:
            return OutOfMemory(
                f"dataset `{self.dataset}` needs more memory than it was given",
                hint=self._roomier(),
            )
        if FULL in text:
            return RunFailed(
                f"cannot write the files of dataset `{self.dataset}`: {FULL.lower()}",
                hint="nothing was changed; make room and try again",
            )
        if failure := self._bad_file(text, query):
            return failure
        if isinstance(error, duckdb.ConversionException) or conversions.VALUE.search(text):
            return self._unconverted(text, query)
        if extension := MISSING_EXTENSION.search(text):
            return _lacks_extension(extension[1] or extension[2], self.dataset)
        if unknown := UNKNOWN_COLUMN.search(text):
            closest = ", ".join(f"`{name}`" for name in re.findall('"([^"]+)"', unknown[2] or ""))
            return UsageError(
                f"dataset `{self.dataset}` has no column `{unknown[1]}`",
                hint=f"the closest: {closest}" if closest else None,
            )
        if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
            return UsageError(f"the SQL of dataset `{self.dataset}` is not valid: {first_line(text)}")
        return RunFailed(f"reading dataset `{self.dataset}` failed: {first_line(text)}")

    def _unconverted(self, text: str, query: str) -> ConversionFailed:
        place, expression = conversions.place(self, query, text), conversions.expression(text)
        what = first_line(text) + (f" in `{expression}`" if expression is not None else "")
        if place is None:
            return ConversionFailed(f"reading dataset `{self.dataset}` failed: {what}", hint=conversions.HINT)
        message = f"`{place}`: {what[:1].lower()}{what[1:]} (dataset `{self.dataset}`)"
        return ConversionFailed(message, hint=conversions.HINT)

    def _bad_file(self, text: str, query: str) -> RunFailed | None:
        """What is wrong with a raw file, and where; None when the error is of another kind."""
        if failure := self._bad_bytes(text):
            return failure
        if "CSV Error on Line" in text or "sniffing file" in text:
            what = csv_problem(text, self.paths)
            of_a_row = (
                lines.PLACED.match(what) and not CSV_LIMIT.search(text) and "store_rejects" not in query
            )
            hint = LOOSEN if what.endswith(lines.OTHER_END) else lines.SKIP if of_a_row else MEND
            if of_a_row and "Error when converting" in text and not TEXTS.search(query):
                hint = AS_TEXT
            return RunFailed(f"{what} (dataset `{self.dataset}`)", hint=hint)
        if LOST in text and (placed := self._odd_line()):
            return RunFailed(f"{placed} (dataset `{self.dataset}`)", hint=LOOSEN)
        if cut := CUT_SHORT.search(text):
            what = f"`{Path(cut[1]).name}` ends in the middle (dataset `{self.dataset}`)"
            return RunFailed(what, hint="fetch or copy the file again")
        if mismatch := CSV_MISMATCH.search(text):
            first, file = Path(mismatch[1]).name, Path(mismatch[2]).name
            what = re.sub('[Cc]olumn with name: "(.*)" is missing', r"column `\1` is missing", mismatch[3])
            return RunFailed(
                f"`{file}`: {what}, which `{first}` has (dataset `{self.dataset}`)",
                hint="give all files the same columns, or read them with `union_by_name=true`",
            )
        return None

    def _bad_bytes(self, text: str) -> RunFailed | None:
        """The error for a text file that is compressed, or of another encoding, than the SQL says."""
        if not any(word in text for word in (*UNICODE, "CSV Error", "sniffing file", LOST)):
            return None
        whole, named = (
            any(word in text for word in UNICODE),
            CSV_FILE.search(text) or CSV_SNIFFED.search(text),
        )
        for path in self._files():
            known = named is None or Path(named[1]).name == path.name
            hint = encodings.advice(path, whole=whole) if known else None
            if hint is not None:
                what = csv_problem(text, self.paths) if whole and CSV_LINE.search(text) else ""
                said = what or f"`{path.name}`: its bytes are not what the SQL takes them for"
                return RunFailed(f"{said} (dataset `{self.dataset}`)", hint=hint)
        return None

    def _files(self) -> Iterator[Path]:
        """All raw files."""
        for place in self.paths.values():
            yield from lines.paths_of(place)

    def _odd_line(self) -> str | None:
        """The first line of a raw file that is not as the others, for an error that names no place."""
        for path in self._files():
            if odd := lines.odd_line(path, ",\t|;"):
                return _placed(path.name, str(odd[0]), odd[1])
        return None


def _unreadable(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, str, str]]:
    tables = connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()
    if ("reject_errors",) not in tables:
        return []
    return connection.sql(
        "SELECT file_path, line, min_by(error_message, column_idx), any_value(csv_line) "
        "FROM reject_errors JOIN reject_scans USING (scan_id, file_id) "
        "GROUP BY file_path, line ORDER BY file_path, line"
    ).fetchall()


def _lacks_extension(name: str, dataset: str) -> RunFailed:
    install = f"python -c \"import duckdb; duckdb.sql('INSTALL {name}')\""
    return RunFailed(
        f"dataset `{dataset}` is read with DuckDB's extension `{name}`, which this machine does not have",
        hint=f"on a machine with a network, run `{install}` once; or copy the files here and use their paths",
    )


def _names(plan: list[dict[str, Any]]) -> Iterator[str]:
    for node in plan:
        yield node["name"].strip()
        yield from _names(node["children"])


def first_line(text: str) -> str:
    """DuckDB's message without its class, its picture of the query and its list of settings."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    message = (
        re.sub(r"^(Invalid Input|[A-Za-z]+)( with name \w+)? Error: ", "", lines[0])
        if lines
        else "unknown error"
    )
    candidates = [line for line in lines[1:3] if line.startswith(("Candidate", "Did you mean"))]
    return " · ".join([message.rstrip("!."), *candidates])


def csv_problem(text: str, paths: Mapping[str, Path | tuple[Path, ...]] | None = None) -> str:
    """`file:line: what`, from DuckDB's page-long report.

    A file whose pattern DuckDB cannot guess has no line in the report: it is then looked for in the file,
    which is the one of that name among `paths`.
    """
    file = CSV_FILE.search(text) or CSV_SNIFFED.search(text)
    line = CSV_LINE.search(text)
    name = Path(file[1]).name if file else ""
    places = (place if isinstance(place, tuple) else (place,) for place in (paths or {}).values())
    known = [path for several in places for path in several if path.name == name]
    if line is not None:
        what, limit = CSV_REASON.search(text, line.end()), CSV_LIMIT.search(text)
        # Of a line that is too long DuckDB gives the number within its sample.
        long = lines.long_line(known[0], int(limit[1])) if limit and known else None
        return _placed(name, str(long or line[1]), what[0] if what else first_line(text))
    candidates = CSV_DELIMITERS.search(text)
    listed = re.findall("'(.)'", candidates[1]) if candidates else []
    odd = lines.odd_line(known[0], "".join(listed) or ",\t|;") if known else None
    if odd is not None:
        return _placed(name, str(odd[0]), odd[1])
    entries = [entry.strip() for entry in text.splitlines() if entry.strip()]
    return _placed(name, "", entries[1] if len(entries) > 1 else entries[0])


def _placed(name: str, line: str, what: str) -> str:
    what = CSV_COLUMNS.sub(r"expected \1 columns, found \2", what.strip())
    return f"`{':'.join(filter(None, [name, line]))}`: {what[:1].lower()}{what[1:].rstrip('.')}"
