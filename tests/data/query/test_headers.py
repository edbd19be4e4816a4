"""Files of one pattern whose headers differ: columns are matched by name, or it is an error."""

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.data.drafting.draft import draft
from wukongctl.errors import RunFailed, UsageError

NAMED = "columns={'label': 'VARCHAR', 'a': 'VARCHAR', 'c': 'VARCHAR'}"
SPLIT = {"by": "order", "ratio": {"train": 1, "test": 1}}


def tables(folder: Path, header: str, *, rows: int = 40) -> None:
    """`o1.csv` with columns label, a, c, and `o2.csv` with those of `header`."""
    for file, names in (("o1.csv", "label,a,c"), ("o2.csv", header)):
        table = [{"label": str(i % 2), "a": f"a{i % 3}", "c": "x"} for i in range(rows)]
        lines = [",".join(row.get(name, "z") for name in names.split(",")) for row in table]
        (folder / file).write_text("\n".join([names, *lines]) + "\n")


def pattern(arguments: str) -> Any:
    query = f"SELECT * FROM read_csv('{{o*.csv}}', {arguments})"
    return own(files={"o*.csv": {}}, rows=query, split=SPLIT)


@pytest.mark.parametrize("header", ["a,label,c", "label,b,c", "label,c", "label,a,c,d"])
@pytest.mark.parametrize(
    "arguments",
    [
        f"header=true, auto_detect=false, {NAMED}",
        f"header=true, delim=',', {NAMED}",
        f"delim=',', {NAMED}",
        f"skip=1, header=false, auto_detect=false, {NAMED}",
        "skip=1, header=false, names=['label', 'a', 'c'], all_varchar=true",
        f"header => true, columns := {NAMED.partition('=')[2]}",
    ],
)
def test_a_header_that_differs_from_the_first_file_is_an_error(
    tmp_path: Path, header: str, arguments: str
) -> None:
    tables(tmp_path, header)
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: the columns are ") as caught:
        run(pattern(arguments), tmp_path, tmp_path / "out")
    assert "but `label`, `a`, `c` in `o1.csv`" in str(caught.value)
    assert not (tmp_path / "out/own").exists()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("label,c,a", "column 2 is `c`, but `a` in the `columns` of the recipe"),
        ("label,b,c", None),
        ("label,a,a", "column 3 is `a`, but `c` in the `columns` of the recipe"),
        ("click,x,y", None),
        ("Label,A ,c", None),
    ],
)
@pytest.mark.parametrize("arguments", ["header=true, auto_detect=false", "skip=1, header=false"])
def test_a_header_must_match_the_columns_of_the_recipe(
    tmp_path: Path, header: str, message: str | None, arguments: str
) -> None:
    """Unless the recipe uses other names."""
    rows = "".join(f"{i % 2},a{i % 3},a{i % 5}\n" for i in range(40))
    (tmp_path / "clicks.csv").write_text(f"{header}\n{rows}")
    spec = own(rows=f"FROM read_csv('{{clicks.csv}}', {arguments}, {NAMED})", split=SPLIT)
    if message is None:
        assert run(spec, tmp_path, tmp_path / "out").splits["train"].rows == 20
        return
    with pytest.raises(UsageError) as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert str(caught.value) == f"`clicks.csv:1`: {message}"


def test_headers_of_a_list_of_files_must_match(tmp_path: Path) -> None:
    tables(tmp_path, "a,label,c")
    query = f"FROM read_csv(['{{o1.csv}}', '{{o2.csv}}'], header=true, auto_detect=false, {NAMED})"
    with pytest.raises(UsageError, match=r"^`o2.csv:1`"):
        run(own(files={"o1.csv": {}, "o2.csv": {}}, rows=query), tmp_path, tmp_path / "out")


NUMBERED = "SELECT column0 AS label, column1 AS a, column2 AS c FROM read_csv({}, skip=1)"
TEXTS = "SELECT column0 AS label, column1 AS a, column2 AS c FROM read_csv({}, skip=1, all_varchar=true)"
RENAMED = "SELECT y AS label, a, c FROM read_csv({}, skip=1, names=['y', 'a', 'c'])"


@pytest.mark.parametrize(
    ("query", "files", "header"),
    [
        (NUMBERED, "'{{o*.csv}}'", "a,label,c"),
        (NUMBERED, "'o*.csv'", "label,b,c"),
        (TEXTS, "['o1.csv', 'o2.csv']", "a,label,c"),
        (RENAMED, "'{folder}/o?.csv'", "a,label,c"),
        (RENAMED, "'{{o*.csv}}'", "label,b,c"),
    ],
)
def test_skipped_headers_must_match(tmp_path: Path, query: str, files: str, header: str) -> None:
    """With any syntax for the files and the columns."""
    tables(tmp_path, header)
    named = files.replace("{{", "{").replace("}}", "}").replace("{folder}", str(tmp_path))
    found: Any = {"o*.csv": {}} if "{o" in named else {}
    recipe = own(files=found, rows=query.format(named), split=SPLIT)
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: the columns are "):
        run(recipe, tmp_path, tmp_path / "out")
    tables(tmp_path, "label,a,c")
    prepared = columns(tmp_path / "out", run(recipe, tmp_path, tmp_path / "out"))
    assert prepared["test"] == prepared["train"]


def test_skipped_comments_may_differ(tmp_path: Path) -> None:
    tables(tmp_path, "a,label,c")
    for file in ("o1.csv", "o2.csv"):
        (tmp_path / file).write_text(f"# {file}, as of today, whole\n" + (tmp_path / file).read_text())
    query = "FROM read_csv('o*.csv', skip=1, all_varchar=true)"
    prepared = columns(
        tmp_path / "out", run(own(files={}, rows=query, split=SPLIT), tmp_path, tmp_path / "out")
    )
    assert prepared["test"] == prepared["train"]


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_other_formats_are_matched_by_name(tmp_path: Path, kind: str) -> None:
    for file, order in (("o1", "label, a, c"), ("o2", "c, a, label")):
        rows = "SELECT range % 2 AS label, 'a' || range % 3 AS a, 'x' AS c FROM range(40)"
        duckdb.sql(f"COPY (SELECT {order} FROM ({rows})) TO '{tmp_path / file}.{kind}' (FORMAT {kind})")
    recipe = own(files={}, rows=f"FROM read_{kind}('o*.{kind}')", split=SPLIT)
    prepared = columns(tmp_path / "out", run(recipe, tmp_path, tmp_path / "out"))
    assert prepared["test"] == prepared["train"]


@pytest.mark.parametrize("arguments", ["header=true", "header=true, all_varchar=true", "delim=','"])
def test_columns_are_matched_by_name_without_recipe_names(tmp_path: Path, arguments: str) -> None:
    tables(tmp_path, "a,label,c")
    prepared = columns(tmp_path / "out", run(pattern(arguments), tmp_path, tmp_path / "out"))
    assert prepared["test"] == prepared["train"]
    tables(tmp_path, "label,b,c")
    with pytest.raises((UsageError, RunFailed), match=r"o2\.csv"):
        run(pattern(arguments), tmp_path, tmp_path / "other")


def test_quotes_case_byte_order_mark_and_compression_do_not_matter(tmp_path: Path) -> None:
    tables(tmp_path, "label,a,c")
    rest = (tmp_path / "o2.csv").read_text().partition("\n")[2]
    (tmp_path / "o2.csv").write_bytes(f'\ufeffLabel,"a", C\n{rest}'.encode())
    (tmp_path / "o3.csv.gz").write_bytes(gzip.compress(f"label,a,c\n{rest}".encode()))
    with pa.output_stream(tmp_path / "o4.csv.zst", compression="zstd") as file:
        file.write(f"label,a,c\n{rest}".encode())
    query = f"FROM read_csv('{{o*}}', header=true, auto_detect=false, quote='\"', {NAMED})"
    prepared = run(own(files={"o*": {}}, rows=query, split=SPLIT), tmp_path, tmp_path / "out")
    assert sum(split.rows for split in prepared.splits.values()) == 160


def test_lines_without_a_header_are_not_compared(tmp_path: Path) -> None:
    for file in ("o1.csv", "o2.csv"):
        (tmp_path / file).write_text("".join(f"{i % 2},{file}{i},x\n" for i in range(20)))
    run(pattern(f"header=false, auto_detect=false, {NAMED}"), tmp_path, tmp_path / "out")
    run(pattern(f"delim=',', {NAMED}"), tmp_path, tmp_path / "other")


@pytest.mark.parametrize("header", ["a,label,c", "label,b,c"])
def test_init_refuses_files_with_different_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    tables(tmp_path, header)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: the columns are ") as caught:
        draft("o*.csv", name="own")
    assert "`read_csv('{o*.csv}', header=true, all_varchar=true, union_by_name=true)`" in str(
        caught.value.hint
    )


def test_the_first_different_of_many_columns_is_named(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(20)]
    for file, header in (("o1.csv", ["label", "a", *names]), ("o2.csv", ["label", "a", *names[:15], "z"])):
        (tmp_path / file).write_text(f"{','.join(header)}\n")
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in ("label", "a", *names))
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: column 18 is `z`, but `c15` in `o1.csv`$"):
        run(pattern(f"header=true, auto_detect=false, columns={{{columns}}}"), tmp_path, tmp_path / "out")


@pytest.mark.parametrize("arguments", ["header=true, all_varchar=true", "all_varchar=true, skip=1"])
@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"features": ["a"]}, False),
        ({"features": ["c"]}, True),
        ({"features": ["a", "a_1"]}, True),
        ({"features": ["c"], "label": "CAST(label = a AS INT)"}, False),
        (
            {
                "features": ["c"],
                "split": {"by": "hash", "key": "concat(A, 1)", "ratio": {"train": 1, "test": 1}},
            },
            False,
        ),
    ],
)
def test_a_repeated_column_name_is_an_error_if_the_recipe_uses_it(
    tmp_path: Path, arguments: str, changes: dict[str, Any], *, allowed: bool
) -> None:
    """DuckDB would silently read the first."""
    line = 1 + arguments.count("skip")
    rows = "".join(f"{i % 2},x{i % 3},y,z{i}\n" for i in range(40))
    (tmp_path / "clicks.csv").write_text("made today\n" * (line - 1) + f"label,a,c,A\n{rows}")
    query = f"FROM read_csv('{{clicks.csv}}', {arguments})"
    features = [{"type": "categorical", "columns": changes["features"]}]
    spec = own(**{"rows": query, "split": SPLIT} | changes | {"features": features})
    if allowed:
        assert run(spec, tmp_path, tmp_path / "out").splits["train"].rows == 20
        return
    with pytest.raises(UsageError, match=rf"^`clicks.csv:{line}`: 2 columns are named `a`$") as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert "`a` is the first, `a_1` the second" in str(caught.value.hint)
