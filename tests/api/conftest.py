"""One small table, prepared and trained on once through the API."""

import random
from pathlib import Path
from typing import Any

import pytest

import wukongctl as wk

DATASET: dict[str, Any] = {
    "name": "clicks",
    "description": "clicks made for tests",
    "files": {"clicks.csv": {}},
    "rows": "SELECT * FROM read_csv('{clicks.csv}', header=true)",
    "split": {"by": "order", "ratio": {"train": 4, "valid": 1, "test": 1}},
    "label": "clicked",
    "features": [
        {"type": "categorical", "columns": ["user", "item"]},
        {"type": "numeric", "columns": ["price"]},
    ],
}
RECIPE: dict[str, Any] = {
    "model": {"name": "mlp", "width": 4, "hidden": [8]},
    "defaults": "fixed",
    "batch_size": 100,
    "epochs": 2,
    "threads": 1,
}


def rows(count: int = 720) -> list[dict[str, Any]]:
    """Clicks that depend on user and item."""
    draw = random.Random(0)
    made = []
    for _ in range(count):
        user, item = draw.randrange(8), draw.randrange(10)
        clicked = draw.random() < (0.8 if (user + item) % 2 else 0.2)
        price = round(draw.uniform(1, 9), 2)
        made.append({"user": f"u{user}", "item": f"i{item}", "price": price, "clicked": int(clicked)})
    return made


class Made:
    """A folder with the raw file, the dataset and a run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, rows()
        lines = [",".join(map(str, row.values())) for row in self.rows]
        (folder / "clicks.csv").write_text("user,item,price,clicked\n" + "\n".join(lines) + "\n")
        self.dataset = wk.prepare(DATASET, source=folder, out=folder / "data")
        self.run = wk.train(RECIPE, self.dataset, out=folder / "runs")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("api"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing may depend on the current folder."""
    monkeypatch.chdir(tmp_path)
