"""What the stages of a preparation need, wherever they run: a job crosses to other processes and machines."""

from dataclasses import dataclass
from pathlib import Path

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.query import sql
from wukongctl.data.query.engine import DISABLED, Engine
from wukongctl.data.query.lines import paths_of

GENERATED = "synthetic"
"""The view over the rows that the tool generates itself."""


@dataclass(frozen=True)
class PrepareJob:
    """A recipe, its raw files and parts, and the folder in which stages leave their results."""

    spec: DatasetSpec
    paths: dict[str, Path | tuple[Path, ...]]
    search: Path
    """Folder that relative paths in the SQL start from."""
    work: Path
    memory_limit: str | None = None
    threads: int | None = None
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    """What planning found that a person should know."""

    def engine(self, spill: str = "") -> Engine:
        """A fresh DuckDB; `spill` keeps the temporary files of concurrent ones apart."""
        folder = self.work / "spill" / spill
        folder.mkdir(parents=True, exist_ok=True)  # DuckDB would make the last level only
        engine = Engine(
            self.spec.name,
            self.paths,
            spill=folder,
            search=self.search,
            memory_limit=self.memory_limit,
            threads=self.threads,
        )
        if sql.TRY_CAST.search(f"{self.spec.queries} {self.spec.label}"):
            # DuckDB 2.0 has its CSV reader do the casts of a query, where even TRY_CAST fails (its #23818).
            engine.execute(f"SET disabled_optimizers = '{DISABLED},type_pushdown'")
        if GENERATED in self.paths:
            engine.execute(f"CREATE VIEW {GENERATED} AS SELECT * FROM read_parquet('{{{GENERATED}}}')")
        return engine

    def rows(self, part: Part) -> Path:
        """Where the raw rows of a part stand in compact form, once they do."""
        return self.work / "rows" / part.name

    def counts(self, part: Part) -> Path:
        """Where the counts of a part stand, once they do."""
        return self.work / "counts" / part.name

    def encoded(self, part: Part) -> Path:
        """Where the encoded rows of a part stand, once they do."""
        return self.work / "encoded" / part.name

    def bytes(self, part: Part) -> int:
        """Size of the raw files that a part reads."""
        names = set(sql.PLACEHOLDER.findall(part.query)) & set(self.paths)
        return sum(path.stat().st_size for name in names for path in paths_of(self.paths[name]))

    def path(self, name: str) -> Path:
        """Where the raw file `name`, which is no pattern, is."""
        (path,) = paths_of(self.paths[name])
        return path
