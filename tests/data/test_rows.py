"""Rows of raw files are encoded for `predict` exactly as by `prepare`."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.data.test_prepare import own, run
from tests.examples import examples
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.data import manifest
from wukongctl.data.drafting.draft import draft
from wukongctl.data.query import rewriting, sql
from wukongctl.data.rows import ColumnsOf, RowReader
from wukongctl.errors import RunFailed, UsageError, WukongError

CSV = "read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', quote='\"')"
CATEGORICAL: dict[str, Any] = {"type": "categorical", "columns": ["a"]}
NUMERIC: dict[str, Any] = {"type": "numeric", "columns": ["n"], "standardize": True}


def prepared(folder: Path, **changes: Any) -> Path:
    """The folder of a dataset by order, so that its splits one after the other are the raw rows."""
    run(own(**changes), folder, folder / "out", force=True)
    return folder / "out/own"


def encoded(dataset: Path) -> dict[str, list[Any]]:
    """The rows of all splits as preparation wrote them, without labels."""
    described = manifest.read(dataset)
    files = [dataset / file.path for split in described.splits.values() for file in split.files]
    return columns([pq.read_table(file) for file in files])


def columns(tables: list[pa.Table]) -> dict[str, list[Any]]:
    table = pa.concat_tables(tables)
    # A missing number is 0 after its transform in a batch; the file keeps that it is missing.
    return {
        name: [0.0 if value is None else value for value in table[name].to_pylist()]
        for name in table.column_names
        if name not in ("label", "probability")
    }


def read(dataset: Path, file: Path, which: ColumnsOf | None = None, **options: Any) -> dict[str, list[Any]]:
    reader = RowReader(dataset, manifest.read(dataset), columns=which, **options)
    return columns(list(reader.tables(file)))


def written(folder: Path, text: str, name: str = "clicks.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


TABLE = "a,n,label\n" + "".join(
    f"{a},{n},{i % 2}\n"
    for i, (a, n) in enumerate([("7", "1.577,61"), ("NULL", "2.000"), ("008", ""), (" 7 ", "3,5")] * 3)
).replace("1.577,61", '"1.577,61"').replace("3,5", '"3,5"')
GERMAN = "replace(replace(trim(n), '.', ''), ',', '.')"


@pytest.mark.parametrize(
    "select",
    [
        f"SELECT * REPLACE (NULLIF(trim(a), 'NULL') AS a, {GERMAN} AS n) FROM {CSV}",
        f"SELECT NULLIF(trim(t.a), 'NULL') AS a, {GERMAN} AS n, label FROM {CSV} AS t",
        f"WITH raw AS (SELECT * FROM {CSV}) SELECT * EXCLUDE (n), {GERMAN} AS n FROM raw",
        f"SELECT a, CAST({GERMAN} AS DOUBLE) AS n, label FROM (SELECT trim(COLUMNS(*)) FROM {CSV})",
        f"FROM {CSV} SELECT a || '-' || label AS a, {GERMAN} AS n, label -- a comment\n;",
    ],
)
def test_the_select_runs_on_raw_files(tmp_path: Path, select: str) -> None:
    file = written(tmp_path, TABLE)
    dataset = prepared(tmp_path, rows=select, features=[CATEGORICAL, NUMERIC])
    assert read(dataset, file) == encoded(dataset)


@pytest.mark.parametrize("encoding", ["bins", "scalar+bins", "piecewise", "log2"])
def test_numbers_of_every_encoding_go_through_the_select(tmp_path: Path, encoding: str) -> None:
    lines = [f"x,{i // 3}.{i % 10}00,{i % 2}" for i in range(90)]
    file = written(tmp_path, "\n".join(["a,n,label", *lines, "x,,1"]) + "\n")
    select = f"SELECT * REPLACE (replace(n, '.', '') AS n) FROM {CSV}"
    numeric = {"type": "numeric", "columns": ["n"], "encoding": encoding}
    dataset = prepared(tmp_path, rows=select, features=[CATEGORICAL, numeric])
    assert read(dataset, file) == encoded(dataset)
    sample = manifest.read(dataset).raw
    assert sample is not None
    assert sample.sampled == 91  # of 1,000 that are looked at


def test_columns_are_matched_by_name_and_labels_may_be_absent(tmp_path: Path) -> None:
    written(tmp_path, TABLE)
    select = (
        f"SELECT upper(a) AS a, {GERMAN} AS n, CAST(label AS INT) AS label FROM {CSV} WHERE label IS NOT NULL"
    )
    dataset = prepared(tmp_path, rows=select, features=[CATEGORICAL, NUMERIC])
    reordered = written(tmp_path, 'extra,n,A\nx,"1.577,61",7\ny,,NULL\n', "new.csv")
    rows = encoded(dataset)
    assert read(dataset, reordered) == {"a": rows["a"][:2], "n": [rows["n"][0], rows["n"][2]]}


def test_filters_order_and_distinct_do_not_apply(tmp_path: Path) -> None:
    file = written(tmp_path, "a,n,label\n" + "".join(f"x{i % 3},{9 - i},{i % 2}\n" for i in range(9)))
    chosen = "WHERE n::INT > 2 QUALIFY row_number() OVER () > 0 ORDER BY n LIMIT 5"
    select = f"SELECT DISTINCT ON (n) * FROM {CSV} {chosen}"
    dataset = prepared(tmp_path, rows=select, features=[NUMERIC | {"standardize": False}])
    assert read(dataset, file) == {"n": [float(9 - i) for i in range(9)]}


KINDS = ["csv", "tsv", "csv.gz", "csv.zst", "parquet", "jsonl", "json"]


def save(rows: pa.Table, path: Path) -> Path:
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        pq.write_table(rows, path)
        return path
    if kind.startswith("json"):
        lines = [json.dumps(row) for row in rows.to_pylist()]
        path.write_text("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]")
        return path
    cells = [rows.column_names, *(list(row.values()) for row in rows.to_pylist())]
    with pa.output_stream(str(path)) as out:  # compresses by the name
        for row in cells:
            texts = ['""' if value == "" else "" if value is None else f'"{value}"' for value in row]
            out.write(("\t" if "tsv" in kind else ",").join(texts).encode() + b"\n")
    return path


ROWS = pa.table(
    {
        "a": ["7", "008", None, "emoji 🦆", "18446744073709551617", "7", "a,b", "x"],
        "n": ["1", "2", None, "4", "5", "6", "7", "8"],
        "label": ["0", "1"] * 4,
    }
)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_any_format_may_have_the_raw_columns(tmp_path: Path, kind: str) -> None:
    save(ROWS, tmp_path / "clicks.csv")
    select = f"SELECT upper(a) AS b, n::DOUBLE + 1 AS m, label FROM {CSV}"
    features = [{"type": "categorical", "columns": ["b"]}, {"type": "numeric", "columns": ["m"]}]
    dataset = prepared(tmp_path, rows=select, features=features)
    assert read(dataset, save(ROWS, tmp_path / f"new.{kind}")) == encoded(dataset)


@pytest.mark.parametrize(
    "reader", ["read_parquet('{clicks.parquet}')", "'{clicks.parquet}'", "read_json('{clicks.jsonl}')"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_types_are_those_of_training(tmp_path: Path, reader: str, kind: str) -> None:
    rows = pa.table(
        {"u": [7, 8, 7, 9], "n": [1.5, 2.0, None, 4.0], "t": ["a|b", "c", None, "a"], "label": [0, 1, 0, 1]}
    )
    for name in ("clicks.parquet", "clicks.jsonl"):
        save(rows, tmp_path / name)
    features = [
        {"type": "categorical", "columns": ["pair"]},
        {"type": "numeric", "columns": ["half"]},
        {"type": "sequence", "columns": ["t"], "separator": "|", "max_len": 2},
    ]
    select = f"SELECT u // 2 || '-' || u AS pair, n / 2 AS half, t, label FROM {reader}"
    name = reader.partition("{")[2].partition("}")[0]
    dataset = prepared(tmp_path, rows=select, features=features, files={name: {}})
    assert read(dataset, save(rows, tmp_path / f"new.{kind}")) == encoded(dataset)


def test_floats_that_pandas_made_of_integers_are_integers(tmp_path: Path) -> None:
    save(pa.table({"u": [7, 8, 7, 9], "label": [0, 1, 0, 1]}), tmp_path / "clicks.parquet")
    select = "SELECT concat('u', u) AS a, label FROM read_parquet('{clicks.parquet}')"
    dataset = prepared(tmp_path, rows=select, files={"clicks.parquet": {}})
    floats = save(pa.table({"u": [7.0, 8.0, 7.0, 9.0]}), tmp_path / "new.parquet")
    assert read(dataset, floats) == encoded(dataset)
    assert read(dataset, save(pa.table({"u": ["7.0", "8", "7", "9"]}), tmp_path / "new.csv")) == encoded(
        dataset
    )


def test_types_sniffed_for_training_apply_to_new_files(tmp_path: Path) -> None:
    lines = [f"{i % 3},{i % 28 + 1}/10/2023,{i % 2}" for i in range(60)]
    file = written(tmp_path, "\n".join(["code,day,label", *lines]) + "\n")
    select = "SELECT code, strftime(day, '%m-%d') AS d, label FROM read_csv('{clicks.csv}')"
    dataset = prepared(tmp_path, rows=select, features=[{"type": "categorical", "columns": ["code", "d"]}])
    assert read(dataset, file) == encoded(dataset)
    # By itself this file has text, and days that could be months.
    new = written(tmp_path, "code,day,label\n2,05/10/2023,0\n1,1/10/2023,\n002,1/10/2023,\n", "new.csv")
    rows = encoded(dataset)
    expected = read(dataset, written(tmp_path, "code,day\n2,5/10/2023\n1,1/10/2023\n", "same.csv"))
    found = read(dataset, new)
    assert {name: values[:2] for name, values in found.items()} == expected
    assert found["code"][2] == 1  # a text of the file that training never saw, not the number 2
    assert expected["code"][0] == rows["code"][2]
    assert expected["d"][0] == rows["d"][4]


def test_columns_without_header_are_matched_by_position(tmp_path: Path) -> None:
    file = written(tmp_path, "".join(f"{i % 2}\tx{i % 4}\t{i}\n" for i in range(12)), "train.txt")
    reader = (
        "read_csv('{train.txt}', delim='\\t', quote='', escape='', header=false, auto_detect=false, "
        "columns={'label': 'UTINYINT', 'a': 'VARCHAR', 'n': 'INTEGER'})"
    )
    dataset = prepared(
        tmp_path,
        rows=f"SELECT * REPLACE (n * 2 AS n) FROM {reader}",
        files={"train.txt": {}},
        features=[CATEGORICAL, NUMERIC],
    )
    assert read(dataset, file) == encoded(dataset)
    named = written(tmp_path, "n,a\n" + "".join(f"{i},x{i % 4}\n" for i in range(12)), "named.csv")
    assert read(dataset, named) == encoded(dataset)


USERS = "u,age,city\n1,30,Rome\n2,40,Oslo\n3,,\n"
CLICKS = "u,a,label\n2,x,0\n9,y,1\n1,x,1\n2,z,0\n3,x,1\n1,y,0\n"
SIDE = "read_csv('{users.csv}', header=true, all_varchar=true)"


@pytest.mark.parametrize("join", ["LEFT JOIN", "JOIN"])
@pytest.mark.parametrize("order", ["ORDER BY a, u, label", ""])
def test_joins_keep_the_order_of_rows(tmp_path: Path, join: str, order: str) -> None:
    file = written(tmp_path, CLICKS)
    written(tmp_path, USERS, "users.csv")
    select = f"SELECT c.*, city, age FROM {CSV} AS c {join} {SIDE} AS p USING (u) {order}"
    features = [
        {"type": "categorical", "columns": ["a", "city"]},
        {"type": "numeric", "columns": ["age"], "standardize": False},
    ]
    dataset = prepared(tmp_path, rows=select, features=features, files={"clicks.csv": {}, "users.csv": {}})
    found = read(dataset, file)
    assert found["age"] == [40.0, 0.0, 30.0, 40.0, 0.0, 30.0]
    vocabulary = {None: 0} | {
        row["value"]: row["id"] for row in pq.read_table(dataset / "vocab/city.parquet").to_pylist()
    }
    cities = ["Oslo", None, "Rome", "Oslo", None, "Rome"]
    assert found["city"] == [vocabulary.get(city, 1) for city in cities]
    (tmp_path / "users.csv").rename(tmp_path / "moved.csv")
    with pytest.raises(UsageError, match=r"`users\.csv`, which the SELECT joins") as error:
        read(dataset, file)
    assert "--source" in str(error.value.hint)
    (tmp_path / "elsewhere").mkdir()
    written(tmp_path / "elsewhere", USERS.replace("Rome", "Oslo"), "users.csv")
    moved = read(dataset, file, source=tmp_path / "elsewhere")
    assert moved["city"][2] == vocabulary.get("Oslo", 1)


def test_declared_types_of_a_joined_table_apply(tmp_path: Path) -> None:
    file = written(tmp_path, CLICKS)
    written(tmp_path, "u,city\n1,007\n2,7\n3,70\n9,07\n", "users.csv")
    select = "SELECT c.*, city FROM '{clicks.csv}' AS c JOIN read_csv('{users.csv}') AS p USING (u)"
    dataset = prepared(
        tmp_path,
        rows=select,
        features=[{"type": "categorical", "columns": ["city"]}],
        files={"clicks.csv": {}, "users.csv": {}},
    )
    assert set(pq.read_table(dataset / "vocab/city.parquet")["value"].to_pylist()) == {"007", "7", "07"}
    assert sorted(read(dataset, file)["city"]) == sorted(encoded(dataset)["city"])


def test_the_rows_may_be_on_the_right_of_a_join(tmp_path: Path) -> None:
    file = written(tmp_path, "u,a,label\n" + CLICKS.partition("\n")[2] * 3)
    written(tmp_path, USERS, "users.csv")
    select = f"SELECT a, city, label FROM {SIDE} AS p JOIN {CSV} AS c USING (u)"
    dataset = prepared(tmp_path, rows=select, files={"clicks.csv": {}, "users.csv": {}})
    described = manifest.read(dataset)
    assert described.raw is not None
    assert (described.raw.source, described.raw.needed) == (1, ("u", "a"))
    assert len(read(dataset, file)["a"]) == 18


def test_a_duplicated_row_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, CLICKS)
    written(tmp_path, USERS, "users.csv")
    select = f"SELECT c.*, city FROM {CSV} AS c LEFT JOIN {SIDE} AS p USING (u)"
    dataset = prepared(tmp_path, rows=select, files={"clicks.csv": {}, "users.csv": {}})
    written(tmp_path, USERS + "1,31,Bern\n", "users.csv")
    with pytest.raises(RunFailed, match=r"row 3 of `.*clicks.csv` is returned by the SELECT more than once"):
        read(dataset, file)


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        (f"SELECT a, count(*) AS n, max(label) AS label FROM {CSV} GROUP BY a", "it groups rows"),
        (f"SELECT * FROM {CSV} UNION ALL SELECT * FROM {CSV}", "UNION"),
        (f"SELECT n, concat(a, sum(n::INT) OVER (ORDER BY n)) AS a, label FROM {CSV}", "window"),
        (
            f"WITH t AS (FROM {CSV}), u AS (SELECT a, max(n) AS m FROM t GROUP BY a) "
            "SELECT t.*, m FROM t JOIN u USING (a)",
            "`t` more than once",
        ),
        (
            f"SELECT * FROM {CSV} JOIN (SELECT a, max(n) AS m FROM {CSV} GROUP BY a) USING (a)",
            "more than once",
        ),
    ],
)
def test_a_select_that_is_not_row_by_row_needs_its_output_columns(
    tmp_path: Path, select: str, reason: str
) -> None:
    file = written(tmp_path, "a,n,label\n" + "".join(f"x{i},{i},{i % 2}\n" for i in range(6)))
    dataset = prepared(tmp_path, rows=select, features=[CATEGORICAL])
    obstacle = manifest.read(dataset).obstacle
    assert obstacle is not None
    assert reason in obstacle
    assert len(read(dataset, file)["a"]) == 6
    with pytest.raises(UsageError, match="cannot run on a new file") as error:
        read(dataset, file, "raw")
    assert "--columns selected" in str(error.value.hint)


def test_output_columns_of_the_select_are_recognized(tmp_path: Path) -> None:
    written(tmp_path, TABLE)
    select = f"SELECT concat('x', a) AS b, {GERMAN} AS n, label FROM {CSV}"
    features = [{"type": "categorical", "columns": ["b"]}, NUMERIC]
    dataset = prepared(tmp_path, rows=select, features=features)
    rows = encoded(dataset)
    chosen = written(tmp_path, "n,b\n1577.61,x7\n2000,xNULL\n", "new.csv")
    assert read(dataset, chosen) == {name: values[:2] for name, values in rows.items()}
    both = written(tmp_path, "n,b,a\n1577.61,x7,q\n", "both.csv")
    assert read(dataset, both)["n"] != rows["n"][:1]  # raw: 1577.61 is read as Germans write it
    assert read(dataset, both, "selected") == {name: values[:1] for name, values in rows.items()}
    with pytest.raises(UsageError, match="lacks the raw columns `a`"):
        read(dataset, chosen, "raw")


CELLS = st.sampled_from(
    [
        "NULL",
        "",
        "-",
        "N/A",
        " ",
        "7",
        "007",
        "7.0",
        "1.577,61",
        "1,577",
        "3,5",
        "true",
        "True",
        "08:00",
        "a b",
        "x|y",
        "1e3",
        "'q'",
        "—",
    ]
)


@settings(
    max_examples=examples(4),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    columns_=st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t"),
)
def test_drafted_recipes_encode_new_rows_of_a_messy_table(
    tmp_path_factory: pytest.TempPathFactory, columns_: list[list[str]], delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("messy")
    file = folder / "t.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow([*(f"c{i}" for i in range(len(columns_))), "label"])
        for row in range(120):
            writer.writerow(
                [*(cells[row * (i + 1) % len(cells)] for i, cells in enumerate(columns_)), row * 7 % 3 % 2]
            )
    try:
        (folder / "t.yaml").write_text(draft(str(file), label="label").text)
        spec: DatasetSpec = load(folder / "t.yaml", DatasetSpec)
        spec = spec.model_copy(update={"split": own().split})
        run(spec, folder, folder / "out")
    except WukongError:
        assume(False)  # nothing to learn from such a table
    dataset = folder / "out" / spec.name
    assert manifest.read(dataset).obstacle is None
    assert read(dataset, file) == encoded(dataset)
    reader = rewriting.rewritten(spec.queries[0]).reader.text
    duckdb.sql(sql.fill(f"SELECT * FROM {reader}", dict.fromkeys(spec.files, file))).write_parquet(
        str(folder / "t.parquet")
    )
    assert read(dataset, folder / "t.parquet") == encoded(dataset)
    (folder / "t.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert read(dataset, folder / "t.csv.gz") == encoded(dataset)
