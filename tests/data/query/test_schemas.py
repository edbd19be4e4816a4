"""Parquet files of one pattern whose columns differ: every value is kept, or it is an error."""

import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_prepare import columns, own, run
from tests.examples import examples
from wukongctl.data.drafting.draft import Draft, draft
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError

BEYOND = 1 << 60
"""Adjacent integers here are the same double."""


def write(folder: Path, *parts: dict[str, Any]) -> tuple[Path, ...]:
    """`part-0.parquet`, `part-1.parquet`… of these columns."""
    paths = tuple(folder / f"part-{index}.parquet" for index in range(len(parts)))
    for path, part in zip(paths, parts, strict=True):
        pq.write_table(pa.table(part), path)
    return paths


def read(folder: Path, paths: tuple[Path, ...], query: str = "FROM read_parquet('{p}')") -> list[Any]:
    with Engine("own", {"p": paths}, spill=folder, search=folder) as engine:
        return engine.rows(query)


def recipe(rows: str = "FROM read_parquet('{part-*.parquet}')", **changes: Any) -> Any:
    split = {"by": "order", "ratio": {"train": 2, "test": 1}}
    content: dict[str, Any] = {"files": {"part-*.parquet": {}}, "rows": rows, "split": split}
    return own(**content | changes)


HASHES = [BEYOND + i for i in range(299)]
ALIKE = [
    pytest.param(pa.array([math.nan] * 3), pa.array(HASHES), [None] * 3 + HASHES, id="pandas-empty-chunk"),
    pytest.param(pa.array([0, 1]), pa.array([0.25, 0.4]), [0, 1, 0.25, 0.4], id="whole-then-rates"),
    pytest.param(pa.nulls(2), pa.array(HASHES), [None] * 2 + HASHES, id="no-type-yet"),
    pytest.param(pa.nulls(2), pa.array(["007", "7"]), [None, None, "007", "7"], id="no-type-then-text"),
    pytest.param(pa.array([math.nan]), pa.array(["007", "7"]), [None, "007", "7"], id="nan-then-text"),
    pytest.param(pa.array([7.0, math.nan]), pa.array([BEYOND + 1]), [7, None, BEYOND + 1], id="ids-and-gaps"),
    pytest.param(pa.array([1, 2], pa.int8()), pa.array([300], pa.int32()), [1, 2, 300], id="wider"),
    pytest.param(pa.array([-1]), pa.array([(1 << 64) - 1], pa.uint64()), [-1, (1 << 64) - 1], id="signs"),
    pytest.param(pa.array([5]), pa.array(["A5", "05"]), ["5", "A5", "05"], id="codes-then-text"),
    pytest.param(pa.array([True, False]), pa.array([1, 0]), [1, 0, 1, 0], id="flags"),
    pytest.param(pa.array([None], pa.bool_()), pa.array(["x"]), [None, "x"], id="empty-flag-then-text"),
    pytest.param(pa.array([[1, BEYOND + 1], []]), pa.array([[2.0]]), [[1, BEYOND + 1], [], [2]], id="lists"),
    pytest.param(pa.array([[None]]), pa.array([["a"], []]), [[None], ["a"], []], id="lists-of-nothing"),
    pytest.param(pa.array(["a"]).dictionary_encode(), pa.array(["b"]), ["a", "b"], id="dictionary"),
]


@pytest.mark.parametrize(("first", "second", "wanted"), ALIKE)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("arguments", ["", ", union_by_name=true"])
def test_every_value_is_kept_in_its_row(
    tmp_path: Path, first: pa.Array, second: pa.Array, wanted: list[Any], *, turned: bool, arguments: str
) -> None:
    paths = write(tmp_path, {"x": first}, {"x": second})
    if turned:
        paths, wanted = paths[::-1], wanted[len(first) :] + wanted[: len(first)]
    rows = read(tmp_path, paths, f"SELECT x FROM read_parquet('{{p}}'{arguments})")
    assert [x for (x,) in rows] == wanted


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ([0.5, 2.0], HASHES, "DOUBLE in `part-0.parquet` and BIGINT in `part-1.parquet`"),
        ([float(BEYOND)], HASHES, "DOUBLE in `part-0.parquet` and BIGINT in `part-1.parquet`"),
        ([5.0], ["5", "A5"], "DOUBLE in `part-0.parquet` and VARCHAR in `part-1.parquet`"),
        ([True], ["True"], "BOOLEAN in `part-0.parquet` and VARCHAR in `part-1.parquet`"),
        ([[1, 2]], ["1|2"], "BIGINT[] in `part-0.parquet` and VARCHAR in `part-1.parquet`"),
        ([{"a": 1}], [{"a": 1, "b": 2}], "STRUCT"),
    ],
)
def test_values_that_no_type_holds_are_an_error_with_working_sql(
    tmp_path: Path, first: list[Any], second: list[Any], kinds: str
) -> None:
    labels = [{"label": [i % 2 for i in range(len(part))]} for part in (first, second)]
    write(tmp_path, {"a": first} | labels[0], {"a": second} | labels[1])
    spec = recipe(split={"by": "hash", "key": "a", "ratio": {"train": 1}})
    with pytest.raises(UsageError, match="no type holds all its values exactly") as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert kinds in str(caught.value)
    hints = "\n".join(filter(None, [caught.value.hint, *(p.hint for p in caught.value.problems)]))
    statement = hints.partition("in the SQL: `")[2].rstrip("`")
    files = yaml.safe_load(hints.partition("read it as text: `files: ")[2].partition("`, and")[0])
    assert "'{part-0.parquet}'" in statement
    chosen = recipe(files=files, rows=statement, split=spec.split.to_dict())
    prepared = run(chosen, tmp_path, tmp_path / "out")
    assert sum(split.rows for split in prepared.splits.values()) == len(first) + len(second)


def test_ids_after_an_empty_chunk_of_pandas_stay_distinct(tmp_path: Path) -> None:
    """299 users have 299 ids, in `init` as in `prepare`."""
    users = HASHES * 4
    first = {"a": [math.nan] * 100, "label": [i % 2 for i in range(100)]}
    write(tmp_path, first, {"a": users, "label": [i % 2 for i in range(len(users))]})
    spec = recipe(split={"by": "hash", "key": "a", "ratio": {"train": 1}})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert {f.name: f.rows for f in prepared.features} == {"a": 299 + 2}
    found = columns(tmp_path / "out", prepared)["train"]["a"]
    assert found[:100] == [0] * 100
    assert len(set(found[100:])) == 299


def findings(drafted: Draft) -> list[tuple[str, str, str]]:
    return [(role.column.name, role.kind, role.note) for role in drafted.roles]


def test_init_profiles_the_values_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 600
    rates = [(i * 37 % 450) / 1000 for i in range(rows)]
    labels = [i * 7 % 3 // 2 for i in range(rows)]
    write(
        tmp_path,
        {"rate": [0] * rows, "clicked": labels},
        {"rate": rates, "clicked": labels, "late": [f"v{i * 11 % 13 % 9}" for i in range(rows)]},
    )
    monkeypatch.chdir(tmp_path)
    drafted = draft("part-*.parquet")
    # Several threads add up a mean in any order, so its last bit varies.
    assert findings(draft(str(tmp_path))) == findings(drafted)
    uses = {role.column.name: role.kind for role in drafted.roles}
    assert uses == {"rate": "numeric", "late": "categorical"}
    assert any("`late` is not in `part-0.parquet` (1 of 2 files)" in doubt for doubt in drafted.remarks)


def test_a_column_of_some_files_is_read_with_a_remark(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"label": [0, 1], "unused": [1, 1]},
        {"LABEL": [0, 1], "a": ["u", "v"]},
        {"label": [0, 1], "A": ["u", "w"]},
    )
    spec = recipe(split={"by": "hash", "key": "a", "ratio": {"train": 1}})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert columns(tmp_path / "out", prepared)["train"]["a"] == [0, 0, 2, 3, 2, 4]
    assert prepared.problems[0] == "`a` is not in `part-0.parquet` (1 of 3 files) and missing in those rows"


@pytest.mark.parametrize(
    "source",
    [
        "read_parquet('part-*.parquet')",
        "'part-*.parquet'",
        "parquet_scan(['part-0.parquet', 'part-1.parquet'])",
    ],
)
def test_any_syntax_for_files_is_supported(tmp_path: Path, source: str) -> None:
    write(tmp_path, {"a": [0, 1, 0], "label": [0, 1, 1]}, {"a": [0.25, 0.5, 0.25], "label": [0, 1, 1]})
    spec = recipe(
        rows=f"SELECT * FROM {source}",
        files={},
        features=[{"type": "numeric", "columns": ["a"], "standardize": False}],
        split={"by": "order", "ratio": {"train": 1}},
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert columns(tmp_path / "out", prepared)["train"]["a"] == [0, 1, 0, 0.25, 0.5, 0.25]


def test_folders_by_day_may_differ(tmp_path: Path) -> None:
    for day, part in (("01", {"a": [1], "label": [0]}), ("02", {"a": [0.5], "label": [1]})):
        (tmp_path / f"day={day}").mkdir()
        write(tmp_path / f"day={day}", part)
    paths = tuple(sorted(tmp_path.glob("day=*/*.parquet")))
    query = "SELECT a, day FROM read_parquet('{p}', hive_partitioning=true, hive_types={'day': 'VARCHAR'})"
    assert read(tmp_path, paths, query) == [(1.0, "01"), (0.5, "02")]


def test_files_with_equal_schemas_are_read_as_written(tmp_path: Path) -> None:
    """With any order of columns and any pandas metadata."""
    paths = write(tmp_path, {"a": [1], "b": ["x"]}, {"b": ["y"], "a": [2]})
    table = pq.read_table(paths[1]).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, paths[1])
    with Engine("own", {"p": paths}, spill=tmp_path, search=tmp_path) as engine:
        query = f"FROM read_parquet([{', '.join(repr(str(path)) for path in paths)}])"
        assert engine.schemas.unified(query) == query
        assert engine.rows("FROM read_parquet('{p}')") == [(1, "x"), (2, "y")]


NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-9, 9), st.none(), st.floats(), st.booleans()
)
KINDS = [pa.int64(), pa.int16(), pa.float64(), pa.bool_(), pa.null()]


@st.composite
def parts(draw: st.DrawFn) -> list[pa.Array]:
    def fits(value: Any, kind: pa.DataType) -> bool:
        try:
            return isinstance(value, bool) == pa.types.is_boolean(kind) and (
                value is None or pa.array([value], kind)[0].as_py() is not None
            )
        except (pa.ArrowException, OverflowError):
            return False

    chosen = draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=3))
    return [
        pa.array([v for v in draw(st.lists(NUMBERS, max_size=4)) if fits(v, kind) or v is None], kind)
        for kind in chosen
    ]


@given(parts())
@settings(max_examples=examples(15), deadline=None)
def test_numbers_of_mixed_types_are_read_exactly_or_refused(columns: list[pa.Array]) -> None:
    wanted = list(itertools.chain.from_iterable(part.to_pylist() for part in columns))
    refused, rows = "", []
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), *({"x": part} for part in columns))
        try:
            rows = [x for (x,) in read(Path(folder), paths)]
        except UsageError as error:
            refused = str(error)
    if refused:
        assert "no type holds" in refused
        return
    assert len(rows) == len(wanted)
    for found, value in zip(rows, wanted, strict=True):
        is_none = value is None or (isinstance(value, float) and math.isnan(value))
        if is_none:
            assert found is None or math.isnan(found)
        else:
            assert found == value


def test_duckdb_itself_still_rounds(tmp_path: Path) -> None:
    """The reason for this module, which can be deleted once this fails."""
    paths = [str(path) for path in write(tmp_path, {"x": [0, 1]}, {"x": [0.25, 0.4]})]
    assert duckdb.sql(f"SELECT x FROM read_parquet({paths})").fetchall()[2:] == [(0,), (0,)]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_nan_in_parquet_is_missing(tmp_path: Path, kind: pa.DataType) -> None:
    """DuckDB's bounds of a Parquet column ignore NaN, and so would `NULLIF`."""
    write(tmp_path, {"a": pa.array([7, math.nan, 1, 2, math.nan, 3], kind), "label": [0, 1, 0, 1, 0, 1]})
    spec = recipe(features=[{"type": "numeric", "columns": ["a"], "standardize": False}])
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert columns(tmp_path / "out", prepared)["train"]["a"] == [7, 0, 1, 2]
    texts = recipe(rows="SELECT label, isnan(a) AS a FROM read_parquet('{part-*.parquet}')")
    asked = columns(tmp_path / "out", run(texts, tmp_path, tmp_path / "out", force=True))
    assert asked["train"]["a"] == [2, 3, 2, 2]
