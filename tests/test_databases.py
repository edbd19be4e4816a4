"""A database that engines share is to each of them as one of its own."""

from pathlib import Path

import duckdb
import pytest

from tests.databases import Databases
from wukongctl.data.query.engine import Engine

SETTINGS = "SELECT name, value FROM duckdb_settings() WHERE scope = 'GLOBAL' ORDER BY name"


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Databases:
    databases = Databases()
    monkeypatch.setattr(Engine, "connect", staticmethod(databases.connect))
    monkeypatch.setattr(Engine, "_confine", lambda self, allow: None)
    return databases


def used(folder: Path) -> Engine:
    """An engine of every setting, after it has made every kind of thing."""
    engine = Engine(
        "clicks", {}, spill=folder / "spill", search=folder, memory_limit="1GB", threads=1, tries_casts=True
    )
    engine.execute("CREATE VIEW synthetic AS SELECT 1 AS label")
    engine.execute('CREATE TABLE "counts" AS FROM synthetic')
    engine.execute("CREATE TEMP VIEW numbers AS FROM synthetic")
    return engine


def test_nothing_remains_of_the_engine_before(lender: Databases, tmp_path: Path) -> None:
    engine = used(tmp_path)
    first = engine._connection
    engine.close()
    lender.give_back(first)
    second = lender.connect()
    assert second.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
    assert second.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone() == (0,)
    with duckdb.connect() as own:
        assert second.execute(SETTINGS).fetchall() == own.execute(SETTINGS).fetchall()
    assert lender.connect().execute("SELECT 1").fetchone() == (1,)
    used(tmp_path).close()  # the same names again


def test_two_at_once_share_nothing_and_what_is_open_is_not_lent(lender: Databases) -> None:
    one, other = lender.connect(), lender.connect()
    one.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert other.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
    lender.give_back(one)  # still open
    assert lender.connect().execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
    assert one.execute("FROM t").fetchall() == [(1,)]


def test_a_database_that_has_spilled_is_not_lent_again(lender: Databases, tmp_path: Path) -> None:
    """DuckDB spills to the folder it began with for as long as a database lives."""
    engine = Engine("clicks", {}, spill=tmp_path / "spill", search=tmp_path, memory_limit="20MB", threads=1)
    engine.execute("CREATE TEMP TABLE t AS SELECT i, hash(i) AS h FROM range(2_000_000) AS r(i)")
    assert list((tmp_path / "spill").iterdir())
    engine.close()
    lender.give_back(engine._connection)
    Engine("clicks", {}, spill=tmp_path / "other", search=tmp_path).close()
