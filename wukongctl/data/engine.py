"""DuckDB behind four verbs: settings that keep memory flat, and errors a person can act on.

Queries carry placeholders `'{name}'` for raw files; paths are put in only here, so that the text of a
statement is the same on every machine.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from wukongctl.data import sql
from wukongctl.errors import RunFailed, UsageError, WukongError

CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
CSV_COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
CSV_FILE = re.compile(r"^\s*file = (.+)$", re.MULTILINE)
MISSING_EXTENSION = re.compile(
    r'requires the extension (\w+)|Extension "[^"]*?(\w+)\.duckdb_extension" not found'
)
FAILURES = (duckdb.Error, pa.ArrowException, OSError)


class ConversionFailed(RunFailed):
    """A text that should have been a number; the pipeline finds out where it stands."""


class Engine:
    """One in-memory DuckDB for one preparation; `digest` covers the statements it ran."""

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
        self._hasher = hashlib.sha256()
        self._connection = duckdb.connect()
        settings = {
            "enable_progress_bar": "false",
            "temp_directory": sql.literal(str(spill)),
            "file_search_path": sql.literal(str(search)),
            "autoinstall_known_extensions": "false",
        }
        if memory_limit is not None:
            settings["memory_limit"] = sql.literal(memory_limit)
        if threads is not None:
            settings["threads"] = str(threads)
        for name, value in settings.items():
            self._set(name, value)

    def path(self, name: str) -> Path:
        """Where the raw file `name`, which is no pattern, is."""
        path = self.paths[name]
        assert isinstance(path, Path)
        return path

    def execute(self, text: str) -> None:
        """Run a statement that gives no rows."""
        with self._explained():
            self._connection.execute(self._filled(text))

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a small result."""
        with self._explained():
            return self._connection.sql(self._filled(text)).fetchall()

    def aside(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a question asked only to explain a failure, while a reader may still be open."""
        return self._connection.cursor().sql(sql.fill(text, self.paths)).fetchall()

    def table(self, text: str) -> pa.Table:
        """A result that fits in memory."""
        with self._explained():
            return self._connection.sql(self._filled(text)).to_arrow_table()

    def types(self, text: str) -> dict[str, str]:
        """Column name → DuckDB type, without running the query."""
        with self._explained():
            relation = self._connection.sql(sql.fill(text, self.paths))
            return dict(zip(relation.columns, map(str, relation.types), strict=True))

    @contextmanager
    def reader(self, text: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """A streaming result, in the order of the query; nothing else may run until it is read."""
        with self._explained():
            yield self._connection.sql(self._filled(text)).to_arrow_reader(batch_rows)

    def digest(self) -> str:
        """SHA-256 of all statements so far."""
        return self._hasher.hexdigest()

    def close(self) -> None:
        """Free memory and spilled files."""
        self._connection.close()

    def _filled(self, text: str) -> str:
        self._hasher.update(text.encode())
        return sql.fill(text, self.paths)

    def _set(self, name: str, value: str) -> None:
        try:
            self._connection.execute(f"SET {name} = {value}")
        except duckdb.Error as error:
            option = "--" + name.replace("_", "-")
            given = value.strip("'")
            raise UsageError(f"`{option} {given}` is not valid: {first_line(str(error))}") from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> WukongError:
        text = str(error)
        if "Out of Memory" in text:
            return RunFailed(
                f"dataset `{self.dataset}` needs more memory than it was given",
                hint="raise `--memory-limit`, or lower `--threads`",
            )
        if "CSV Error on Line" in text or "sniffing file" in text:
            return RunFailed(f"{csv_problem(text)} (dataset `{self.dataset}`)")
        if "Could not convert" in text:
            return ConversionFailed(f"reading dataset `{self.dataset}` failed: {first_line(text)}")
        if extension := MISSING_EXTENSION.search(text):
            return _lacks_extension(extension[1] or extension[2], self.dataset)
        if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
            return UsageError(f"the SQL of dataset `{self.dataset}` is not valid: {first_line(text)}")
        return RunFailed(f"reading dataset `{self.dataset}` failed: {first_line(text)}")


def _lacks_extension(name: str, dataset: str) -> RunFailed:
    install = f"python -c \"import duckdb; duckdb.sql('INSTALL {name}')\""
    return RunFailed(
        f"dataset `{dataset}` is read with DuckDB's extension `{name}`, which this machine does not have",
        hint=f"on a machine with a network, run `{install}` once; or copy the files here and use their paths",
    )


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


def csv_problem(text: str) -> str:
    """`file:line: what`, from DuckDB's page-long report."""
    file = CSV_FILE.search(text) or re.search(r'sniffing file "([^"]+)"', text)
    line = CSV_LINE.search(text)
    lines = [entry.strip() for entry in text.splitlines() if entry.strip()]
    if line is None:
        what = lines[1] if len(lines) > 1 else lines[0]
    else:
        start = next(i for i, entry in enumerate(lines) if CSV_LINE.search(entry))
        what = lines[min(start + 2, len(lines) - 1)]
    what = CSV_COLUMNS.sub(r"expected \1 columns, found \2", what)
    where = ":".join(filter(None, [Path(file[1]).name if file else "", line[1] if line else ""]))
    return f"`{where}`: {what[:1].lower()}{what[1:].rstrip('.')}"
