"""Files of one pattern whose headers differ: columns are matched by name, or it is an error."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.data.drafting.draft import draft
from wukongctl.errors import RunFailed, UsageError

NAMED = "columns={'label': 'VARCHAR', 'a': 'VARCHAR', 'c': 'VARCHAR'}"
SPLIT = {"by": "order", "ratio": {"train": 1, "test": 1}}


def tables(folder: Path, header: str, *, rows: int = 40) -> None:
    """`o1.csv` with columns label, a, c, and `o2.csv` with those of `header`."""
    for file, names in (("o1.csv", "label,a,c"), ("o2.csv", header)):
        made = [{"label": str(i % 2), "a": f"a{i % 3}", "c": "x"} for i in range(rows)]
        lines = [",".join(row.get(name, "z") for name in names.split(",")) for row in made]
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
    ],
)
def test_names_of_the_recipe_over_other_names_of_a_file_are_an_error(
    tmp_path: Path, header: str, arguments: str
) -> None:
    tables(tmp_path, header)
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: the columns are ") as caught:
        run(pattern(arguments), tmp_path, tmp_path / "out")
    assert "those of `o1.csv` `label`, `a`, `c`" in str(caught.value)
    assert not (tmp_path / "out/own").exists()


def test_a_list_of_files_is_held_to_the_same(tmp_path: Path) -> None:
    tables(tmp_path, "a,label,c")
    query = f"FROM read_csv(['{{o1.csv}}', '{{o2.csv}}'], header=true, auto_detect=false, {NAMED})"
    with pytest.raises(UsageError, match=r"^`o2.csv:1`"):
        run(own(files={"o1.csv": {}, "o2.csv": {}}, rows=query), tmp_path, tmp_path / "out")


@pytest.mark.parametrize("arguments", ["header=true", "header=true, all_varchar=true", "delim=','"])
def test_names_of_the_files_are_matched(tmp_path: Path, arguments: str) -> None:
    tables(tmp_path, "a,label,c")
    prepared = columns(tmp_path / "out", run(pattern(arguments), tmp_path, tmp_path / "out"))
    assert prepared["test"] == prepared["train"]
    tables(tmp_path, "label,b,c")
    with pytest.raises((UsageError, RunFailed), match=r"o2\.csv"):
        run(pattern(arguments), tmp_path, tmp_path / "other")


def test_quotes_case_a_mark_and_compression_make_no_difference(tmp_path: Path) -> None:
    tables(tmp_path, "label,a,c")
    rest = (tmp_path / "o2.csv").read_text().partition("\n")[2]
    (tmp_path / "o2.csv").write_bytes(f'\ufeffLabel,"a", C\n{rest}'.encode())
    (tmp_path / "o3.csv.gz").write_bytes(gzip.compress(f"label,a,c\n{rest}".encode()))
    query = f"FROM read_csv('{{o*}}', header=true, auto_detect=false, quote='\"', {NAMED})"
    prepared = run(own(files={"o*": {}}, rows=query, split=SPLIT), tmp_path, tmp_path / "out")
    assert sum(split.rows for split in prepared.splits.values()) == 120


def test_lines_without_a_header_are_not_compared(tmp_path: Path) -> None:
    for file in ("o1.csv", "o2.csv"):
        (tmp_path / file).write_text("".join(f"{i % 2},{file}{i},x\n" for i in range(20)))
    run(pattern(f"header=false, auto_detect=false, {NAMED}"), tmp_path, tmp_path / "out")
    run(pattern(f"delim=',', {NAMED}"), tmp_path, tmp_path / "other")


@pytest.mark.parametrize("header", ["a,label,c", "label,b,c"])
def test_a_first_recipe_is_not_guessed_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    tables(tmp_path, header)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^`o2.csv:1`: the columns are "):
        draft("o*.csv", name="own")
