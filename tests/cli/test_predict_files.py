"""Files from other tools: `predict` reads them as training did, or names the problem and its position."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Wukong, typed

ROWS = 600
DATASET = """\
name: whole
description: ids that are whole numbers
generator: {rows: 600, fields: 8}
rows: >-
  SELECT label, CAST(c0 AS BIGINT) AS user, CAST(c1 AS DOUBLE) AS shop, concat('v', c2) AS c2,
  p * 9 AS price, [1, CAST(c3 AS INTEGER)] AS seen FROM synthetic
split: {by: order, ratio: {train: 4, valid: 1, test: 1}}
label: label
features:
  - {type: categorical, columns: [user, shop, c2]}
  - {type: numeric, columns: [price], transform: log1p, standardize: false}
  - {type: sequence, columns: [seen], max_len: 2}
"""


TEXTS = DATASET.replace("  - {type: sequence, columns: [seen], max_len: 2}\n", "on_error: skip\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], str]:
    """Puts a run on a dataset into a folder; each dataset is prepared and trained on once."""

    @cache
    def train(dataset: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("whole")
        (folder / "whole.yaml").write_text(dataset)
        (folder / "r.yaml").write_text(
            "data: whole\nmodel: {name: dlrm, width: 4}\nbatch_size: 100\nthreads: 1\n"
        )
        typed(folder, "prepare", "./whole.yaml")
        return folder, json.loads(typed(folder, "train", "r.yaml", "--json"))["run"]

    def put(dataset: str, target: Path) -> str:
        folder, run = train(dataset)
        shutil.copytree(folder, target, dirs_exist_ok=True)
        return run

    return put


@pytest.fixture
def run(wukong: Wukong, trained: Callable[[str, Path], str], tmp_path: Path) -> str:
    return trained(DATASET, tmp_path)


@pytest.fixture
def table(tmp_path: Path, run: str) -> pa.Table:
    """Rows of values in the vocabularies of the training data."""

    def values(name: str) -> list[str]:
        return pq.read_table(tmp_path / f"data/whole/vocab/{name}.parquet")["value"].to_pylist()[:4]

    items = [[int(item)] for item in values("seen")]
    return pa.table(
        {
            "user": [int(value) for value in values("user")],
            "shop": [float(value) for value in values("shop")],
            "c2": values("c2"),
            "price": [1.0, 2.0, 3.0, 4.0],
            "seen": items,
        }
    )


def logits(wukong: Wukong, run: str, path: str) -> list[float]:
    result = wukong("predict", run, path)
    assert result.code == 0, result.err
    return pq.read_table("predictions.parquet")["logit"].to_pylist()


def as_type(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("user", pa.float64()),
        ("user", pa.float32()),
        ("user", pa.decimal128(24, 2)),
        ("shop", pa.int64()),
        ("seen", pa.list_(pa.float64())),
    ],
)
def test_whole_numbers_are_the_same_in_any_type(
    wukong: Wukong, run: str, table: pa.Table, name: str, kind: pa.DataType
) -> None:
    pq.write_table(table, "as-trained.parquet")
    expected = logits(wukong, run, "as-trained.parquet")
    pq.write_table(as_type(table, name, kind), "other.parquet")
    assert logits(wukong, run, "other.parquet") == pytest.approx(expected, abs=1e-6)


def test_float_column_keeps_missing_and_fractional_values(wukong: Wukong, run: str, table: pa.Table) -> None:
    place = table.schema.get_field_index("user")
    texts = [None, "1.5", "never", str(table["user"][3].as_py())]
    floats = pa.array([None, 1.5, 1e300, float(texts[3] or 0)])
    pq.write_table(table.set_column(place, "user", pa.array(texts)), "texts.parquet")
    expected = logits(wukong, run, "texts.parquet")
    pq.write_table(table.set_column(place, "user", floats), "floats.parquet")
    assert logits(wukong, run, "floats.parquet") == pytest.approx(expected, abs=1e-6)


HEADER = "user,shop,c2,price,seen\n"


def written(tmp_path: Path, *lines: str, header: str = HEADER) -> str:
    (tmp_path / "new.csv").write_bytes((header + "\n".join(lines) + "\n").encode())
    return "new.csv"


@pytest.fixture
def texts(wukong: Wukong, trained: Callable[[str, Path], str], tmp_path: Path) -> str:
    """A run on text columns of a CSV file and one number; its recipe skips bad rows."""
    return trained(TEXTS, tmp_path)


def test_csv_with_ids_written_by_pandas_as_floats(wukong: Wukong, texts: str, tmp_path: Path) -> None:
    user = pq.read_table(tmp_path / "data/whole/vocab/user.parquet")["value"][0].as_py()
    expected = logits(wukong, texts, written(tmp_path, f"{user},1.0,x,2,"))
    assert logits(wukong, texts, written(tmp_path, f"{user}.0,1.0,x,2,")) == expected
    lines = f"\ufeffuser;shop;c2;price;;\r\n{user};1.0;x;2;;\r\n"
    (tmp_path / "windows.csv").write_bytes(lines.encode())
    assert logits(wukong, texts, "windows.csv") == expected


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        (("1,1.0,x,2,", "1,1.0"), HEADER, "`new.csv:3`: expected 5 columns, found 2"),
        (("1,1.0",), HEADER, "`new.csv:2`: expected 5 columns, found 2"),
        (("1,1.0,x,2,,9",), HEADER, "`new.csv:2`: expected 5 columns, found 6"),
        (("1,1.0,x,2,", "1,1.0,x,inf,"), HEADER, "`new.csv:3`: `price` is infinite"),
        (("1,1.0,x,2,", "1,1.0,x,dear,"), HEADER, "`new.csv:3`: `price` is `dear`, which is not a number"),
        (("1,1,1.0,x,2",), "user,User,shop,c2,price\n", "`new.csv:1`: 2 columns are named `user`"),
        (("1",), "\n", "`new.csv:1`: the first line is blank"),
    ],
)
def test_csv_errors_name_the_problem_and_its_position(
    wukong: Wukong, texts: str, tmp_path: Path, lines: tuple[str, ...], header: str, said: str
) -> None:
    result = wukong("predict", texts, written(tmp_path, *lines, header=header))
    assert result.code in (1, 2)
    assert said in result.err
    assert "on_error" not in result.err
    assert not (tmp_path / "predictions.parquet").exists()


def test_an_infinite_number_in_parquet_is_named_by_its_row(wukong: Wukong, run: str, table: pa.Table) -> None:
    prices = pa.array([1.0, 2.0, float("inf"), 4.0])
    pq.write_table(table.set_column(table.schema.get_field_index("price"), "price", prices), "inf.parquet")
    result = wukong("predict", run, "inf.parquet")
    assert result.code == 1
    assert "row 3 of `inf.parquet`: `price` is infinite" in result.err


def test_many_more_oov_values_than_in_training_are_an_error(
    wukong: Wukong, run: str, table: pa.Table
) -> None:
    pq.write_table(table, "known.parquet")
    known = wukong("predict", run, "known.parquet")
    assert (known.code, known.err) == (0, "")
    place = table.schema.get_field_index("user")
    users = pa.array([10**9, None, 10**9, table["user"][0].as_py()])
    pq.write_table(table.set_column(place, "user", users), "strange.parquet")
    result = wukong("predict", run, "strange.parquet")
    assert result.code == 0
    assert "warning: 66.7% of the values of `user` are out of vocabulary" in result.err
    assert result.err.count("warning") == 1
    found = wukong("predict", run, "strange.parquet", "--json").json
    assert found["unknown"] == {"user": pytest.approx(2 / 3), "shop": 0, "c2": 0, "seen": 0}
    assert len(found["notes"]) == 1
