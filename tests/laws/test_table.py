import re
from pathlib import Path

import pytest

from wukongctl.errors import RecipeError, UsageError
from wukongctl.laws.table import CsvTable


def write(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def positions(error: RecipeError) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in error.problems]


def check(table: CsvTable) -> str:
    return table.check_header(required=("model", "size"), one_of=("loss", "gain"), optional=("seed",))


def test_cells_are_named_and_stripped_with_any_line_ending(tmp_path: Path) -> None:
    table = CsvTable.read(write(tmp_path, "\ufeffmodel, size,loss\r\n a ,1, 2\r\n\r\n"))
    assert check(table) == "loss"
    assert [row.cells for row in table.rows] == [{"model": "a", "size": "1", "loss": "2"}]


def test_columns_count_characters_past_quotes_and_blanks(tmp_path: Path) -> None:
    text = 'model,size,loss\n"a, b",  oops,1\n'
    table = CsvTable.read(write(tmp_path, text))
    assert table.number(table.rows[0], "size", float) is None
    with pytest.raises(RecipeError) as caught:
        table.raise_problems()
    line = text.splitlines()[1]
    assert positions(caught.value) == [(2, line.index("oops") + 1)]


def test_a_quoted_line_break_does_not_shift_line_numbers(tmp_path: Path) -> None:
    table = CsvTable.read(write(tmp_path, 'model,size,loss\n"a\nb",1,1\nc,x,1\n'))
    assert [row.line for row in table.rows] == [2, 4]


def test_the_position_of_a_missing_last_cell_is_the_end_of_the_line(tmp_path: Path) -> None:
    table = CsvTable.read(write(tmp_path, "model,size,loss\na,1\n"))
    assert table.number(table.rows[0], "loss", float) is None
    assert (table.problems[0].line, table.problems[0].column) == (2, 4)


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999", "1,5", "0x1", "--"])
def test_invalid_numbers_are_rejected(tmp_path: Path, cell: str) -> None:
    table = CsvTable.read(write(tmp_path, f'model,size,loss\na,"{cell}",1\n'))
    assert table.number(table.rows[0], "size", float) is None
    assert len(table.problems) == 1


def test_all_header_problems_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        check(CsvTable.read(write(tmp_path, "modle,seeds,loss,gain,loss\n")))
    messages = [problem.message for problem in caught.value.problems]
    assert "column `loss` occurs twice" in messages
    assert "`loss` and `gain` are mutually exclusive" in messages
    assert "unknown column `modle`, did you mean `model`?" in messages
    assert "unknown column `seeds`, did you mean `seed`?" in messages
    assert "no column `size`" in messages
    assert len(messages) == 5


def test_an_unknown_column_is_ignored(tmp_path: Path) -> None:
    assert check(CsvTable.read(write(tmp_path, "model,size,gain,wall_clock_hours\n"))) == "gain"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_an_unreadable_file_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"points\.csv"):
        CsvTable.read(path)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_another_separator_is_named(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"model{mark}gflop_per_example{mark}logloss\na{mark}1{mark}0.5\n")
    with pytest.raises(UsageError, match=f"are separated by {re.escape(repr(mark))}, not by commas"):
        CsvTable.read(path)
