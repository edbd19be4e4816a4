"""The quote of a CSV file: no row may vanish between two apostrophes, and real quotes must be read."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_prepare import own, run
from wukongctl.data.query import quotes, tables
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError

PLAIN = [f"{i % 2},v{i % 7},red" for i in range(60)]


def written(rows: list[str], folder: Path, header: str = "click,a,b") -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path: Path) -> tuple[list[list[str]], tuple[str, ...]]:
    """The rows of a file as `datasets init` has them read, and what is said of it."""
    engine = Engine("t", {path.name: path}, spill=path.parent, search=path.parent)
    try:
        table = tables.describe(engine, path, path.name)
        return [list(row) for row in engine.rows(f"SELECT * FROM {table.source}")], table.doubts
    finally:
        engine.close()


@pytest.mark.parametrize(
    "odd",
    [
        ["1,',red", "0,',red"],
        ["1,',red", "0,v1,red", "0,',red"],
        ["1,red,'", "0,red,'"],
        ["1,'tis,red", "0,'twas,red"],
        ["1,O'Brien,red", "0,the dogs',red"],
        ["1,',red", "0,'tis,red", "1,rock 'n' roll,red", "0,',red"],
        ['1,"a, \'b",red', "0,',red", "1,',red"],
    ],
)
@pytest.mark.parametrize("place", [0, 30, 60])
def test_apostrophes_are_part_of_values(odd: list[str], place: int, tmp_path: Path) -> None:
    rows = PLAIN[:place] + odd * 20 + PLAIN[place:]
    assert read(written(rows, tmp_path)) == (list(csv.reader(rows)), ())


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        ([f"{i % 2},'v, {i % 7}','red'" for i in range(60)], {f"v, {i}" for i in range(7)}),
        ([f"{i % 2},'v {i % 7}','red'" for i in range(60)], {f"v {i}" for i in range(7)}),
        ([f"{i % 2},'O''Brien, {i % 7}',red" for i in range(60)], {f"O'Brien, {i}" for i in range(7)}),
        ([f"{i % 2},'O\\'Brien, {i % 7}',red" for i in range(60)], {f"O'Brien, {i}" for i in range(7)}),
        ([f"{i % 2},'a\nb, {i % 7}','red'" for i in range(60)], {f"a\nb, {i}" for i in range(7)}),
        ([*PLAIN[:58], "1,'a, b',red", "0,'a, b',red"], {"a, b", *(f"v{i}" for i in range(7))}),
    ],
)
def test_values_that_stand_in_apostrophes(rows: list[str], values: set[str], tmp_path: Path) -> None:
    found, said = read(written(rows, tmp_path))
    assert len(found) == 60
    assert {row[1] for row in found} == values
    assert {row[2] for row in found} == {"red"}
    assert said == ("`t.csv`: values are quoted with `'`, as in `'a, b'`",)


def test_both_quotes_in_one_file(tmp_path: Path) -> None:
    """`"` holds a delimiter, so `'` is part of the values."""
    found, said = read(written([f"{i % 2},\"v, {i % 7}\",'red'" for i in range(60)], tmp_path))
    assert found == [[str(i % 2), f"v, {i % 7}", "'red'"] for i in range(60)]
    assert said == ()


def test_an_apostrophe_after_the_sample_is_part_of_its_value(tmp_path: Path) -> None:
    rows = [*PLAIN * 400, "1,',red", "0,',red"]
    assert len(read(written(rows, tmp_path))[0]) == len(rows)


def test_rows_between_two_lone_quotes_are_said_to_be_one(tmp_path: Path) -> None:
    _, said = read(written([*PLAIN, '1,",red', '0,",red'], tmp_path))
    assert said[0].startswith("`t.csv:62`: lines 62 to 63 are read as one row")


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('{t.csv}', all_varchar=true)",
        "read_csv('{t.csv}', all_varchar=true, delim=',')",
        "read_csv('{t.csv}', columns={'click': 'VARCHAR', 'a': 'VARCHAR', 'b': 'VARCHAR'})",
        "'{t.csv}'",
    ],
)
def test_a_recipe_that_leaves_the_quote_to_duckdb_loses_no_row(source: str, tmp_path: Path) -> None:
    path = written([*PLAIN, "1,',red", "0,',red"], tmp_path)
    engine = Engine("t", {path.name: path}, spill=tmp_path, search=tmp_path)
    with pytest.raises(UsageError, match=r"`t.csv:62`: DuckDB detects `'` .* lines 62 to 63") as caught:
        quotes.require_plausible(engine, f"SELECT * FROM {source}")
    assert "`quote='\"'`" in str(caught.value.hint)
    path.write_text(path.read_text().replace("1,',red", "1,'tis,red").replace("0,',red", "0,'twas,red"))
    quotes.require_plausible(engine, f"SELECT * FROM {source}")
    engine.close()


def test_preparation_asks_which_quote_is_meant(tmp_path: Path) -> None:
    written([*PLAIN, "1,',red", "0,',red"], tmp_path)
    select = "SELECT * FROM read_csv('{t.csv}', all_varchar=true%s)"
    recipe: dict[str, Any] = {"files": {"t.csv": {}}, "label": "click"}
    with pytest.raises(UsageError, match="DuckDB detects `'`"):
        run(own(**recipe, rows=select % ""), tmp_path, tmp_path / "out")
    manifest = run(own(**recipe, rows=select % ", quote='\"'"), tmp_path, tmp_path / "out")
    assert sum(split.rows for split in manifest.splits.values()) == 62


CELLS = st.text(st.sampled_from("ab', ;"), max_size=4)
TABLES = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=2, max_size=12)
)


@given(rows=TABLES)
def test_what_a_csv_writer_wrote_is_read_back(rows: list[list[str]]) -> None:
    """Of a file in which `"` encloses values, `'` is said to only if it reads as many rows, equally wide."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    texts = buffer.getvalue().replace("\r\n", "\n").splitlines(keepends=True)
    if quotes.is_apostrophe(texts, ","):
        known = list(csv.reader(texts, quotechar="'", strict=True))
        assert [len(row) for row in known] == [len(row) for row in rows]
