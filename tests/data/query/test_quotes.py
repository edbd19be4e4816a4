"""The quote character of a CSV file: apostrophes must not merge rows, and real quotes must be read."""

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
    """The rows of a file as `datasets init` reads them, and its remarks."""
    engine = Engine("t", {path.name: path}, spill=path.parent, search=path.parent)
    try:
        table = tables.describe(engine, path, path.name)
        return [list(row) for row in engine.rows(f"SELECT * FROM {table.source}")], table.remarks
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
def test_values_quoted_with_apostrophes(rows: list[str], values: set[str], tmp_path: Path) -> None:
    found, remarks = read(written(rows, tmp_path))
    assert len(found) == 60
    assert {row[1] for row in found} == values
    assert {row[2] for row in found} == {"red"}
    assert remarks == ("`t.csv`: values are quoted with `'`, as in `'a, b'`",)


def test_both_quotes_in_one_file(tmp_path: Path) -> None:
    """`"` holds a delimiter, so `'` is part of the values."""
    found, remarks = read(written([f"{i % 2},\"v, {i % 7}\",'red'" for i in range(60)], tmp_path))
    assert found == [[str(i % 2), f"v, {i % 7}", "'red'"] for i in range(60)]
    assert remarks == ()


def test_an_apostrophe_after_the_sample_is_part_of_its_value(tmp_path: Path) -> None:
    rows = [*PLAIN * 400, "1,',red", "0,',red"]
    assert len(read(written(rows, tmp_path))[0]) == len(rows)


def test_rows_merged_by_two_stray_quotes_are_reported(tmp_path: Path) -> None:
    _, remarks = read(written([*PLAIN, '1,",red', '0,",red'], tmp_path))
    assert remarks[0].startswith("`t.csv:62`: lines 62 to 63 are read as one row")


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('{t.csv}', all_varchar=true)",
        "read_csv('{t.csv}', all_varchar=true, delim=',')",
        "read_csv('{t.csv}', columns={'click': 'VARCHAR', 'a': 'VARCHAR', 'b': 'VARCHAR'})",
        "'{t.csv}'",
    ],
)
def test_a_recipe_without_a_quote_loses_no_row(source: str, tmp_path: Path) -> None:
    path = written([*PLAIN, "1,',red", "0,',red"], tmp_path)
    engine = Engine("t", {path.name: path}, spill=tmp_path, search=tmp_path)
    with pytest.raises(UsageError, match=r"`t.csv:62`: DuckDB detects `'` .* lines 62 to 63") as caught:
        quotes.require_plausible(engine, f"SELECT * FROM {source}")
    assert "`quote='\"'`" in str(caught.value.hint)
    path.write_text(path.read_text().replace("1,',red", "1,'tis,red").replace("0,',red", "0,'twas,red"))
    quotes.require_plausible(engine, f"SELECT * FROM {source}")
    engine.close()


def test_prepare_refuses_an_ambiguous_quote(tmp_path: Path) -> None:
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
def test_output_of_a_csv_writer_is_read_back(rows: list[list[str]]) -> None:
    """In a file quoted with `"`, `'` is detected only if it reads as many rows, equally wide."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    texts = buffer.getvalue().replace("\r\n", "\n").splitlines(keepends=True)
    if quotes.is_apostrophe(texts, ","):
        known = list(csv.reader(texts, quotechar="'", strict=True))
        assert [len(row) for row in known] == [len(row) for row in rows]
