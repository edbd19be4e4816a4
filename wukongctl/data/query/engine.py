"""DuckDB with settings that bound its memory, and with errors that name file, line and remedy.

Queries carry placeholders `'{name}'` for raw files; paths are filled in only here, so that the text of a
statement is the same on every machine.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from wukongctl.data.query import access, failures, sql
from wukongctl.data.query.failures import OutOfMemory
from wukongctl.data.query.lines import paths_of
from wukongctl.data.query.schemas import Schemas
from wukongctl.errors import UsageError, WukongError

MEMORY_LIMIT = re.compile(r"(?=.*[1-9])\d+(\.\d+)? ?([KMGT]i?B|B|bytes)", re.IGNORECASE)
SIZE = re.compile(r"([\d.]+) ?(\w+)")
UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DISABLED = "statistics_propagation"
"""An optimizer that takes the bounds of a Parquet column for those of all its values, though they leave NaN
out: `isnan` of it is then false without a look."""
CASTS_IN_READER = "type_pushdown"
"""An optimizer of DuckDB 2.0 that has its CSV reader do the casts of a query, where even TRY_CAST fails (its
#23818)."""
CLOSE_ATTEMPTS, CLOSE_SECONDS = 500, 0.01


def require_memory_limit(size: str | None) -> None:
    """UsageError unless DuckDB accepts `size` as an amount of memory."""
    if size is not None and not MEMORY_LIMIT.fullmatch(size.strip()):
        raise UsageError(
            f"`--memory-limit {size}` is not valid: expected a size",
            hint="for example `4GB`, `500MB` or `2GiB`",
        )


class Engine:
    """An in-memory DuckDB that opens `paths`, what is in the folder `search`, and what `allow` names.

    Relative paths in the SQL start at `search`, and so do those of `allow`: files, folders and addresses.
    With `tries_casts`, the SQL has a TRY_CAST.
    """

    connect = staticmethod(duckdb.connect)

    def __init__(
        self,
        dataset: str,
        paths: Mapping[str, Path | tuple[Path, ...]],
        *,
        spill: Path,
        search: Path,
        memory_limit: str | None = None,
        threads: int | None = None,
        allow: Sequence[str] = (),
        tries_casts: bool = False,
    ) -> None:
        self.dataset, self.paths, self.search = dataset, paths, search
        self.memory_limit, self.threads = memory_limit, threads
        self._connection = self.connect()
        self.schemas = Schemas(self._run, search)
        self._set("enable_progress_bar", "false")
        self._set("temp_directory", sql.literal(str(spill)))
        self._set("autoinstall_known_extensions", "false")
        optimizers = [DISABLED, *([CASTS_IN_READER] if tries_casts else [])]
        self._set("disabled_optimizers", sql.literal(",".join(optimizers)))
        self._set("streaming_buffer_size", "'16MB'")  # with 1 MB, its default, threads wait for the reader
        self._set("arrow_output_version", "'1.4'")  # knows views
        self._set("produce_arrow_string_view", "true")  # short texts can be hashed as numbers
        if memory_limit is not None:
            self._set("memory_limit", sql.literal(memory_limit))
        if threads is not None:
            self._set("threads", str(threads))
        with self._explained():
            self._confine(allow)

    @contextmanager
    def reading(self, paths: Mapping[str, Path | tuple[Path, ...]]) -> Iterator[None]:
        """Fill placeholders with other `paths` in a block."""
        before, self.paths = self.paths, paths
        try:
            yield
        finally:
            self.paths = before

    def execute(self, text: str) -> None:
        """Run a statement without a result."""
        with self._explained(text):
            self._connection.execute(self._filled(text))

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a small result."""
        with self._explained(text):
            return self._connection.sql(self._filled(text)).fetchall()

    def cursor_rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a small result, while a `reader` may still be open."""
        with self._explained(text):
            return self._connection.cursor().sql(self._filled(text)).fetchall()

    def try_rows(self, text: str) -> tuple[list[tuple[Any, ...]], list[tuple[str, int, str, str]]] | None:
        """What `cursor_rows` and then `unreadable` return; None if the query fails."""
        cursor = self._connection.cursor()
        try:
            return cursor.sql(self._filled(text)).fetchall(), _unreadable(cursor)
        except duckdb.Error:
            return None

    def unreadable(self) -> list[tuple[str, int, str, str]]:
        """File, line, message and text of each line that a scan with `store_rejects` could not read."""
        with self._explained():
            return _unreadable(self._connection)

    def types(self, text: str) -> dict[str, str]:
        """Column name → DuckDB type, without running the query."""
        with self._explained(text):
            relation = self._connection.sql(self._filled(text))
            return dict(zip(relation.columns, map(str, relation.types), strict=True))

    def operators(self, text: str) -> set[str]:
        """Names of the operators of the query's plan."""
        ((_, plan),) = self.cursor_rows(f"EXPLAIN (FORMAT json) {text}")
        return {node["name"].strip() for node in operators(json.loads(plan))}

    @property
    def memory(self) -> int:
        """DuckDB's own limit in bytes."""
        ((text,),) = self.rows("SELECT current_setting('memory_limit')")
        number, unit = SIZE.fullmatch(text).groups()  # pyrefly: ignore[missing-attribute]
        return int(float(number) * UNITS[unit])

    @contextmanager
    def reader(self, text: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """A streaming result, in the order of the query; nothing else may run until it is read.

        Text comes as `string_view`, which few functions of Arrow know (see `without_views`).
        """
        with self._explained(text):
            yield self._connection.sql(self._filled(text)).to_arrow_reader(batch_rows)

    @contextmanager
    def registered(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[None]:
        """Within the block, a table of that name that can be read once, batch by batch."""
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
        """Free memory and spilled files; interrupts a result that another thread still reads.

        Gives up after some seconds: the error that led here matters more than what that thread holds.
        """
        for _ in range(CLOSE_ATTEMPTS):
            try:
                self._connection.close()
            except duckdb.ResourceInUseException:
                self._connection.interrupt()
                time.sleep(CLOSE_SECONDS)
            else:
                return

    def _confine(self, allow: Sequence[str]) -> None:
        files = [path for paths in self.paths.values() for path in paths_of(paths)]
        access.confine(self._connection, self.search, files, allow)

    def _filled(self, text: str) -> str:
        """`text` with the paths of raw files, and Parquet files of different columns read without loss."""
        text = sql.fill(sql.anchored(text, self.search), self.paths)
        return self.schemas.unified(access.require_one(self._connection, text, self.dataset))

    def _run(self, text: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        return cursor.sql(access.require_one(cursor, text, self.dataset)).fetchall()

    def _set(self, name: str, value: str) -> None:
        try:
            self._connection.execute(f"SET {name} = {value}")
        except duckdb.Error as error:
            option, value = "--" + name.replace("_", "-"), value.strip("'")
            message = f"`{option} {value}` is not valid: {failures.first_line(str(error))}"
            raise UsageError(message) from None

    @contextmanager
    def _explained(self, query: str = "") -> Iterator[None]:
        try:
            yield
        except failures.KINDS as error:
            raise self._explain(error, query) from None
        except RuntimeError as error:
            if "Query interrupted" in str(error):  # Ctrl-C
                raise KeyboardInterrupt from None
            raise

    def _explain(self, error: Exception, query: str) -> WukongError:
        failure = failures.explain(self, error, query)
        if isinstance(failure, OutOfMemory):  # the limit is not asked of DuckDB, which may still be at work
            limit = f" above {self.memory_limit}" if self.memory_limit is not None else ""
            fewer = "" if self.threads == 1 else ", or lower `--threads`"
            failure.hint = f"raise `--memory-limit`{limit}{fewer}"
        return failure


def without_views(schema: pa.Schema) -> pa.Schema:
    """`schema` with columns of text, and of lists of text, as Arrow's functions know them."""
    return pa.schema([field.with_type(_without_views(field.type)) for field in schema])


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_without_views(kind.value_type))
    return pa.string() if kind == pa.string_view() else kind


def operators(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every operator of a plan that DuckDB explains as JSON."""
    for node in plan:
        yield node
        yield from operators(node["children"])


def _unreadable(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, str, str]]:
    tables = connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()
    if ("reject_errors",) not in tables:
        return []
    return connection.sql(
        "SELECT file_path, line, min_by(error_message, column_idx), any_value(csv_line) "
        "FROM reject_errors JOIN reject_scans USING (scan_id, file_id) "
        "GROUP BY file_path, line ORDER BY file_path, line"
    ).fetchall()
