"""What a paper prints for a recipe that follows it, for `flops` to show beside our own count."""

from dataclasses import dataclass
from pathlib import Path

from wukongctl.config import library
from wukongctl.scaling.table import Row, Table


@dataclass(frozen=True)
class Published:
    """One row of a published table: training GFLOP per example and dense parameters, as rounded there."""

    source: str
    gflop: float
    dense_params: int

    def to_dict(self) -> dict[str, float | str]:
        """The object `published` of `flops --json`."""
        return {
            "source": self.source,
            "gflop_per_example": self.gflop,
            "dense_params": self.dense_params,
        }


def published(recipe: Path) -> Published | None:
    """The row of a shipped recipe in the points beside its folder: `table5/dlrm-2.yaml` in `table5.csv`."""
    shipped = library.root() in recipe.parents
    points = recipe.parent.with_suffix(".csv") if shipped else None
    if points is None or not points.is_file():
        return None
    table = Table.read(points)
    row = next((row for row in table.rows if row.cells.get("recipe") == recipe.stem), None)
    return None if row is None else _read(table, row)


def _read(table: Table, row: Row) -> Published | None:
    gflop = table.number(row, "gflop_per_example", float)
    dense = table.number(row, "dense_params", int)
    table.raise_problems()
    assert gflop is not None
    assert dense is not None
    source = table.path.relative_to(library.root()).with_suffix("").as_posix()
    return Published(source, gflop, dense)
