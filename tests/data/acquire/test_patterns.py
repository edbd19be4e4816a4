"""Files matched by a pattern or in a folder."""

from pathlib import Path

import pytest

from wukongctl.data.acquire import patterns
from wukongctl.data.acquire.sources import by_name
from wukongctl.errors import UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names(folder: Path, pattern: str) -> list[str]:
    paths = by_name(folder, pattern)
    assert isinstance(paths, tuple)
    return [path.relative_to(folder).as_posix() for path in paths]


TABLES = ("part-0.parquet", "part-1.parquet")
SPARK = (*TABLES, ".part-0.parquet.crc", "_SUCCESS", "._SUCCESS.crc", "x.parquet.crc")


@pytest.mark.parametrize("pattern", ["*", "part-*", "*.parquet", "part-?.parquet*"])
def test_marker_files_of_spark_are_ignored(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, *SPARK)
    assert names(tmp_path, pattern) == list(TABLES)


def test_a_pattern_can_name_marker_files(tmp_path: Path) -> None:
    touch(tmp_path, *SPARK, "_logs.csv")
    assert names(tmp_path, "_*.csv") == ["_logs.csv"]
    assert names(tmp_path, "*.crc") == ["x.parquet.crc"]


def test_files_without_suffix_are_one_kind(tmp_path: Path) -> None:
    touch(tmp_path, "part-00000", "part-00001", "_SUCCESS")
    assert names(tmp_path, "part-*") == ["part-00000", "part-00001"]


def test_several_kinds_are_an_error_with_a_narrower_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv.gz", "b.csv.gz", "README", "x.yaml", "y.yaml", "z.yaml")
    with pytest.raises(
        UsageError, match=r"^`\*` matches files of 3 kinds: `README`, `a.csv.gz`, `x.yaml`$"
    ) as caught:
        by_name(tmp_path, "*")
    assert caught.value.hint == 'narrow the pattern, for example `"*.csv.gz"`'
    assert names(tmp_path, "*.csv.gz") == ["a.csv.gz", "b.csv.gz"]


def test_compression_does_not_change_the_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.csv.gz", "c.csv.zst")
    assert names(tmp_path, "*") == ["a.csv", "b.csv.gz", "c.csv.zst"]
    touch(tmp_path, "README")
    with pytest.raises(UsageError, match="matches files of 2 kinds") as caught:
        by_name(tmp_path, "*")
    assert caught.value.hint == 'narrow the pattern, for example `"*.csv*"`'
    assert names(tmp_path, "*.csv*") == ["a.csv", "b.csv.gz", "c.csv.zst"]


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        (["a.parquet", "b.parquet", "_SUCCESS", ".a.parquet.crc", "README"], "*.parquet"),
        (["day=1/a.parquet", "day=2/b.parquet"], "*/*.parquet"),
        (["day=1/a.parquet", "b.parquet"], "**/*.parquet"),
        (["a.csv.gz"], "*.csv.gz"),
        (["a.json", "notes.txt"], "*.json"),
        (["a.csv", "data/x/manifest.json", "data/x/train/0.parquet", "data/x/vocab/a.parquet"], "*.csv"),
    ],
)
def test_a_folder_stands_for_its_tables(tmp_path: Path, files: list[str], pattern: str) -> None:
    touch(tmp_path, *files)
    assert patterns.of_folder(tmp_path) == f"{tmp_path}/{pattern}"
    found = by_name(Path(), patterns.of_folder(tmp_path))
    assert isinstance(found, tuple)
    assert len(found) == sum(name.endswith(pattern.rpartition("*")[2]) for name in files)


def test_a_folder_of_two_kinds_or_none_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.parquet")
    with pytest.raises(UsageError, match="is a folder with tables of 2 kinds") as caught:
        patterns.of_folder(tmp_path)
    assert (
        caught.value.hint == f'give its files, for example `"{tmp_path}/*.csv"`, or `"{tmp_path}/*.parquet"`'
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is a folder without tables"):
        patterns.of_folder(tmp_path / "empty")
