"""`predict` gives raw rows the scores that `evaluate` gives the same prepared rows."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Wukong, typed
from wukongctl.config.generator import Generator
from wukongctl.data.synthetic import generate

ROWS = 1200
SELECT = "SELECT *, p * 9 AS x, c0 || '|' || c1 || '|' || c2 AS s FROM synthetic"
DATASET = f"""\
name: mixed
description: every kind of feature
generator: {{rows: {ROWS}, fields: 8}}
rows: "{SELECT}"
split: {{by: order, ratio: {{train: 4, valid: 1, test: 1}}}}
label: label
features:
  - {{type: categorical, columns: [c0, c1, c2, c3], min_count: 40}}
  - {{type: numeric, columns: [x], transform: log1p, standardize: true}}
  - {{type: sequence, columns: [s], separator: '|', max_len: 2}}
  - {{type: sequence, columns: [c4], separator: '|', max_len: 3, shares: c3}}
"""


class Made(NamedTuple):
    """A folder with a run, the name of the run, and raw rows."""

    folder: Path
    run: str
    rows: pa.Table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "mixed.yaml").write_text(DATASET)
    (folder / "r.yaml").write_text(
        "data: mixed\nmodel: {name: dlrm, width: 4}\nbatch_size: 100\nthreads: 1\n"
    )
    typed(folder, "prepare", "./mixed.yaml")
    run = json.loads(typed(folder, "train", "r.yaml", "--json"))["run"]
    raw = folder / "raw.parquet"
    generate.write(Generator(rows=ROWS, fields=8), [range(ROWS)], raw)
    query = SELECT.replace("synthetic", f"'{raw}'")
    table = duckdb.sql(f"SELECT * EXCLUDE (label, p) FROM ({query}) OFFSET 1000").to_arrow_table()
    raw.unlink()
    return Made(folder, run, table)


@pytest.fixture
def run(wukong: Wukong, made: Made, tmp_path: Path) -> str:
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    return made.run


@pytest.fixture
def rows(made: Made) -> pa.Table:
    """The raw rows of the test split, without their label."""
    assert made.rows.num_rows == 200
    return made.rows


def write(rows: pa.Table, path: str) -> str:
    if path.endswith(".parquet"):
        pq.write_table(rows, path)
    else:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if ".tsv" in path else ",")
        with pa.output_stream(path) as file:  # compresses by the suffix
            pyarrow.csv.write_csv(rows, file, options)
    return path


@pytest.mark.parametrize("name", ["new.parquet", "new.csv", "new.tsv", "new.csv.gz"])
def test_raw_rows_have_the_scores_of_prepared_rows(
    wukong: Wukong, run: str, rows: pa.Table, name: str
) -> None:
    wukong("evaluate", run, "--predictions", "expected.parquet")
    found = wukong("predict", run, write(rows, name), "--json").json
    expected = pq.read_table("expected.parquet")
    actual = pq.read_table("predictions.parquet")
    assert found["rows"] == actual.num_rows == 200
    for column in ("logit", "prediction"):
        assert actual[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-6)
    assert found["mean_prediction"] == pytest.approx(actual["prediction"].to_numpy().mean())


def test_files_are_concatenated_and_csv_equals_parquet(wukong: Wukong, run: str, rows: pa.Table) -> None:
    assert wukong("predict", run, write(rows, "all.parquet")).code == 0
    parts = [write(rows.slice(0, 70), "a.csv"), write(rows.slice(70), "b.parquet")]
    assert wukong("predict", run, *parts, "--out", "p.csv").code == 0
    whole = pq.read_table("predictions.parquet")["logit"].to_numpy()
    assert pyarrow.csv.read_csv("p.csv")["logit"].to_numpy() == pytest.approx(whole, abs=1e-6)


def test_values_that_training_never_saw_are_scored(wukong: Wukong, run: str, rows: pa.Table) -> None:
    strange = rows.slice(0, 1).to_pylist()[0] | {"c0": "never seen", "x": None, "s": "", "c4": None}
    assert wukong("predict", run, write(pa.Table.from_pylist([strange]), "strange.csv")).code == 0
    (logit,) = pq.read_table("predictions.parquet")["logit"].to_pylist()
    assert abs(logit) < 10


def test_output_never_overwrites_an_input(wukong: Wukong, run: str, rows: pa.Table, tmp_path: Path) -> None:
    before = Path(write(rows, "new.csv")).read_bytes()
    (tmp_path / "link.csv").symlink_to("new.csv")
    (tmp_path / "hard.csv").hardlink_to("new.csv")
    for given, out in [("new.csv", "./new.csv"), ("new.csv", "link.csv"), ("link.csv", "hard.csv")]:
        result = wukong("predict", run, given, "--out", out)
        assert result.code == 2
        assert "would overwrite an input" in result.err
    assert Path("new.csv").read_bytes() == before


def test_missing_output_folder_is_an_error(wukong: Wukong, run: str, rows: pa.Table) -> None:
    result = wukong("predict", run, write(rows, "new.csv"), "--out", "absent/p.csv")
    assert result.code == 2
    assert "there is no folder `absent`" in result.err
    assert not Path("absent").exists()


def test_nothing_is_written_when_rows_cannot_be_scored(
    wukong: Wukong, run: str, rows: pa.Table, tmp_path: Path
) -> None:
    result = wukong("predict", run, write(rows.drop_columns(["c0", "x"]), "less.parquet"))
    assert result.code == 2
    assert "lacks the feature columns `c0`, `x`" in result.err
    texts = rows.set_column(rows.schema.get_field_index("x"), "x", pa.array(["1"] * 199 + ["many"]))
    result = wukong("predict", run, write(texts, "wrong.csv"))
    assert result.code == 1
    assert "`wrong.csv:201`: `x` is `many`, which is not a number" in result.err
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "less.parquet").read_bytes()[:-100])
    assert wukong("predict", run, "cut.parquet").code == 1
    assert wukong("predict", run, "absent.csv").code == 2
    assert wukong("predict", run, "mixed.yaml").code == 2
    assert wukong("predict", run, "less.parquet", "--out", "p.txt").code == 2
    assert wukong("predict", "absent", "less.parquet").code == 2
    assert not list(tmp_path.glob("*predictions*"))
