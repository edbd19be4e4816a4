"""Categories keep the spelling of a CSV file, whatever type DuckDB infers."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RunFailed

GUIDE = "read_csv('{clicks.csv}', header = true, quote = '\"')"
"""As in docs/guides/dataset-recipes.md: no types."""
READ = GUIDE.replace(")", ", sample_size = 2048)")
EARLY = 3_000
"""More rows than DuckDB samples for types."""
PAIRS = [
    pytest.param("123", "00123", id="zeros"),
    pytest.param("1.5", "1.50", id="decimals"),
    pytest.param("true", "True", id="flags"),
    pytest.param("1000.0", "1e3", id="exponents"),
    pytest.param("08:00:00", "08:00", id="times"),
    pytest.param("2024-01-05", "2024-1-5", id="dates"),
    pytest.param("2024-01-05 00:00:00", "2024-01-05T00:00:00", id="timestamps"),
    pytest.param("7", "+7", id="signs"),
]


def write(folder: Path, first: str, second: str) -> None:
    """`code` is `first`, from a late row on `second` too; `n` counts."""
    late = [first, second, first, second]
    values = [first] * EARLY + late
    lines = [f"{value},{i % 2},{i % 9}" for i, value in enumerate(values)]
    (folder / "clicks.csv").write_text("\n".join(["code,label,n", *lines]) + "\n")


def recipe(rows: str = f"SELECT * FROM {READ}", column: str = "code", **changes: Any) -> Any:
    split = {"by": "order", "ratio": {"train": 1}}
    features = [{"type": "categorical", "columns": [column]}]
    return own(**{"rows": rows, "split": split, "features": features} | changes)


def vocabulary(out: Path, prepared: Manifest, column: str) -> list[str]:
    return pq.read_table(out / prepared.dataset / "vocab" / f"{column}.parquet").to_pydict()["value"]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_different_spelling_is_a_different_value(tmp_path: Path, first: str, second: str) -> None:
    write(tmp_path, first, second)
    prepared = run(recipe(), tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, "code") == [first, second]
    assert columns(tmp_path / "out", prepared)["train"]["code"][EARLY:] == [2, 3, 2, 3]


@pytest.mark.parametrize("source", [GUIDE, "'{clicks.csv}'"])
def test_the_recipe_of_the_guide(tmp_path: Path, source: str) -> None:
    lines = [f"{'123' if i < 30_000 else '00123'},{i % 2}" for i in range(31_000)]
    (tmp_path / "clicks.csv").write_text("\n".join(["code,label", *lines]) + "\n")
    prepared = run(recipe(f"SELECT * FROM {source}"), tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, "code") == ["123", "00123"]


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (f"FROM {READ}", "code"),
        (f"SELECT code AS shop, label FROM {READ}", "shop"),
        (f"WITH c AS (FROM {READ}) SELECT * RENAME (code AS shop) FROM c", "shop"),
        (f"SELECT c.code, c.label FROM {READ} AS c WHERE n < 9", "code"),
        ("FROM read_csv('{clicks.csv}', sample_size = 2048, types = {'n': 'INTEGER'})", "code"),
        ("FROM read_csv_auto('{clicks.csv}', sample_size=2048, names=['code', 'label', 'n'])", "code"),
        (f"SELECT label, concat('shop ', CAST(code AS VARCHAR)) AS shop FROM {READ}", None),
    ],
)
def test_spelling_is_kept_through_the_select(tmp_path: Path, rows: str, column: str | None) -> None:
    write(tmp_path, "123", "00123")
    if column is None:
        with pytest.raises(RunFailed, match=r"^`clicks.csv:3003`: `code` is `00123`"):
            run(recipe(rows, "shop"), tmp_path, tmp_path / "out")
        return
    prepared = run(recipe(rows, column), tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, column) == ["123", "00123"]


def test_numbers_that_the_select_computes_with_keep_their_types(tmp_path: Path) -> None:
    write(tmp_path, "123", "00123")
    rows = f"SELECT code, n * 2 AS twice, n >= 4 AS label FROM {READ}"
    features = [
        {"type": "categorical", "columns": ["code"]},
        {"type": "numeric", "columns": ["twice"], "standardize": False},
    ]
    prepared = run(recipe(rows, features=features), tmp_path, tmp_path / "out")
    found = columns(tmp_path / "out", prepared)["train"]
    assert found["twice"][:10] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 0]
    assert found["label"][:10] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert found["code"][EARLY:] == [2, 3, 2, 3]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (f"SELECT * FROM {READ} WHERE code > 0", {}),
        (f"SELECT * FROM {READ} JOIN (SELECT 123 AS code) USING (code)", {}),
        (f"SELECT * FROM (SELECT code AS c, label FROM {READ}) WHERE c > 0", {"column": "c"}),
        (f"SELECT code || '-' || n AS code, label FROM {READ}", {}),
        (f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {READ}", {"label": "label = '1'"}),
        (f"FROM {READ}", {"label": "code > 100"}),
        (f"FROM {READ}", {"split": {"by": "time", "column": "code", "ratio": {"train": 1}}}),
        (f"FROM {READ}", {"split": {"by": "hash", "key": "code % 10", "ratio": {"train": 1}}}),
    ],
)
def test_a_column_also_used_as_a_number_is_checked(
    tmp_path: Path, rows: str, changes: dict[str, Any]
) -> None:
    """With the location, both spellings, and working SQL for both meanings."""
    write(tmp_path, "123", "00123")
    with pytest.raises(RunFailed) as caught:
        run(recipe(rows, **changes), tmp_path, tmp_path / "out")
    assert str(caught.value) == (
        "`clicks.csv:3003`: `code` is `00123`, which DuckDB reads as BIGINT and turns into `123` "
        "(dataset `own`)"
    )
    assert caught.value.hint is not None
    for option in ("types = {'code': 'VARCHAR'}", "types = {'code': 'BIGINT'}"):
        assert f"add `{option}`" in caught.value.hint
    meant = rows.replace("sample_size = 2048", "sample_size = 2048, types = {'code': 'BIGINT'}")
    assert run(recipe(meant, **changes), tmp_path, tmp_path / "out").splits["train"].rows


def test_numbers_whose_type_keeps_their_text_may_be_both(tmp_path: Path) -> None:
    write(tmp_path, "123", "7")
    prepared = run(recipe(f"SELECT * FROM {READ} WHERE code > 0"), tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, "code") == ["123", "7"]


def test_sequences_and_keys_use_the_text(tmp_path: Path) -> None:
    lines = [f"{i % 5},{i % 2},{value}" for i, value in enumerate(["7"] * EARLY + ["07", "7"] * 100)]
    (tmp_path / "clicks.csv").write_text("\n".join(["tag,label,user", *lines]) + "\n")
    features = [
        {"type": "sequence", "columns": ["tag"], "separator": "|", "max_len": 2},
        {"type": "categorical", "columns": ["user"]},
    ]
    split = {"by": "hash", "key": "user, tag", "ratio": {"train": 1}}
    prepared = run(recipe(features=features, split=split), tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, "user") == ["7", "07"]
    assert vocabulary(tmp_path / "out", prepared, "tag") == ["0", "1", "2", "3", "4"]


def test_a_flag_that_is_a_number_and_a_category(tmp_path: Path) -> None:
    """As text it would not be a number: the type stays, and values that it keeps are allowed."""
    lines = [f"{'true' if i % 3 else 'false'},{i % 2}" for i in range(60)]
    (tmp_path / "clicks.csv").write_text("\n".join(["flag,label", *lines]) + "\n")
    rows = f"SELECT flag, flag AS kind, label FROM {READ}"
    features = [
        {"type": "numeric", "columns": ["flag"], "standardize": False},
        {"type": "categorical", "columns": ["kind"]},
    ]
    prepared = run(recipe(rows, features=features), tmp_path, tmp_path / "out")
    assert columns(tmp_path / "out", prepared)["train"]["flag"][:4] == [0, 1, 1, 0]
    assert sorted(vocabulary(tmp_path / "out", prepared, "kind")) == ["false", "true"]


def test_two_files_and_gzip(tmp_path: Path) -> None:
    """A later file with a spelling that changes under the type inferred from the first."""
    for file, value in (("part-0.csv.gz", "7"), ("part-1.csv.gz", "007")):
        text = "code,label\n" + "".join(f"{value},{i % 2}\n" for i in range(50))
        (tmp_path / file).write_bytes(gzip.compress(text.encode()))
    spec = recipe("FROM read_csv('{part-*.csv.gz}', header = true)", files={"part-*.csv.gz": {}})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert vocabulary(tmp_path / "out", prepared, "code") == ["007", "7"]
