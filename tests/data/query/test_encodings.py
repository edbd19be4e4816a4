"""Text files of other encodings, line endings and names: read correctly, or an error with a working hint."""

import codecs
import gzip
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.data.query import encodings, lines, tables
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import RunFailed

CITIES = ("Köln", "São Paulo", "5 €", "naïve", "Łódź 😀")
ROWS = 3_000


def table(cities: tuple[str, ...] = CITIES, end: str = "\n") -> str:
    rows = [f"u{i % 9},{cities[i % len(cities)]},{i % 2}" for i in range(ROWS)]
    return end.join(["user,city,clicked", *rows]) + end


def describe(path: Path) -> tuple[Table, list[tuple[str, ...]]]:
    """A file as `init` reads it, and all its rows."""
    with Engine("own", {"p": path}, spill=path.parent, search=path.parent) as engine:
        found = tables.describe(engine, path, "p")
        return found, engine.rows(f"SELECT * FROM {found.source}")


def expected(cities: tuple[str, ...] = CITIES) -> list[tuple[str, ...]]:
    return [(f"u{i % 9}", cities[i % len(cities)], str(i % 2)) for i in range(ROWS)]


LE = codecs.BOM_UTF16_LE
READ = [
    ("plain", table().encode()),
    ("bom", codecs.BOM_UTF8 + table().encode()),
    ("utf-16", LE + table().encode("utf-16-le")),
    ("utf-16-crlf", LE + table(end="\r\n").encode("utf-16-le")),
    ("utf-16-unmarked", table().encode("utf-16-le")),
    ("cr", table(end="\r").encode()),
    ("gzip", gzip.compress(table().encode(), mtime=0)),
    ("gzip-cr", gzip.compress(table(end="\r").encode(), mtime=0)),
    ("zstd", pa.compress(table().encode(), codec="zstd", asbytes=True)),
    ("title", f"Clicks of shop 2024\n{table()}".encode()),
    ("title-blank", f"Clicks of shop 2024\n\n{table()}".encode()),
    ("title-padded", f"Clicks,,\n{table()}".encode()),
    ("title-cr", f"Clicks of shop 2024\r{table(end=chr(13))}".encode()),
    ("comments", f"# made by a tool\n# on, a, day\n{table()}".encode()),
    ("blank-line", f"\n{table()}".encode()),
]


@pytest.mark.parametrize(("kind", "content"), READ, ids=[kind for kind, _ in READ])
def test_every_row_is_read_correctly(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    found, rows = describe(path)
    assert list(found.columns) == ["user", "city", "clicked"]
    assert rows == expected()
    assert [remark for remark in found.remarks if "skipped" in remark] == [
        remark for remark in found.remarks if kind.startswith(("title", "comments"))
    ]
    assert bool(found.remarks) == kind.startswith(("title", "comments"))


@pytest.mark.parametrize("kind", ["utf-16", "cr", "gzip", "title"])
def test_the_drafted_recipe_can_be_prepared(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(dict(READ)[kind])
    found, _ = describe(path)
    spec = own(
        files={"c.csv": {}},
        rows=f"SELECT * FROM {found.source.replace('{p}', '{c.csv}')}",
        label="clicked",
        features=[{"type": "categorical", "columns": ["user", "city"]}],
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert {f.name: f.rows for f in prepared.features} == {"user": 9 + 2, "city": len(CITIES) + 2}
    assert columns(tmp_path / "out", prepared)["train"]["label"][:4] == [0, 1, 0, 1]


def test_latin_1_is_read_with_a_remark(tmp_path: Path) -> None:
    cities = ("Köln", "São Paulo", "plain")
    path = tmp_path / "c.csv"
    path.write_bytes(table(cities).encode("latin-1"))
    found, rows = describe(path)
    assert rows == expected(cities)
    assert len(found.remarks) == 1
    assert "not UTF-8, so read as Latin-1: line 2 is `u0,Köln,0`" in found.remarks[0]


WRONG = [
    ("cp1252", table(("Köln", "5 €")).encode("cp1252"), "`c.csv:2`: neither UTF-8 nor Latin-1"),
    ("utf-16-be", codecs.BOM_UTF16_BE + table().encode("utf-16-be"), "`c.csv`: UTF-16BE"),
    ("utf-16-be-unmarked", table().encode("utf-16-be"), "`c.csv`: UTF-16BE"),
    ("utf-32", codecs.BOM_UTF32_LE + table().encode("utf-32-le"), "`c.csv`: UTF-32"),
]


@pytest.mark.skipif(shutil.which("iconv") is None, reason="the hint is a command of iconv")
@pytest.mark.parametrize(("kind", "content", "message"), WRONG, ids=[kind for kind, *_ in WRONG])
def test_other_encodings_name_the_command_that_converts(
    tmp_path: Path, kind: str, content: bytes, message: str
) -> None:
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(RunFailed, match="which DuckDB cannot read") as caught:
        describe(tmp_path / "c.csv")
    assert str(caught.value).startswith(message)
    command = (caught.value.hint or "").partition("`")[2].rstrip("`")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    wanted = ("Köln", "5 €") if kind == "cp1252" else CITIES
    assert describe(tmp_path / "c.utf8.csv")[1] == expected(wanted)


def test_a_file_with_one_bad_byte_is_still_utf_8(tmp_path: Path) -> None:
    """The other lines are not decoded as Latin-1: the bad one is named, and the command drops its byte."""
    path = tmp_path / "c.csv"
    path.write_bytes(table().encode() + b"u1,M\xfcnchen,0\n")
    with pytest.raises(RunFailed) as caught:
        describe(path)
    assert str(caught.value) == f"`c.csv:{ROWS + 2}`: 1 line is not UTF-8, but {ROWS:,} others are"
    assert caught.value.hint is not None
    assert "`iconv -c -f UTF-8 -t UTF-8 c.csv > c.utf8.csv`" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (table().encode() + b"u1,M\xfcnchen,0\n", "drop the invalid bytes: `iconv -c -f UTF-8"),
        (table(("Köln", "5 €")).encode("cp1252"), "`iconv -f WINDOWS-1252 -t UTF-8 clicks.csv"),
        (table(("Köln", "x")).encode("latin-1"), "read it with `encoding='latin-1'`"),
        (LE + table().encode("utf-16-le"), "read it with `encoding='utf-16'`"),
        (gzip.compress(table().encode(), mtime=0), "read it with `compression='gzip'`"),
    ],
)
@pytest.mark.parametrize("arguments", ["header = true, quote = '\"'", "all_varchar = true, delim = ','"])
def test_prepare_hints_at_how_to_read_it(tmp_path: Path, content: bytes, advice: str, arguments: str) -> None:
    (tmp_path / "clicks.csv").write_bytes(content)
    spec = own(rows=f"SELECT city AS a, clicked AS label FROM read_csv('{{clicks.csv}}', {arguments})")
    with pytest.raises(RunFailed) as caught:
        run(spec, tmp_path, tmp_path / "out")
    assert caught.value.message.startswith("`clicks.csv")
    assert advice in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["utf-16", "cr", "gzip", "zstd"])
def test_lines_are_found_in_any_encoding(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(dict(READ)[kind])
    with lines.opened(path) as file:
        found = [line.decode().rstrip("\r\n") for line in file]
    assert found[0].removeprefix("\ufeff") == "user,city,clicked"
    assert len(found) == ROWS + 1
    assert lines.odd_line(path, lines.DELIMITERS) is None


@pytest.mark.parametrize(
    ("rows", "above"),
    [
        ([["a", "b"], ["1", "2"]], 0),
        ([["Title"], ["a", "b"], ["1", "2"]], 1),
        ([["Title"], [], ["a", "b"], ["1", "2"]], 2),
        ([["a"], ["1"], ["2"]], 0),
        ([["a", "b"], ["1", "2", "3"]], 0),
        ([["Title", "", ""], ["a", "b", "c"]], 1),
        ([["", "b"], ["1", "2"], ["3", "4"]], 0),
        ([["", "b", "c"], ["1", "2", "3"]], 0),
        ([["# made", "by x"], ["a", "b"]], 1),
        ([["#made, by x"], ["a", "b"]], 1),
        ([["#chrom", "start"], ["1", "2"]], 0),
        ([], 0),
    ],
)
def test_titles_above_a_header_are_counted(rows: list[list[str]], above: int) -> None:
    assert encodings.title(rows) == above
