"""`prepare` against a plain-Python encoder, and its errors."""

import gzip
import hashlib
import math
import re
import shutil
import string
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data import oracle, raw
from tests.data.fixtures.common import by_hash
from tests.data.server import serving
from tests.examples import examples
from wukongctl.config import library, loading
from wukongctl.config.dataset import DatasetSpec, RawFile
from wukongctl.data import manifest
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.pipeline import reading
from wukongctl.data.prepare import UP_TO_DATE, plan, prepare
from wukongctl.data.progress import Progress
from wukongctl.data.query.engine import Engine
from wukongctl.errors import CheckFailed, RunFailed, UsageError


def shipped(name: str) -> DatasetSpec:
    return loading.load(library.find(name, "datasets"), DatasetSpec)


def own(**changes: Any) -> DatasetSpec:
    """A recipe for `clicks.csv` with a header, read as text."""
    content: dict[str, Any] = {
        "name": "own",
        "description": "a table",
        "files": {"clicks.csv": {}},
        "rows": "FROM read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', quote='\"')",
        "split": {"by": "order", "ratio": {"train": 2, "test": 1}},
        "label": "label",
        "features": [{"type": "categorical", "columns": ["a"]}],
    }
    return DatasetSpec.from_dict(content | changes)


def run(spec: DatasetSpec, folder: Path, out: Path, **options: Any) -> Manifest:
    return prepare(spec, Options(folder, out=out, source=folder, **options))


def problems(prepared: Manifest) -> tuple[str, ...]:
    """The problems of a dataset, except that it has few positives."""
    return tuple(problem for problem in prepared.problems if "too few to compare models" not in problem)


def columns(out: Path, prepared: Manifest) -> dict[str, dict[str, list[Any]]]:
    folder = out / prepared.dataset
    return {
        name: pq.read_table([folder / file.path for file in split.files]).to_pydict()
        for name, split in prepared.splits.items()
    }


def assert_same(actual: dict[str, dict[str, list[Any]]], expected: dict[str, dict[str, list[Any]]]) -> None:
    assert actual.keys() == expected.keys()
    for split, wanted in expected.items():
        assert actual[split].keys() == wanted.keys()
        for name, values in wanted.items():
            if values and isinstance(values[0], float):
                assert actual[split][name] == pytest.approx(values, rel=1e-6, abs=1e-6), (split, name)
            else:
                assert actual[split][name] == values, (split, name)


def test_frappe_encoding_matches_plain_python(tmp_path: Path) -> None:
    expected = raw.frappe(tmp_path)
    spec = shipped("frappe")
    prepared = run(spec, tmp_path, tmp_path / "out", verify=False)
    assert_same(columns(tmp_path / "out", prepared), oracle.encode(spec, expected))
    assert prepared.splits["train"].rows == 60
    assert prepared.splits["train"].positives == sum(row["label"] for row in expected["train"])
    assert not prepared.verified
    assert len([p for p in prepared.problems if "md5" in p]) == 3


def test_vocabulary_files_hold_value_id_and_count(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n1,y\n0,x\n1,y\n0,\n1,x\n0,new\n1,z\n0,x\n1,y\n")
    run(own(), tmp_path, tmp_path / "out")
    table = pq.read_table(tmp_path / "out/own/vocab/a.parquet").to_pydict()
    assert table == {"value": ["x", "y", "new"], "id": [2, 3, 4], "count": [2, 2, 1]}


def test_synthetic_cardinalities_are_those_of_the_recipe(tmp_path: Path) -> None:
    spec = shipped("synthetic")
    prepared = run(spec, tmp_path, tmp_path, limit_rows=20_000)
    assert {f.name: f.rows for f in prepared.features} == spec.cardinalities
    assert prepared.splits["train"].rows == 16_000
    assert 0.3 < (prepared.splits["train"].bayes_logloss or 0) < 0.5


# --- any table: hypothesis -------------------------------------------------------------------------------

WORDS = st.text(string.ascii_letters + "éß漢 '\"-", max_size=3)
CELLS = st.sampled_from(["", " ", "x", "y", "é", "it's", 'say "hi"', "0", "-1"])


@st.composite
def tables(draw: st.DrawFn) -> list[oracle.Row]:
    row = st.fixed_dictionaries(
        {
            "label": st.sampled_from([0, 1]),
            "a": CELLS | WORDS,
            "b": CELLS,
            "n": st.sampled_from(["", "0", "-3", "2.5", "1e3", "nan", " 7 "]),
            "m": st.sampled_from(["", "1", "2", "4"]),
            "s": st.lists(st.sampled_from(["x", "y", "", "z z"]), max_size=5).map("^".join),
            "t": st.lists(st.sampled_from(["x", "q", "it's", "é"]), max_size=4).map("^".join),
        }
    )
    return draw(st.lists(row, min_size=3, max_size=30))


def csv_field(value: Any) -> str:
    return '"' + str(value).replace('"', '""') + '"'


@settings(
    max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=tables(),
    min_count=st.integers(1, 3),
    max_len=st.integers(1, 4),
    keep=st.sampled_from(["last", "first"]),
    compat=st.sampled_from([None, "bars"]),
)
def test_encoding_of_any_table_matches_plain_python(
    rows: list[oracle.Row],
    min_count: int,
    max_len: int,
    keep: str,
    compat: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    names = sorted(rows[0])
    lines = [",".join(names), *(",".join(csv_field(row[name]) for name in names) for row in rows)]
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = own(
        features=[
            {"type": "categorical", "columns": ["a"], "min_count": min_count},
            {
                "type": "sequence",
                "columns": ["s"],
                "separator": "^",
                "max_len": max_len,
                "min_count": min_count,
                "keep": keep,
            },
            {"type": "numeric", "columns": ["n"], "transform": "log1p", "standardize": False},
            {"type": "categorical", "columns": ["b"], "min_count": min_count},
            {"type": "sequence", "columns": ["t"], "separator": "^", "max_len": max_len, "shares": "b"},
            {"type": "numeric", "columns": ["m"], "standardize": True},
        ],
        compat=compat,
    )
    prepared = run(spec, folder, folder / "out")
    cut = -(-len(rows) * 2 // 3)
    expected = oracle.encode(spec, {"train": rows[:cut], "test": rows[cut:]})
    assert_same(columns(folder / "out", prepared), expected)


def test_blanks_around_a_separator_are_stripped(tmp_path: Path) -> None:
    """In text; values of list columns and categorical ones are kept as they are."""
    texts = ["red, blue", "blue ,red", " red", "blue,  , new red "] * 3
    rows = [{"label": i % 2, "a": value, "b": [" x", "x"]} for i, value in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "clicks.parquet")
    spec = own(
        files={"clicks.parquet": {}},
        rows="FROM read_parquet('{clicks.parquet}')",
        features=[
            {"type": "sequence", "columns": ["a"], "separator": ",", "max_len": 3},
            {"type": "sequence", "columns": ["b"], "max_len": 3},
        ],
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    values = {name: pq.read_table(tmp_path / f"out/own/vocab/{name}.parquet")["value"] for name in "ab"}
    assert values["a"].to_pylist() == ["blue", "red", "new red"]
    assert values["b"].to_pylist() == [" x", "x"]
    assert_same(
        columns(tmp_path / "out", prepared), oracle.encode(spec, {"train": rows[:8], "test": rows[8:]})
    )


def test_list_columns_are_sequences(tmp_path: Path) -> None:
    rows: list[oracle.Row] = [
        {"label": i % 2, "a": ["x", None, f"v{i % 3}", ""] if i % 4 else None, "b": [i, i % 2]}
        for i in range(12)
    ]
    types = pa.schema([("label", pa.int8()), ("a", pa.list_(pa.string())), ("b", pa.list_(pa.int64(), 2))])
    pq.write_table(pa.Table.from_pylist(rows, types), tmp_path / "clicks.parquet")
    spec = own(
        files={"clicks.parquet": {}},
        rows="FROM read_parquet('{clicks.parquet}')",
        features=[{"type": "sequence", "columns": ["a", "b"], "max_len": 2}],
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert_same(
        columns(tmp_path / "out", prepared), oracle.encode(spec, {"train": rows[:8], "test": rows[8:]})
    )


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("categorical", "['a', 'b']", "feature `a` is `categorical`, but its column holds VARCHAR[]"),
        ("numeric", "{'x': 1}", "feature `a` is `numeric`, but its column holds STRUCT(x INTEGER)"),
        ("sequence", "[['a']]", "sequence `a` holds VARCHAR[][]"),
        ("sequence", "'a b'", "sequence `a` holds VARCHAR, not a list"),
    ],
)
def test_nested_columns_are_refused(tmp_path: Path, kind: str, value: str, message: str) -> None:
    feature = {"type": kind, "columns": ["a"]} | ({"max_len": 3} if kind == "sequence" else {})
    spec = own(files={}, rows=f"SELECT 1 AS label, {value} AS a", features=[feature])
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert caught.value.hint


# --- splits ----------------------------------------------------------------------------------------------


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n")


def test_split_by_hash_keeps_equal_keys_together(tmp_path: Path) -> None:
    rows = [{"label": i % 2, "a": i % 50, "user": i % 40} for i in range(400)]
    write_rows(tmp_path, rows)
    split = {"by": "hash", "key": "user", "ratio": {"train": 3, "valid": 1, "test": 1}}
    prepared = run(own(split=split), tmp_path, tmp_path / "out")
    expected = by_hash(rows, lambda row: row["user"], {"train": 3, "valid": 1, "test": 1})
    assert {n: s.rows for n, s in prepared.splits.items()} == {n: len(part) for n, part in expected.items()}


def test_split_by_time_keeps_an_instant_together(tmp_path: Path) -> None:
    instants = [5, 1, 1, 3, 3, 3, 2, 4, 9, 9]
    rows = [{"label": i % 2, "a": "v", "day": f"2024-01-0{day}"} for i, day in enumerate(instants)]
    write_rows(tmp_path, rows)
    split = {"by": "time", "column": "day", "ratio": {"train": 5, "valid": 3, "test": 2}}
    prepared = run(own(split=split), tmp_path, tmp_path / "out")
    # Sorted: 1 1 2 3 3 | 3 4 5 | 9 9. The fifth row is a 3, so every 3 trains.
    assert {name: part.rows for name, part in prepared.splits.items()} == {"train": 6, "valid": 2, "test": 2}


def test_split_with_splits_divides_one_of_them(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i, "day": i // 5} for i in range(40)])
    table = "FROM read_csv('{clicks.csv}', header=true, all_varchar=true)"
    changes: dict[str, Any] = {
        "rows": None,
        "splits": {
            "train": f"SELECT * {table} WHERE day::INT < 6",
            "test": f"SELECT * {table} WHERE day::INT >= 6",
        },
        "expect": {"train": {"rows": 30, "positives": 15}, "test": {"rows": 10}, "total": {"rows": 40}},
    }
    carved = own(split={"by": "time", "column": "day", "ratio": {"train": 5, "valid": 1}}, **changes)
    prepared = run(carved, tmp_path, tmp_path / "out")
    assert {n: s.rows for n, s in prepared.splits.items()} == {"train": 25, "valid": 5, "test": 10}
    assert prepared.verified
    assert prepared.features[0].rows == 27  # values of `valid` are not in the vocabulary
    halved = own(split={"of": "test", "by": "order", "ratio": {"valid": 1, "test": 1}}, **changes)
    prepared = run(halved, tmp_path, tmp_path / "out", force=True)
    assert {n: s.rows for n, s in prepared.splits.items()} == {"train": 30, "valid": 5, "test": 5}
    values = columns(tmp_path / "out", prepared)
    assert values["valid"]["label"] + values["test"]["label"] == [i % 2 for i in range(30, 40)]
    bars = own(
        split={"by": "time", "column": "day", "ratio": {"train": 5, "valid": 1}}, compat="bars", **changes
    )
    prepared = run(bars, tmp_path, tmp_path / "out", force=True)
    assert {n: s.rows for n, s in prepared.splits.items()} == {"train": 30, "valid": 10, "test": 10}
    assert prepared.verified
    assert any("`valid` is the test split, as in BARS" in problem for problem in prepared.problems)


def test_split_by_column_uses_the_names_that_occur(tmp_path: Path) -> None:
    rows = [{"label": i % 2, "a": "v", "part": "test" if i % 3 == 0 else "train"} for i in range(9)]
    write_rows(tmp_path, rows)
    spec = own(split={"by": "column", "column": "part"})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert {name: part.rows for name, part in prepared.splits.items()} == {"train": 6, "test": 3}
    assert not (tmp_path / "out/own/valid").exists()


# --- the same result on any machine ----------------------------------------------------------------------


def test_fingerprint_and_bytes_are_the_same_for_any_thread_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small buffers and batches spread a small file over all threads.
    monkeypatch.setattr(reading, "BATCH_ROWS", 2048)
    write_rows(
        tmp_path,
        [
            {"label": i * 7 % 3 % 2, "a": i * i % 977, "n": i, "s": f"{i % 13}^{i % 17}"}
            for i in range(60_000)
        ],
    )
    query = (
        "SELECT * FROM read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', buffer_size=65536)"
    )
    groups = [
        {"type": "categorical", "columns": ["a"], "min_count": 2},
        {"type": "numeric", "columns": ["n"], "standardize": True},
        {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 3},
    ]
    for split in (
        {"by": "order", "ratio": {"train": 8, "valid": 1, "test": 1}},
        {"by": "hash", "key": "a", "ratio": {"train": 8, "valid": 1, "test": 1}},
    ):
        spec = own(rows=query, features=groups, split=split)
        found = set()
        for threads in (1, 2, 5):
            out = tmp_path / f"{split['by']}{threads}"
            prepared = run(spec, tmp_path, out, threads=threads)
            data = columns(out, prepared)
            found.add((prepared.fingerprint, prepared.sql_sha256, repr(data["train"]["n"][:1000])))
            assert data["train"]["n"] == sorted(data["train"]["n"])
        assert len(found) == 1


def test_fingerprint_depends_on_values_and_not_on_paths(tmp_path: Path) -> None:
    fingerprints = []
    for folder, last in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clicks.csv").write_text(f"label,a\n1,x\n0,y\n1,y\n0,{last}\n1,x\n0,x\n")
        fingerprints.append(run(own(), tmp_path / folder, tmp_path / folder / "out").fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_memory_limit_is_passed_on(tmp_path: Path) -> None:
    raw.criteo(tmp_path / "train.txt")
    spec = shipped("criteo")
    run(spec, tmp_path, tmp_path / "out", verify=False, memory_limit="300MB")
    with pytest.raises(UsageError, match="--memory-limit lots"):
        run(spec, tmp_path, tmp_path / "other", verify=False, memory_limit="lots")


# --- repeated requests -----------------------------------------------------------------------------------


def test_a_repeated_request_returns_at_once(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    first = run(own(), tmp_path, tmp_path / "out")
    stages: list[Progress] = []
    assert run(own(), tmp_path, tmp_path / "out", report=stages.append) == first
    assert stages[-1].stage == UP_TO_DATE
    assert run(own(description="other words"), tmp_path, tmp_path / "out") == first


def test_verified_raw_files_are_not_read_again(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    path = tmp_path / "clicks.csv"
    spec = own(files={path.name: {"md5": hashlib.md5(path.read_bytes()).hexdigest()}})
    first = run(spec, tmp_path, tmp_path / "out")
    path.unlink()
    assert run(spec, tmp_path, tmp_path / "out") == first


def test_files_named_only_in_sql_are_untracked(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    spec = own(files={}, rows="FROM read_csv('clicks.csv', header=true)")
    prepared = prepare(spec, Options(tmp_path, out=tmp_path / "out"))
    assert prepared.sources == ()
    assert "go unnoticed" in prepared.problems[0]


def test_another_request_needs_force(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    out = tmp_path / "out"
    first = run(own(), tmp_path, out)
    with pytest.raises(UsageError, match="another recipe") as refusal:
        run(own(label="1 - label::INTEGER"), tmp_path, out)
    assert "--force" in str(refusal.value.hint)
    with pytest.raises(UsageError, match="limit-rows"):
        run(own(), tmp_path, out, limit_rows=6)
    write_rows(tmp_path, [{"label": i % 2, "a": -i} for i in range(9)])
    with pytest.raises(UsageError, match="other raw files"):
        run(own(), tmp_path, out)
    assert manifest.read(out / "own") == first
    second = run(own(), tmp_path, out, force=True)
    assert second.fingerprint != first.fingerprint
    assert manifest.read(out / "own") == second
    assert sorted(path.name for path in out.iterdir()) == [".own.lock", "own"]


def test_a_folder_that_is_not_a_dataset_is_never_replaced(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    (tmp_path / "out/own").mkdir(parents=True)
    (tmp_path / "out/own/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a prepared dataset"):
        run(own(), tmp_path, tmp_path / "out", force=True)
    assert (tmp_path / "out/own/thesis.txt").exists()


def test_limit_rows_takes_the_first_rows_and_skips_expected_counts(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(90)])
    spec = own(expect={"total": {"rows": 90}})
    prepared = run(spec, tmp_path, tmp_path / "out", limit_rows=30)
    assert {name: split.rows for name, split in prepared.splits.items()} == {"train": 20, "test": 10}
    assert prepared.limit_rows == 30
    assert not prepared.verified  # 30 rows are not the 90 that are published
    stages: list[str] = []
    again = run(spec, tmp_path, tmp_path / "out", limit_rows=30, report=lambda at: stages.append(at.stage))
    assert (again, stages[-1]) == (prepared, UP_TO_DATE)


@pytest.mark.parametrize("size", ["lots", "-1GB", "0GB", "1 potato", ""])
def test_an_invalid_memory_limit_is_refused_first(tmp_path: Path, size: str) -> None:
    with pytest.raises(UsageError, match=f"`--memory-limit {size}` is not valid"):
        run(own(), tmp_path / "absent", tmp_path / "out", memory_limit=size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("threads", "hint"), [(1, ""), (2, ", or lower `--threads`")])
def test_out_of_memory_hints_at_the_limit(tmp_path: Path, threads: int, hint: str) -> None:
    with Engine("own", {}, spill=tmp_path, search=tmp_path, memory_limit="50MB", threads=threads) as engine:
        failure = engine._explain(duckdb.OutOfMemoryException("Out of Memory Error: no"), "")
    assert failure.hint == f"raise `--memory-limit` above 50MB{hint}"


def test_a_plan_refuses_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file or folder `/nope`"):
        plan(own(), Options(tmp_path, out=tmp_path, source=Path("/nope")))


def test_a_prepared_dataset_is_not_downloaded_again(tmp_path: Path) -> None:
    """As the plan says, even without a published checksum."""
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(90)])
    with serving((tmp_path / "clicks.csv").read_bytes()) as server:
        spec = own(downloads={"clicks.csv": {"urls": [server.url("clicks.csv")]}})
        first = prepare(spec, Options(tmp_path, out=tmp_path / "out"))
        assert len(server.requests) == 1
        shutil.rmtree(tmp_path / "cache")
        assert plan(spec, Options(tmp_path, out=tmp_path / "out"))["steps"][0].startswith("nothing")
        assert prepare(spec, Options(tmp_path, out=tmp_path / "out")) == first
        assert len(server.requests) == 1


def test_a_bad_file_without_checksum_has_a_refresh_hint(tmp_path: Path) -> None:
    """A bad download without a checksum stays in the cache."""
    with serving(b"label,a\n0,1\n1\n") as server:
        spec = own(downloads={"clicks.csv": {"urls": [server.url("clicks.csv")]}})
        with pytest.raises(RunFailed, match=r"`clicks\.csv:3`") as failure:
            prepare(spec, Options(tmp_path, out=tmp_path / "out"))
    cached = tmp_path / "cache" / "downloads" / "own" / "clicks.csv"
    assert cached.is_file()
    refresh = f"if `{cached}` is corrupt, `--refresh` downloads it again"
    assert str(failure.value.hint).endswith(refresh)


def test_plan_names_files_queries_and_state(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    absent = plan(own(), Options(tmp_path, out=tmp_path / "out"))
    assert absent["state"] == "absent"
    assert absent["steps"][0] == f"read `clicks.csv` from `{tmp_path / 'clicks.csv'}`"
    assert "read_csv" in absent["sql"][0]
    assert not (tmp_path / "out").exists()
    run(own(), tmp_path, tmp_path / "out")
    assert plan(own(), Options(tmp_path, out=tmp_path / "out"))["state"] == "prepared"
    with pytest.raises(UsageError, match="was prepared from another recipe"):
        plan(own(label="0"), Options(tmp_path, out=tmp_path / "out"))
    other = plan(own(label="0"), Options(tmp_path, out=tmp_path / "out", force=True))
    assert (other["state"], other["steps"][0]) == ("different", absent["steps"][0])
    with pytest.raises(UsageError, match="with another `--limit-rows`"):
        plan(own(), Options(tmp_path, out=tmp_path / "out", limit_rows=5))


def test_a_plan_fails_like_the_preparation(tmp_path: Path) -> None:
    """For files that are missing, do not match their checksum, or come from an archive."""
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    folder = tmp_path / "raw"
    folder.mkdir()
    spec = own(files={"clicks.csv": {"md5": "0" * 32}})
    for source, error in ((folder, UsageError), (tmp_path, CheckFailed)):
        errors = []
        for attempt in (plan, prepare):
            with pytest.raises(error) as failure:
                attempt(spec, Options(folder, out=tmp_path / "out", source=source))
            errors.append((failure.value.message, failure.value.hint, failure.value.problems))
        assert errors[0] == errors[1]
    assert plan(spec, Options(folder, out=tmp_path / "out", source=tmp_path, verify=False))["steps"]
    with gzip.open(folder / "clicks.csv.gz", "wb") as file:
        file.write((tmp_path / "clicks.csv").read_bytes())
    before = sorted(folder.iterdir())
    step, *_ = plan(own(), Options(folder, out=tmp_path / "out", source=folder))["steps"]
    assert step == f"read `clicks.csv` from `{folder / 'clicks.csv.gz'}`"
    assert sorted(folder.iterdir()) == before


# --- bad input -------------------------------------------------------------------------------------------


def failure(tmp_path: Path, content: str | bytes, **changes: Any) -> str:
    path = tmp_path / "clicks.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((RunFailed, UsageError, CheckFailed)) as caught:
        run(own(**changes), tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert not (tmp_path / "out/own").exists()
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".own.lock"]
    return message


TYPED = "SELECT * FROM read_csv('{clicks.csv}', header=true, auto_detect=false, delim=',', columns={'label': 'INTEGER', 'a': 'INTEGER'})"  # noqa: E501
GOOD = "label,a\n" + "1,5\n0,6\n" * 5


def test_wrong_column_count_names_file_and_line(tmp_path: Path) -> None:
    message = failure(tmp_path, GOOD + "1\n" + GOOD[8:], rows=TYPED)
    assert message == "`clicks.csv:12`: expected 2 columns, found 1 (dataset `own`)"


def test_non_numeric_number_names_file_and_line(tmp_path: Path) -> None:
    message = failure(tmp_path, GOOD + "1,many\n", rows=TYPED)
    assert "`clicks.csv:12`" in message
    assert 'Could not convert string "many"'.lower() in message.lower()


def test_non_numeric_text_in_a_numeric_feature_names_row_and_value(tmp_path: Path) -> None:
    numeric = [{"type": "numeric", "columns": ["a"], "standardize": False}]
    message = failure(tmp_path, GOOD + "1,many\n", features=numeric)
    assert message == "`clicks.csv:12`: `a` is `many`, which is not a number (dataset `own`)"


def test_an_infinite_number_is_an_error(tmp_path: Path) -> None:
    numeric = [{"type": "numeric", "columns": ["a"], "standardize": False}]
    assert "`clicks.csv:4`: `a` is infinite" in failure(
        tmp_path, "label,a\n1,1\n0,2\n1,inf\n0,1\n", features=numeric
    )


def test_invalid_utf8_names_file_and_line(tmp_path: Path) -> None:
    message = failure(tmp_path, GOOD.encode() + b"1,\xff\xfe\n")
    assert "`clicks.csv:12`" in message
    assert "unicode" in message


@pytest.mark.parametrize(
    ("value", "found"), [("2", "`2`"), ("", "a missing value"), ("yes", "`yes`"), ("0.5", "`0.5`")]
)
def test_a_label_other_than_0_and_1_is_an_error(tmp_path: Path, value: str, found: str) -> None:
    message = failure(tmp_path, GOOD + f"{value},5\n")
    assert message == f"`clicks.csv:12`: the label must be 0 or 1, found {found} (dataset `own`)"


def test_an_unknown_split_name_is_an_error(tmp_path: Path) -> None:
    message = failure(
        tmp_path, "label,a,part\n1,5,train\n0,5,tset\n", split={"by": "column", "column": "part"}
    )
    wanted = "the split must be `train`, `valid` or `test`, found `tset`"
    assert message == f"`clicks.csv:3`: {wanted} (dataset `own`)"


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    assert "split `test` of dataset `own` is empty" in failure(tmp_path, "label,a\n1,5\n")


def test_train_may_be_the_only_split(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(4)])
    for by in ({"by": "order"}, {"by": "hash", "key": "a"}):
        prepared = run(own(split=by | {"ratio": {"train": 1}}), tmp_path, tmp_path / by["by"])
        assert {name: split.rows for name, split in prepared.splits.items()} == {"train": 4}


def test_a_zero_byte_file_is_an_error(tmp_path: Path) -> None:
    assert "clicks.csv` is empty" in failure(tmp_path, b"")


def test_a_missing_column_suggests_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,colour\n1,5\n0,6\n1,7\n")
    with pytest.raises(UsageError, match="dataset `own` has no column `color`") as caught:
        run(own(features=[{"type": "categorical", "columns": ["color"]}]), tmp_path, tmp_path / "out")
    assert "colour" in str(caught.value.hint)


def test_an_sql_error_is_one_line_with_the_dataset(tmp_path: Path) -> None:
    message = failure(tmp_path, GOOD, rows="SELECT * FORM read_csv('{clicks.csv}')")
    assert message.startswith("the SQL of dataset `own` is not valid: syntax error")
    assert "lable" in failure(tmp_path, GOOD, label="lable")


def test_a_truncated_gzip_is_an_error(tmp_path: Path) -> None:
    data = gzip.compress("".join(f"{i % 2},{i * i}\n" for i in range(20_000)).encode())
    (tmp_path / "clicks.csv.gz").write_bytes(data[: len(data) // 2])
    query = "SELECT * FROM read_csv('{clicks.csv.gz}', header=false, auto_detect=false, columns={'label': 'INTEGER', 'a': 'INTEGER'})"  # noqa: E501
    with pytest.raises(RunFailed, match=r"clicks.csv.gz` is damaged: it is truncated") as caught:
        run(own(files={"clicks.csv.gz": {}}, rows=query), tmp_path, tmp_path / "out")
    assert caught.value.hint == "download or copy the file again"


def test_standardization_ignores_rounding_errors(tmp_path: Path) -> None:
    rows = [0.0] * 20 + [1.6e-17] + [0.0] * 8 + [1.0]
    (tmp_path / "clicks.csv").write_text(
        "label,a\n" + "".join(f"{i % 2},{x!r}\n" for i, x in enumerate(rows))
    )
    numeric = [{"type": "numeric", "columns": ["a"], "standardize": True}]
    split = {"by": "order", "ratio": {"train": 8, "test": 2}}
    run(own(features=numeric, split=split), tmp_path, tmp_path / "out")
    values = pq.read_table(tmp_path / "out/own/test")["a"].to_pylist()
    assert values == pytest.approx([0.0] * 5 + [1.0])


def test_a_gzip_with_a_wrong_crc_is_an_error(tmp_path: Path) -> None:
    """DuckDB ignores the CRC."""
    data = bytearray(gzip.compress("".join(f"{i % 2},{i}\n" for i in range(500)).encode()))
    data[-8] ^= 1
    (tmp_path / "clicks.csv.gz").write_bytes(data)
    spec = own(
        files={"clicks.csv.gz": {}}, rows="SELECT * FROM read_csv('{clicks.csv.gz}', names=['label', 'a'])"
    )
    for attempt in (plan, prepare):
        with pytest.raises(RunFailed, match=r"clicks.csv.gz` is damaged: crc check failed"):
            attempt(spec, Options(tmp_path, out=tmp_path / "out"))


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATE"])
def test_ancient_dates_are_reported_as_two_digit_years(tmp_path: Path, kind: str) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": "v", "day": f"{i % 9 + 1:02}/04/24"} for i in range(12)])
    split = {"by": "time", "column": "day", "ratio": {"train": 1, "test": 1}}
    query = "SELECT * REPLACE ({} AS day) " + str(own().rows).replace("{", "{{").replace("}", "}}")
    with pytest.raises(
        UsageError, match="`day` starts in the year 1, probably from two-digit years"
    ) as caught:
        run(own(split=split, rows=query.format(f"CAST(day AS {kind})")), tmp_path, tmp_path / "out")
    assert '`strptime("day", \'%d/%m/%y\') AS "day"`' in str(caught.value.hint)
    as_written = own(split=split, rows=query.format("strptime(day, '%d/%m/%y')"))
    # Six of twelve rows are of the first three days.
    assert run(as_written, tmp_path, tmp_path / "out").splits["train"].rows == 6


@pytest.mark.parametrize(
    "instants",
    [
        ["9", "10", "11"],
        ["1/2/2024", "1/3/2024", "2/1/2024"],
        ["03/04/24", "04/04/24", "05/03/24"],
        ["a", "b", "c"],
    ],
)
def test_dates_that_do_not_sort_as_text_are_refused(tmp_path: Path, instants: list[str]) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": "v", "day": instants[i % 3]} for i in range(12)])
    split = {"by": "time", "column": "day", "ratio": {"train": 1, "test": 1}}
    with pytest.raises(UsageError, match="`day` is text that does not sort by time") as caught:
        run(own(split=split), tmp_path, tmp_path / "out")
    hint = str(caught.value.hint)
    assert hint.startswith('convert it in the SELECT: `CAST("day" AS TIMESTAMP) AS "day"`')
    assert hint.endswith("""or with its format, `strptime("day", '%d/%m/%Y') AS "day"`""")


@pytest.mark.parametrize(("changes", "bad"), [({}, True), ({"standardize": True}, False)])
def test_a_number_larger_than_float32_is_an_error_with_its_line(
    tmp_path: Path, changes: dict[str, Any], *, bad: bool
) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n0,1\n1,1e39\n0,2\n1,3\n0,4\n1,5\n")
    spec = own(features=[{"type": "numeric", "columns": ["a"], "standardize": False, **changes}])
    if not bad:
        run(spec, tmp_path, tmp_path / "out")
        return
    with pytest.raises(RunFailed, match=r"`clicks.csv:3`: `a` is too large for float32"):
        run(spec, tmp_path, tmp_path / "out")
    skipping = own(
        features=[{"type": "numeric", "columns": ["a"], "standardize": False}],
        on_error="skip",
        max_rejected=1,
    )
    assert run(skipping, tmp_path, tmp_path / "out").problems[0].startswith("1 bad row was left out")


def test_mixed_line_ends_are_an_error_unless_not_strict(tmp_path: Path) -> None:
    lines = [f"{i % 2},{i}" + ("\r\n" if i % 3 else "\n") for i in range(60)]
    (tmp_path / "clicks.csv").write_text("label,a\n" + "".join(lines), newline="")
    query = "FROM read_csv('{clicks.csv}', header=true, all_varchar=true)"
    with pytest.raises(
        RunFailed, match=r"`clicks.csv:3`: its line ending differs from that of the first line"
    ) as caught:
        run(own(rows=query), tmp_path, tmp_path / "out")
    assert caught.value.hint == "fix the file, or read it with `strict_mode=false`"
    loose = query.replace("all_varchar", "strict_mode=false, all_varchar")
    assert sum(split.rows for split in run(own(rows=loose), tmp_path, tmp_path / "out").splits.values()) == 60


def test_a_split_of_one_class_is_reported(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n1,5\n1,6\n0,7\n")
    prepared = run(own(), tmp_path, tmp_path / "out")
    assert problems(prepared) == ("every label in `train` is 1: nothing can be learned from it",)
    assert prepared.verified is None  # nothing is published for this table


@pytest.mark.parametrize("label", [0, 1])
def test_a_held_out_split_of_one_class_is_reported_with_a_fix(tmp_path: Path, label: int) -> None:
    labels = [i % 2 for i in range(80)] + [label] * 10 + [i % 2 for i in range(10)]
    lines = [f"{value},a{i % 3}" for i, value in enumerate(labels)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *lines]) + "\n")
    spec = own(split={"by": "order", "ratio": {"train": 8, "valid": 1, "test": 1}})
    problem = f"every label in `valid` is {label} (10 rows): AUC is undefined"
    assert problems(run(spec, tmp_path, tmp_path / "out")) == (
        f"{problem}; change the ratio, key or rule of `split`",
    )


@pytest.mark.parametrize(
    ("kind", "values", "problem"),
    [
        ("categorical", ["x"] * 9, "has the same value"),
        ("numeric", [5] * 9, "has the same value"),
        ("numeric", [""] * 9, "is missing"),
        ("categorical", ["x", "", *["x"] * 7], None),
        ("numeric", [5, 6, *[5] * 7], None),
    ],
)
def test_constant_features_are_reported(
    tmp_path: Path, kind: str, values: list[object], problem: str | None
) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": value, "b": i} for i, value in enumerate(values)])
    features = [{"type": kind, "columns": ["a"]}, {"type": "numeric", "columns": ["b"], "standardize": False}]
    prepared = run(own(features=features), tmp_path, tmp_path / "out")
    expected = f"`a` {problem} in every row of `train`: nothing can be learned from it"
    assert problems(prepared) == ((expected,) if problem else ())


def test_wrong_counts_fail_the_check_with_both_values(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    spec = own(expect={"total": {"rows": 10, "positives": 4}, "train": {"rows": 7}})
    with pytest.raises(CheckFailed) as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert [str(problem) for problem in caught.value.problems] == [
        "total: expected 10 rows, found 9",
        "train: expected 7 rows, found 6",
    ]
    assert "--no-verify" in str(caught.value.hint)
    prepared = run(spec, tmp_path, tmp_path / "out", verify=False)
    assert len(problems(prepared)) == 2
    assert not prepared.verified
    with pytest.raises(CheckFailed):
        run(spec, tmp_path, tmp_path / "out")


def test_timestamps_are_standardized_in_full_precision(tmp_path: Path) -> None:
    """Seconds around 1.7e9: a mean of nine digits would be off by half their deviation."""
    numbers = [1_700_000_000 + i * i % 31 for i in range(90)]
    write_rows(tmp_path, [{"label": i % 2, "a": number} for i, number in enumerate(numbers)])
    features = [{"type": "numeric", "columns": ["a"], "standardize": True}]
    prepared = run(own(features=features), tmp_path, tmp_path / "out")
    train = np.array(numbers[:60], np.float64)
    written = columns(tmp_path / "out", prepared)["train"]["a"]
    assert written == pytest.approx(((train - train.mean()) / train.std()).tolist(), abs=1e-6)


def test_floats_as_ids_merge_zeros_and_drop_nan(tmp_path: Path) -> None:
    ids = [-0.0, 0.0, 1.5, math.nan, None, 0.0]
    table = pa.table({"label": [0, 1] * 6, "a": ids * 2, "b": pa.array(ids * 2, pa.float32())})
    pq.write_table(table, tmp_path / "clicks.parquet")
    spec = own(
        files={"clicks.parquet": {}},
        rows="FROM '{clicks.parquet}'",
        features=[{"type": "categorical", "columns": ["a", "b"]}],
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    for name in "ab":
        vocabulary = pq.read_table(tmp_path / f"out/own/vocab/{name}.parquet").to_pydict()
        assert vocabulary == {"value": ["0.0", "1.5"], "id": [2, 3], "count": [5, 1]}
        assert columns(tmp_path / "out", prepared)["test"][name] == [3, 0, 0, 2]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1_000", 1000),
        ("+5", 5),
        (".5", 0.5),
        ("1e3", 1000),
        (" 7 ", 7),
        ("NaN", None),
        ("-nan", None),
        ("  ", None),
    ],
)
def test_spellings_of_numbers(tmp_path: Path, written: str, number: float | None) -> None:
    (tmp_path / "clicks.csv").write_text(f"label,a\n0,{written}\n1,2\n0,3\n")
    spec = own(features=[{"type": "numeric", "columns": ["a"], "standardize": False}])
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert columns(tmp_path / "out", prepared)["train"]["a"] == [number or 0, 2]
    assert prepared.statistics is not None
    assert prepared.statistics.features["a"].missing["train"] == (0.5 if number is None else 0)


@pytest.mark.parametrize("written", ["0x10", "1.000,5", "1 000", "N/A", "null", "-"])
def test_text_that_is_not_a_number_is_an_error(tmp_path: Path, written: str) -> None:
    numeric = [{"type": "numeric", "columns": ["a"], "standardize": False}]
    message = failure(tmp_path, f'label,a\n0,1\n1,"{written}"\n0,3\n', features=numeric)
    assert message == f"`clicks.csv:3`: `a` is `{written}`, which is not a number (dataset `own`)"


def test_a_row_without_time_is_an_error_or_skipped(tmp_path: Path) -> None:
    rows = [{"label": i % 2, "a": i, "day": "" if i in (3, 7) else f"2024-01-{i + 1:02}"} for i in range(12)]
    write_rows(tmp_path, rows)
    changes: dict[str, Any] = {
        "rows": "SELECT * REPLACE (NULLIF(day, '') AS day) FROM "
        "read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', quote='\"')",
        "split": {"by": "time", "column": "day", "ratio": {"train": 1, "test": 1}},
    }
    with pytest.raises(RunFailed, match=r"^`clicks.csv:5`: `day` is missing, the time to split by"):
        run(own(**changes), tmp_path, tmp_path / "out")
    prepared = run(own(**changes, on_error="skip"), tmp_path, tmp_path / "out")
    assert prepared.rejected == 2
    assert {name: split.rows for name, split in prepared.splits.items()} == {"train": 5, "test": 5}
    sample = (tmp_path / "out/own/rejected.csv").read_text()
    assert "clicks.csv,5,4,the time it is split by is missing" in sample
    assert "clicks.csv,9,8," in sample


def test_nan_is_missing(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n1,nan\n0,3\n1,\n0,NaN\n1,4\n0,4\n")
    prepared = run(
        own(features=[{"type": "numeric", "columns": ["a"], "standardize": False}]),
        tmp_path,
        tmp_path / "out",
    )
    values = columns(tmp_path / "out", prepared)
    assert values["train"]["a"] == [0.0, 3.0, 0.0, 0.0]
    assert not any(math.isnan(value) for value in values["test"]["a"])


def test_a_recipe_with_the_right_checksums_is_verified(tmp_path: Path) -> None:
    raw.frappe(tmp_path)
    files = {
        name: RawFile(md5=hashlib.md5((tmp_path / name).read_bytes()).hexdigest())
        for name in ("train.csv", "valid.csv", "test.csv")
    }
    spec = shipped("frappe").model_copy(update={"files": files, "expect": {}})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert prepared.verified
    assert problems(prepared) == ()
    assert all(source.verified for source in prepared.sources)
