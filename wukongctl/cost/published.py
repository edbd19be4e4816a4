"""The cost that a paper reports for a shipped recipe; `flops` prints it next to its own count."""

import csv
from dataclasses import dataclass
from pathlib import Path

from wukongctl.config import library


@dataclass(frozen=True)
class Published:
    """One row of a published table: training GFLOP per example and dense parameters, rounded as printed."""

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
    """The row of a shipped recipe in the CSV file next to its folder, such as `table5.csv`."""
    shipped = library.root() in recipe.parents
    points = recipe.parent.with_suffix(".csv") if shipped else None
    if points is None or not points.is_file():
        return None
    with points.open(encoding="utf-8", newline="") as file:
        row = next((row for row in csv.DictReader(file) if row.get("recipe") == recipe.stem), None)
    if row is None:
        return None
    source = points.relative_to(library.root()).with_suffix("").as_posix()
    return Published(source, float(row["gflop_per_example"]), int(row["dense_params"]))
