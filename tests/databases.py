"""In-memory DuckDB databases that one engine after another uses: opening a new one takes 15 CPU-milliseconds.

A lent database is empty and has DuckDB's own settings. As a database can be confined to some files only for
good, a lent one is not: tests of what SQL may read use `own_databases`. With `HYPOTHESIS_PROFILE=fresh` every
engine opens its own, as it does outside of the tests.
"""

import itertools
from contextlib import suppress

import duckdb
import pytest

from wukongctl.data.query.engine import Engine

LEFT_BEHIND = (
    "SELECT 'VIEW', view_name FROM duckdb_views() WHERE NOT internal "
    "UNION ALL SELECT 'TABLE', table_name FROM duckdb_tables()"
)
SETTINGS = (
    "arrow_output_version",
    "autoinstall_known_extensions",
    "disabled_optimizers",
    "memory_limit",
    "produce_arrow_string_view",
    "temp_directory",
    "threads",
)
"""Those that an engine changes for the database; others end with its connection."""


class Databases:
    """Lends a database on `connect`; takes it back, and empties it, when its engine is closed."""

    _numbers = itertools.count()
    """Of all lenders: one name is one database in a process."""

    def __init__(self) -> None:
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._lent: dict[int, duckdb.DuckDBPyConnection] = {}

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection to a database that nobody else uses."""
        database = self._idle.pop() if self._idle else duckdb.connect(f":memory:{next(self._numbers)}")
        connection = database.cursor()
        self._lent[id(connection)] = database
        return connection

    def give_back(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Lend the database of a closed connection again; not if something of it remains."""
        database = self._lent.pop(id(connection), None)
        if database is not None and _is_closed(connection):
            with suppress(duckdb.Error):
                self.empty(database)
                self._idle.append(database)

    @staticmethod
    def empty(database: duckdb.DuckDBPyConnection) -> None:
        for kind, name in database.execute(LEFT_BEHIND).fetchall():
            database.execute(f'DROP {kind} "{name}"')
        for name in SETTINGS:
            database.execute(f"RESET GLOBAL {name}")
        for enabled in ("false", "true"):  # forgets the files it has read
            database.execute(f"SET enable_external_file_cache = {enabled}")


def _is_closed(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.ConnectionException:
        return True
    return False


OWN = {name: Engine.__dict__[name] for name in ("connect", "close", "_confine")}


def own_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have engines open databases of their own, confined as outside of the tests."""
    for name, member in OWN.items():
        monkeypatch.setattr(Engine, name, member)


def share_databases() -> None:
    """Have the engines of this process borrow their databases."""
    databases, close = Databases(), Engine.close

    def closed(self: Engine) -> None:
        close(self)
        databases.give_back(self._connection)

    Engine.connect = staticmethod(databases.connect)  # type: ignore[method-assign]
    Engine.close = closed  # type: ignore[method-assign]
    Engine._confine = lambda self, allow: None  # type: ignore[method-assign]
