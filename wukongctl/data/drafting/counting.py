"""The different values of each column, counted once. Whatever is asked of a column is asked of these, which
are few where values repeat, rather than of its rows.
"""

from collections.abc import Iterable, Mapping

from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

LOOKED_AT = "looked_at"
"""The table of the rows that are looked at."""
TEXT = "NULLIF(trim(CAST({} AS VARCHAR)), '')"


class ValueCounts:
    """One table per column: `v`, a value as trimmed text (NULL: missing); `n`, its rows; `first` of them."""

    def __init__(self, engine: Engine, columns: Iterable[str]) -> None:
        self.engine = engine
        self._tables: dict[str, str] = {}
        for name in columns:
            self.count(name)

    def count(self, name: str, expression: str | None = None) -> None:
        """Count the values of a column again, as `expression` makes them."""
        table = self._tables.setdefault(name, f"counts_{len(self._tables)}")
        rows = f"SELECT {expression or sql.identifier(name)} AS r, rowid AS place FROM {LOOKED_AT}"
        once = f"SELECT r, count(*) AS n, min(place) AS first FROM ({rows}) GROUP BY r"
        self.engine.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {TEXT.format('r')} AS v, "
            f"CAST(sum(n) AS BIGINT) AS n, min(first) AS first FROM ({once}) GROUP BY v"
        )

    def table(self, name: str) -> str:
        """The table of a column, as a FROM item."""
        return self._tables[name]

    def tables(self) -> Mapping[str, str]:
        """Column → its table."""
        return self._tables

    def most_frequent(self, name: str, limit: int, where: str = "v IS NOT NULL") -> list[tuple[str, int]]:
        """Values and their rows."""
        query = f"SELECT v, n FROM {self.table(name)} WHERE {where} ORDER BY n DESC, v LIMIT {limit}"
        return [(str(value), int(rows)) for value, rows in self.engine.rows(query)]

    def some(self, name: str, limit: int) -> dict[str, int]:
        """Values taken at random, the same every time, and their rows."""
        query = f"SELECT v, n FROM {self.table(name)} WHERE v IS NOT NULL ORDER BY hash(v), v LIMIT {limit}"
        return {str(value): int(rows) for value, rows in self.engine.rows(query)}
