"""Columns of objects: the SQL of the remark is run here."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wukongctl.data.drafting.draft import draft
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

ROWS = 300


def records() -> list[dict[str, Any]]:
    pick = random.Random(0)
    return [
        {
            "props": {"colour": pick.choice(["red", "blue"]), "size no": i, "geo": {"lat": i / 4}},
            "a": f"v{pick.randrange(9)}",
            "click": pick.randrange(2),
        }
        for i in range(ROWS)
    ]


def written(ending: str) -> Path:
    path, rows = Path(f"t.{ending}"), records()
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cells = ('"' + json.dumps(row["props"]).replace('"', '""') + '"' for row in rows)
        lines = (f"{cell},{row['a']},{row['click']}\n" for cell, row in zip(cells, rows, strict=True))
        path.write_text("props,a,click\n" + "".join(lines))
    return path


def pasted(path: Path, text: str, remark: str) -> list[dict[str, Any]]:
    """The rows with the SELECT of the remark instead of the recipe's."""
    found = re.search(r"select `\*, (.*)`$", remark)
    assert found is not None
    rows = text.split("rows: |")[1].split("\nsplit:", maxsplit=1)[0].split("\n#", maxsplit=1)[0]
    query = sql.source(f"SELECT {found[1]} FROM ({rows})")
    engine = Engine("t", {path.name: path}, spill=Path(), search=Path())
    try:
        names = list(engine.types(query))
        return [dict(zip(names, row, strict=True)) for row in engine.rows(query)]
    finally:
        engine.close()


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_the_sql_of_the_remark_selects_the_fields(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(ending)
    result = draft(path.name)
    (said,) = [remark for remark in result.remarks if "holds objects" in remark]
    found = pasted(path, result.text, said)
    parts = [row["props"] for row in records()]
    assert [row["props_colour"] for row in found] == [part["colour"] for part in parts]
    assert [int(row["props_size no"]) for row in found] == [part["size no"] for part in parts]
    if ending != "csv":
        assert [row["props_geo_lat"] for row in found] == [part["geo"]["lat"] for part in parts]


def test_a_list_of_objects_gives_a_list_per_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"items": [{"id": i % 5}, {"id": 7}], "a": f"v{i % 9}", "click": i % 7 % 2} for i in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), "t.parquet")
    result = draft("t.parquet")
    (said,) = [remark for remark in result.remarks if "holds lists of objects" in remark]
    found = pasted(Path("t.parquet"), result.text, said)
    assert [row["items_id"] for row in found] == [[i % 5, 7] for i in range(ROWS)]


def test_texts_in_braces_are_not_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{{v{i % 9}}},{i % 7 % 2}\n" for i in range(ROWS))
    Path("t.csv").write_text(f"a,click\n{rows}")
    assert not [remark for remark in draft("t.csv").remarks if "object" in remark]
