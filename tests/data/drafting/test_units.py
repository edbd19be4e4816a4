"""Numbers with units or in brackets: the SQL of the remark is run here."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.drafting.drafts import Table, uses, write
from wukongctl.data.drafting.draft import Draft, draft
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

ROWS = 400


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drafted(values: list[str]) -> Draft:
    pick = random.Random(0)
    table: Table = {
        "x": values,
        "a": [f"v{pick.randrange(9)}" for _ in values],
        "click": [pick.randrange(2) for _ in values],
    }
    write(table, Path("t.csv"))
    return draft("t.csv")


def pasted(result: Draft, remark: str) -> list[float | None]:
    """The column as the SQL of the remark reads it."""
    found = re.search(r"select `(.*) AS \"x\"`", remark)
    assert found is not None
    text = (
        f'SELECT {found[1]} AS "x" FROM ({result.text.split("rows: |")[1].split("split:")[0].split("#")[0]})'
    )
    engine = Engine("t", {"t.csv": Path("t.csv")}, spill=Path(), search=Path())
    try:
        return [value for (value,) in engine.rows(sql.source(text))]
    finally:
        engine.close()


def remark(result: Draft) -> str:
    (said,) = [remark for remark in result.remarks if "`x`" in remark]
    return said


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (lambda i: f"{i * 7} km", lambda i: i * 7),
        (lambda i: f"{i * 7 / 4:.2f}kg", lambda i: i * 7 / 4),
        (lambda i: f"-{i},5 °C", lambda i: -i - 0.5),
        (lambda i: f"{1000 + i:,} sqft", lambda i: 1000 + i),
        (lambda i: f"USD {i}.25", lambda i: i + 0.25),
        (lambda i: f"({i}.31)" if i % 3 else f"{i}.31", lambda i: -i - 0.31 if i % 3 else i + 0.31),
        (lambda i: f"(1,{i:03})" if i % 3 else f"2,{i:03}", lambda i: -1000 - i if i % 3 else 2000 + i),
    ],
)
def test_the_sql_of_the_remark_reads_the_numbers(
    written: Callable[[int], str], read: Callable[[int], float]
) -> None:
    result = drafted([written(i) for i in range(ROWS)])
    assert uses(result)["x"] != "numeric"
    assert pasted(result, remark(result)) == pytest.approx([read(i) for i in range(ROWS)])


def test_several_units_have_a_factor_each() -> None:
    result = drafted([f"{i}{'GB' if i % 3 else 'MB'}" for i in range(ROWS)])
    said = remark(result)
    assert "the factor of each unit (`GB` and `MB`) instead of 1" in said
    said = said.replace("'%GB' THEN 1", "'%GB' THEN 1000")
    assert pasted(result, said) == [i * 1000 if i % 3 else i for i in range(ROWS)]


@pytest.mark.parametrize(
    "written",
    [
        lambda i: f"SKU-{i}",
        lambda i: f"{i}{'abcdefgh'[i % 8]}",
        lambda i: f"v{i}",
        lambda i: f"{i % 4} mg",
        lambda i: f"{i} {i} {i}",
        lambda i: f"{i}_{i}",
        lambda i: f"flat {i}",
        lambda i: f"2024-01-{1 + i % 28:02}",
    ],
)
def test_codes_are_not_numbers(written: Callable[[int], str]) -> None:
    assert not [
        remark for remark in drafted([written(i) for i in range(ROWS)]).remarks if "is a number" in remark
    ]
