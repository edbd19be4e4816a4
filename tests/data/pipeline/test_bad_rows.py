"""Bad rows: their location in errors, and their count and sample under `on_error: skip`."""

import csv
import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_prepare import columns, own, run
from wukongctl.data.drafting.draft import draft
from wukongctl.data.pipeline import parts
from wukongctl.data.query import sql
from wukongctl.errors import RunFailed

TYPED = (
    "FROM read_csv('{clicks.csv}', header=true, auto_detect=false, delim=',', quote='\"', "
    "columns={'label': 'VARCHAR', 'a': 'INTEGER', 'n': 'VARCHAR'})"
)
FEATURES = [
    {"type": "categorical", "columns": ["a"]},
    {"type": "numeric", "columns": ["n"], "standardize": False},
]
HASH = {"by": "hash", "key": "a", "ratio": {"train": 3, "test": 1}}
GOOD = [f"{i % 2},{i % 7},{i}" for i in range(40)]
BAD = {
    3: ("1,many,2", "Could not convert string"),
    8: ("1", "Expected Number of Columns: 3 Found: 1"),
    9: ("0,1,2,3", "Expected Number of Columns: 3 Found: 4"),
    15: ("1,3,\xff", "unicode"),
    21: ("2,4,4", "the label must be 0 or 1, found `2`"),
    22: (",4,4", "the label must be 0 or 1, found a missing value"),
    23: ("yes,4,4", "the label must be 0 or 1, found `yes`"),
    30: ("0,4,lots", "`n` is `lots`, which is not a number"),
    31: ("0,4,-inf", "`n` is infinite"),
}


def write(folder: Path, bad: dict[int, tuple[str, str]]) -> None:
    lines = ["label,a,n", *GOOD]
    for line, (text, _) in sorted(bad.items()):
        lines.insert(line - 1, text)  # so that it is line number `line` of the file
    (folder / "clicks.csv").write_bytes("\n".join([*lines, ""]).encode("latin-1"))


def skipping(**changes: Any) -> Any:
    return own(**({"rows": TYPED, "features": FEATURES, "on_error": "skip"} | changes))


@pytest.mark.parametrize("split", [HASH, {"by": "order", "ratio": {"train": 3, "test": 1}}])
@pytest.mark.parametrize("threads", [1, 2])
def test_bad_rows_are_skipped_counted_and_sampled(
    tmp_path: Path, split: dict[str, Any], threads: int
) -> None:
    write(tmp_path, {})
    clean = run(skipping(split=split), tmp_path, tmp_path / "clean", threads=threads)
    assert clean.rejected == 0
    assert not (tmp_path / "clean/own/rejected.csv").exists()
    write(tmp_path, BAD)
    prepared = run(skipping(split=split), tmp_path, tmp_path / "out", threads=threads)
    assert columns(tmp_path / "out", prepared) == columns(tmp_path / "clean", clean)
    assert prepared.fingerprint == clean.fingerprint
    assert prepared.rejected == len(BAD)
    assert f"{len(BAD)} bad rows were left out: see `rejected.csv`" in prepared.problems
    with (tmp_path / "out/own/rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["line"]) for row in rows) == sorted(BAD)
    assert [int(row["line"]) for row in rows if not row["row"]] == [3, 8, 9, 15]
    for row in rows:
        text, reason = BAD[int(row["line"])]
        assert row["file"] == "clicks.csv"
        assert reason.lower() in row["reason"].lower()
        assert row["text"].rstrip() == text or not text.isascii()
    reasons = [row["reason"] for row in rows if row["row"]]
    assert reasons == [BAD[line][1] for line in (21, 22, 23, 30, 31)]


@pytest.mark.parametrize("line", sorted(BAD))
def test_without_skip_each_is_an_error_with_its_line(tmp_path: Path, line: int) -> None:
    write(tmp_path, {line: BAD[line]})
    with pytest.raises(RunFailed) as caught:
        run(skipping(on_error="fail"), tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"`clicks.csv:{line}`: ")
    assert "on_error: skip" in str(caught.value.hint)


@pytest.mark.parametrize("group", [{}, {"standardize": True}, {"transform": "log1p"}])
def test_an_infinite_number_of_an_inferred_type_has_a_line(tmp_path: Path, group: dict[str, Any]) -> None:
    lines = [f"{i % 2},{i}.5" for i in range(30)]
    lines[4] = "1,inf"
    (tmp_path / "clicks.csv").write_text("\n".join(["label,n", *lines]) + "\n")
    rows = "FROM read_csv('{clicks.csv}', header = true)"
    spec = own(rows=rows, features=[{"type": "numeric", "columns": ["n"], "standardize": False, **group}])
    with pytest.raises(RunFailed, match=r"^`clicks\.csv:6`: `n` is infinite"):
        run(spec, tmp_path, tmp_path / "out")


def test_nan_and_blank_are_missing_and_blank_lines_are_ignored(tmp_path: Path) -> None:
    lines = [f"{i % 2},{i % 7},{i}" for i in range(30)]
    lines[3], lines[4], lines[9] = "1,1,nan", "0,1,", ""
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,n", *lines]) + "\n")
    prepared = run(
        skipping(split={"by": "order", "ratio": {"train": 3, "test": 1}}), tmp_path, tmp_path / "out"
    )
    assert prepared.rejected == 0
    assert sum(split.rows for split in prepared.splits.values()) == 29
    assert prepared.statistics is not None
    missing = prepared.statistics.features["n"].missing
    assert missing["train"] * prepared.splits["train"].rows == pytest.approx(2)


def test_too_many_bad_rows_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert run(skipping(max_rejected=0), tmp_path, tmp_path / "none").rejected == 0
    write(tmp_path, BAD)
    with pytest.raises(RunFailed, match="more than 0 rows of dataset `own` are bad"):
        run(skipping(max_rejected=0), tmp_path, tmp_path / "one")
    run(skipping(max_rejected=len(BAD)), tmp_path, tmp_path / "out")
    with pytest.raises(RunFailed, match="more than 8 rows of dataset `own` are bad") as caught:
        run(skipping(max_rejected=len(BAD) - 1), tmp_path, tmp_path / "other")
    assert "max_rejected" in str(caught.value.hint)


def test_the_first_row_above_the_limit_has_a_line(tmp_path: Path) -> None:
    write(tmp_path, {3: BAD[3], 7: ("", ""), 21: BAD[21], 30: BAD[30]})
    with pytest.raises(RunFailed, match=r"are bad; `clicks\.csv:30`: `n` is `lots`"):
        run(skipping(max_rejected=1), tmp_path, tmp_path / "out")


def test_bad_rows_of_several_files_in_one_part_have_their_own_lines(tmp_path: Path) -> None:
    write(tmp_path, BAD)
    (tmp_path / "clicks.csv").rename(tmp_path / "x1.csv")
    write(tmp_path, {5: BAD[21], 6: ('1,4,"7\n', ""), 7: ('"', ""), 12: BAD[30]})
    (tmp_path / "clicks.csv").rename(tmp_path / "x2.csv")
    rows = TYPED.replace("clicks.csv", "x*.csv")
    run(skipping(files={"x*.csv": {}}, rows=rows), tmp_path, tmp_path / "out")
    with (tmp_path / "out/own/rejected.csv").open(newline="") as file:
        found = [
            (row["file"], int(row["line"]), row["text"].rstrip())
            for row in csv.DictReader(file)
            if row["row"]
        ]
    assert found[:5] == [("x1.csv", line, BAD[line][0]) for line in (21, 22, 23, 30, 31)]
    assert ("x2.csv", 5, BAD[21][0]) in found


def test_bad_rows_of_all_parts_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    write(tmp_path, BAD)
    (tmp_path / "clicks.csv").rename(tmp_path / "one.csv")
    (tmp_path / "two.csv").write_bytes((tmp_path / "one.csv").read_bytes())
    two = {"files": {"one.csv": {}, "two.csv": {}}, "split": HASH}
    two["rows"] = TYPED.replace("'{clicks.csv}'", "['{one.csv}', '{two.csv}']")
    prepared = run(skipping(**two), tmp_path, tmp_path / "out")
    assert prepared.rejected == 2 * len(BAD)
    with (tmp_path / "out/own/rejected.csv").open(newline="") as file:
        found = sorted((row["file"], int(row["line"])) for row in csv.DictReader(file))
    assert found == sorted((name, line) for name in ("one.csv", "two.csv") for line in BAD)
    with pytest.raises(RunFailed, match="more than 10 rows"):
        run(skipping(max_rejected=10, **two), tmp_path, tmp_path / "other")


@pytest.mark.parametrize("rows", [3_000, 150_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_unterminated_quote_is_an_error_even_if_rows_are_skipped(
    tmp_path: Path, rows: int, threads: int
) -> None:
    lines = [f"{i % 2},{i % 7},{i}" for i in range(rows)]
    lines[100] = '1,4,"5'
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,n", *lines]) + "\n")
    with pytest.raises(
        RunFailed, match=r"^`clicks\.csv:102`: the quoted value that starts here is not closed"
    ):
        run(skipping(max_rejected=10**9), tmp_path, tmp_path / "out", threads=threads)
    assert not (tmp_path / "out/own").exists()


def test_lines_between_two_stray_quotes_all_count(tmp_path: Path) -> None:
    lines = list(GOOD)
    lines[10], lines[14] = '1,4,"5', '1,4,"5'
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,n", *lines]) + "\n")
    prepared = run(skipping(max_rejected=5), tmp_path, tmp_path / "out")
    assert prepared.rejected == 5
    assert sum(split.rows for split in prepared.splits.values()) + 5 == len(GOOD)
    assert "5 lines are lost with it" in (tmp_path / "out/own/rejected.csv").read_text()
    with pytest.raises(RunFailed, match="more than 4 rows"):
        run(skipping(max_rejected=4), tmp_path, tmp_path / "other")


def test_an_undetectable_dialect_names_the_odd_line(tmp_path: Path) -> None:
    spec = own(rows="FROM read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', quote='\"')")
    for text, what in (("1", "expected 2 columns, found 1"), ('1,"x', "unterminated quoted value")):
        rows = [f"{i % 2},{i}" for i in range(30)]
        rows[10] = text
        (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *rows]) + "\n")
        with pytest.raises(RunFailed) as caught:
            run(spec, tmp_path, tmp_path / "out")
        assert str(caught.value).startswith("`clicks.csv:12`: "), (text, str(caught.value))
        assert what in str(caught.value) or "quote" in str(caught.value)


@pytest.mark.parametrize(("text", "found"), [("1", 1), ("1,2,3", 3)])
def test_an_irregular_file_is_not_read_as_a_single_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: int
) -> None:
    lines = [f"{i % 2},{i % 3}" for i in range(30)]
    lines[10] = text
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *lines]) + "\n")
    expected = rf"^`clicks\.csv:12`: expected 2 columns, found {found}"
    spec = own(rows="SELECT * FROM read_csv('{clicks.csv}', header = true)")
    with pytest.raises(RunFailed, match=expected) as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert "on_error: skip" in str(caught.value.hint)
    prepared = run(spec.model_copy(update={"on_error": "skip"}), tmp_path, tmp_path / "out")
    assert prepared.rejected == 1
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFailed, match=expected):
        draft("clicks.csv")


@pytest.mark.parametrize("split", [HASH, {"by": "order", "ratio": {"train": 1, "test": 1}}])
def test_a_file_without_rows_is_an_error(tmp_path: Path, split: dict[str, Any]) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n")
    with pytest.raises(RunFailed, match=r"of dataset `own` returns no rows"):
        run(own(split=split), tmp_path, tmp_path / "out")


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_line_that_is_too_long_is_named(tmp_path: Path, on_error: str) -> None:
    lines = ["1,2"] * 20
    lines[10] = "1," + "z" * 3_000_000
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *lines]) + "\n")
    spec = own(rows="FROM read_csv('{clicks.csv}', header = true)", on_error=on_error)
    with pytest.raises(RunFailed, match=r"^`clicks\.csv:12`: maximum line size") as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert "max_line_size" in str(caught.value.hint)
    assert "on_error" not in str(caught.value.hint)


def test_the_line_is_found_in_a_gzip_and_without_a_header(tmp_path: Path) -> None:
    text = "".join(f"{i % 2},{i}\n" for i in range(20)) + "7,1"
    (tmp_path / "clicks.csv.gz").write_bytes(gzip.compress(text.encode()))
    query = "FROM read_csv('{clicks.csv.gz}', header=false, auto_detect=false, columns={'label': 'INTEGER', 'a': 'INTEGER'})"  # noqa: E501
    with pytest.raises(RunFailed, match=r"^`clicks.csv.gz:21`: the label must be 0 or 1, found `7`"):
        run(own(files={"clicks.csv.gz": {}}, rows=query), tmp_path, tmp_path / "out")


BY_TIME = {"by": "time", "column": "t", "ratio": {"train": 1, "test": 1}}
KINDS = {
    "no number": (b"1,4,lots,40", "`n` is `lots`, which is not a number"),
    "no UTF-8": (b"1,\xff,5,40", "invalid unicode"),
    "no label": (b"7,4,5,40", "the label must be 0 or 1, found `7`"),
    "too many": (b"1,4,5,40,6", "expected"),
}


@pytest.mark.parametrize(
    ("kinds", "split"),
    [*((kinds, HASH) for kinds in itertools.permutations(KINDS, 2)), (("no label", "no UTF-8"), BY_TIME)],
)
def test_the_first_of_several_bad_lines_is_named(
    tmp_path: Path, kinds: tuple[str, str], split: dict[str, Any]
) -> None:
    """Whichever pass over the file finds it first: the reader, a cast, or the check of labels."""
    lines = [f"{i % 2},{i % 7},{i},{i}".encode() for i in range(10, 60)]
    lines[30], lines[40] = (KINDS[kind][0] for kind in kinds)
    (tmp_path / "clicks.csv").write_bytes(b"\n".join([b"label,a,n,t", *lines]) + b"\n")
    features = [
        {"type": "categorical", "columns": ["a"]},
        {"type": "numeric", "columns": ["n"], "standardize": False},
    ]
    with pytest.raises(RunFailed) as caught:
        run(own(features=features, split=split), tmp_path, tmp_path / "out")
    assert caught.value.message.startswith(f"`clicks.csv:32`: {KINDS[kinds[0]][1]}")
    assert "on_error: skip" in str(caught.value.hint)


def test_try_cast_makes_a_value_missing(tmp_path: Path) -> None:
    """DuckDB's CSV reader takes over casts of the query, and fails where TRY_CAST would not."""
    lines = [f"{i % 2},{'lots' if i == 2990 else i}" for i in range(3000)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *lines]) + "\n")
    numeric = [{"type": "numeric", "columns": ["a"], "standardize": False}]
    query = "SELECT label, TRY_CAST(a AS DOUBLE) AS a FROM read_csv('{clicks.csv}', header=true{})"
    text = own(rows=query.replace("{}", ", all_varchar=true"), features=numeric)
    prepared = run(text, tmp_path, tmp_path / "out")
    assert sum(split.rows for split in prepared.splits.values()) == 3000
    assert prepared.statistics is not None
    assert prepared.statistics.features["a"].missing == {"train": 0, "test": 0.001}
    sniffed = own(rows=query.replace("{}", ", sample_size=10"), features=numeric)
    with pytest.raises(RunFailed, match=r"^`clicks.csv:2992`: error when converting column \"a\"") as caught:
        run(sniffed, tmp_path, tmp_path / "other")
    assert "`all_varchar=true`" in str(caught.value.hint)


@pytest.mark.parametrize("split", [HASH, BY_TIME])
@pytest.mark.parametrize(
    ("expression", "value", "message"),
    [
        ("CAST(trim(t) AS BIGINT)", "soon", "could not convert string 'soon' to INT64 in `CAST(trim(t) AS"),
        ("CAST(concat(t) AS BIGINT)", "it's", "could not convert string 'it"),
        ("strptime(t, '%Y-%m-%d')", "2024-13-40", 'could not parse string "2024-13-40"'),
        ("CAST(trim(t) AS DATE)", "2024-02-31", "date field value out of range"),
    ],
)
def test_a_cast_of_the_recipe_that_fails_names_the_line(
    tmp_path: Path, split: dict[str, Any], expression: str, value: str, message: str
) -> None:
    good = "2024-01-02" if value[:1] == "2" else "7"
    lines = [f"{i % 2},{value},{good}" for i in range(50)]
    lines[30] = f"1,a,{value}"
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,t", *lines]) + "\n")
    query = own().rows.replace("FROM", f"SELECT * REPLACE ({expression} AS t) FROM", 1)
    features = [{"type": "categorical", "columns": ["a", "t"]}]
    with pytest.raises(RunFailed) as caught:
        run(own(rows=query, features=features, split=split), tmp_path, tmp_path / "out")
    assert caught.value.message.startswith(f"`clicks.csv:32`: {message}")
    assert "`TRY_CAST`" in str(caught.value.hint)


def test_a_filtered_row_is_named_by_number(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n1,x\n0,skip\n0,y\n5,z\n")
    spec = own()
    spec = own(rows=f"SELECT * {spec.rows} WHERE a <> 'skip'")
    with pytest.raises(RunFailed, match="found `5` in row 3 of dataset"):
        run(spec, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("FROM read_csv('{a}')", "FROM read_csv('{a}', store_rejects = true, rejects_limit = 9)"),
        (
            "FROM read_csv_auto('a)(', x={'b': ')'}) JOIN READ_CSV ('{c}')",
            "FROM read_csv_auto('a)(', x={'b': ')'}, store_rejects = true, rejects_limit = 9) "
            "JOIN READ_CSV ('{c}', store_rejects = true, rejects_limit = 9)",
        ),
        ("FROM read_csv('{a}', ignore_errors=true)", "FROM read_csv('{a}', ignore_errors=true)"),
        ("FROM read_parquet('{a}')", "FROM read_parquet('{a}')"),
    ],
)
def test_read_csv_stores_rejects(query: str, expected: str) -> None:
    assert sql.storing_rejects(query, 9) == expected


@given(text=st.text(max_size=60))
def test_any_text_survives_the_rewrite(text: str) -> None:
    assert sql.storing_rejects(text, 1).replace(", store_rejects = true, rejects_limit = 1", "") == text
