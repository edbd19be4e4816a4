from pathlib import Path

import pytest

from wukongctl.errors import RecipeError, UsageError
from wukongctl.laws.table import PointTable


def write(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def positions(error: RecipeError) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in error.problems]


def test_cells_are_named_and_stripped_with_any_line_ending(tmp_path: Path) -> None:
    table = PointTable.read(write(tmp_path, "\ufeffmodel, size,loss\r\n a ,1, 2\r\n\r\n"))
    assert [row.cells for row in table.rows] == [{"model": "a", "size": "1", "loss": "2"}]


def test_columns_count_characters_past_quotes_and_blanks(tmp_path: Path) -> None:
    text = 'model,size,loss\n"a, b",  oops,1\n'
    table = PointTable.read(write(tmp_path, text))
    assert table.number(table.rows[0], "size", float) is None
    with pytest.raises(RecipeError) as caught:
        table.raise_problems()
    line = text.splitlines()[1]
    assert positions(caught.value) == [(2, line.index("oops") + 1)]


def test_a_quoted_line_break_does_not_shift_line_numbers(tmp_path: Path) -> None:
    table = PointTable.read(write(tmp_path, 'model,size,loss\n"a\nb",1,1\nc,x,1\n'))
    assert [row.line for row in table.rows] == [2, 4]


def test_the_position_of_a_missing_last_cell_is_the_end_of_the_line(tmp_path: Path) -> None:
    table = PointTable.read(write(tmp_path, "model,size,loss\na,1\n"))
    assert table.number(table.rows[0], "loss", float) is None
    assert (table.problems[0].line, table.problems[0].column) == (2, 4)


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999", "1,5", "0x1", "--"])
def test_invalid_numbers_are_rejected(tmp_path: Path, cell: str) -> None:
    table = PointTable.read(write(tmp_path, f'model,size,loss\na,"{cell}",1\n'))
    assert table.number(table.rows[0], "size", float) is None
    assert len(table.problems) == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_an_unreadable_file_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"points\.csv"):
        PointTable.read(path)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_makes_most_columns(mark: str, tmp_path: Path) -> None:
    text = f'"a, b;c"{mark}size{mark}loss\nx{mark}1{mark} oops\n'
    table = PointTable.read(write(tmp_path, text))
    assert table.header == ["a, b;c", "size", "loss"]
    assert table.number(table.rows[0], "loss", float) is None
    assert (table.problems[0].line, table.problems[0].column) == (2, 6)


def test_a_decimal_comma_is_explained(tmp_path: Path) -> None:
    table = PointTable.read(write(tmp_path, "model;loss\na;0,5\n"))
    assert table.number(table.rows[0], "loss", float) is None
    assert table.problems[0].hint == "write a decimal point"


@pytest.mark.parametrize("cell", ["4000.0", "4e3", "4000", "+4000."])
def test_counts_may_be_written_as_floats(cell: str, tmp_path: Path) -> None:
    table = PointTable.read(write(tmp_path, f"model,size\na,{cell}\n"))
    assert table.number(table.rows[0], "size", int) == 4000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\n", "record 1 of .* is not a JSON object"),
        ('{"a": 1}\n{"a": \n', r":2` is not JSON"),
        ("", "is empty"),
    ],
)
def test_json_that_holds_no_records_is_a_usage_error(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        PointTable.read(path)
