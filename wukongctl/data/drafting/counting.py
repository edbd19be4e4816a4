"""The distinct values of each column, counted once; columns are measured by these instead of by rows."""

from collections.abc import Iterable

from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

MEASURED = "measured"
"""The table of measured rows."""
TEXT = "NULLIF(trim(CAST({} AS VARCHAR)), '')"


class ValueCounts:
    """`tables` has a table per column: value as trimmed text `v` (NULL: missing), rows `n`, `first` row."""

    def __init__(self, engine: Engine, columns: Iterable[str]) -> None:
        self.engine = engine
        self.tables: dict[str, str] = {}
        for name in columns:
            self.count(name)

    def count(self, name: str, expression: str | None = None) -> None:
        """Count the values of a column, or of an SQL `expression` in its place."""
        table = self.tables.setdefault(name, f"counts_{len(self.tables)}")
        rows = f"SELECT {expression or sql.identifier(name)} AS r, rowid AS row FROM {MEASURED}"
        once = f"SELECT r, count(*) AS n, min(row) AS first FROM ({rows}) GROUP BY r"
        self.engine.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {TEXT.format('r')} AS v, "
            f"CAST(sum(n) AS BIGINT) AS n, min(first) AS first FROM ({once}) GROUP BY v"
        )

    def most_frequent(self, name: str, limit: int, where: str = "v IS NOT NULL") -> list[tuple[str, int]]:
        """Values and their rows."""
        query = f"SELECT v, n FROM {self.tables[name]} WHERE {where} ORDER BY n DESC, v LIMIT {limit}"
        return [(str(value), int(rows)) for value, rows in self.engine.rows(query)]

    def sample(self, name: str, limit: int) -> dict[str, int]:
        """A repeatable random sample of values, and their rows."""
        query = f"SELECT v, n FROM {self.tables[name]} WHERE v IS NOT NULL ORDER BY hash(v), v LIMIT {limit}"
        return {str(value): int(rows) for value, rows in self.engine.rows(query)}
