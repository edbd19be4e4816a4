"""SQL reads the files of its recipe, the recipe's folder and what `allow_read` names, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_prepare import own, run, write_rows
from tests.databases import own_databases
from wukongctl.data import manifest
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.data.query import access, sql
from wukongctl.data.query.access import Refused
from wukongctl.data.query.engine import Engine
from wukongctl.data.rows import RowReader
from wukongctl.errors import UsageError, WukongError

ROWS = [{"label": i % 2, "a": i % 3} for i in range(9)]


@pytest.fixture(autouse=True)
def _own_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    own_databases(monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a recipe, beside another one; each has a table, and links lead from one to the other."""
    for name in ("home", "other"):
        (tmp_path / name / "deep").mkdir(parents=True)
        write_rows(tmp_path / name, ROWS)
        (tmp_path / name / "deep/more.csv").write_text(f"a\n{name}\n")
    (tmp_path / "home/link.csv").symlink_to(tmp_path / "other/clicks.csv")
    (tmp_path / "home/linked").symlink_to(tmp_path / "other")
    return tmp_path / "home"


@pytest.fixture
def engine(home: Path, tmp_path: Path) -> Iterator[Engine]:
    with Engine("own", {"c": home / "link.csv"}, spill=tmp_path / "spill", search=home) as opened:
        yield opened


@pytest.mark.parametrize(
    ("function", "path"),
    [
        ("read_text", "/etc/passwd"),
        ("read_text", "/proc/self/environ"),
        ("read_text", "../other/deep/more.csv"),
        ("read_blob", "linked/deep/more.csv"),
        ("read_csv", "linked/deep/*.csv"),
        ("glob", "/etc/*"),
        ("sniff_csv", "deep/../../other/deep/more.csv"),
    ],
)
def test_every_other_path_is_refused_with_the_key_that_allows_it(
    function: str, path: str, engine: Engine, home: Path
) -> None:
    query = f"FROM {function}('{path}')"
    with pytest.raises(Refused, match="may not read") as refused:
        engine.rows(query)
    before, _, rest = str(refused.value.hint).partition('`allow_read: ["')
    assert before == "if it should, add "
    with Engine("own", {}, spill=home, search=home, allow=[rest.partition('"]`')[0]]) as allowing:
        assert allowing.rows(query)


@pytest.mark.parametrize("path", ["https://example.com/x.csv", "s3://bucket/x.parquet"])
def test_addresses_are_refused(path: str, engine: Engine) -> None:
    for text in (f"FROM '{path}'", f"FROM read_blob('{path}')"):
        with pytest.raises(Refused) as refused:
            engine.rows(text)
        assert f'add `allow_read: ["{path}"]`' in str(refused.value.hint)


@pytest.mark.parametrize("path", ["clicks.csv", "deep/more.csv", "./deep/*.csv", "deep/../clicks.csv"])
def test_relative_paths_start_at_the_recipe(
    path: str, engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the current folder has a file of that name."""
    (tmp_path / "here/deep").mkdir(parents=True)
    for name in ("clicks.csv", "deep/more.csv"):
        (tmp_path / "here" / name).write_text("a\nwrong\n")
    monkeypatch.chdir(tmp_path / "here")
    expected = engine.rows(f"FROM read_text('{home / path}')")
    assert expected
    assert engine.rows(f"FROM read_text(['{path}'])") == expected
    assert all("wrong" not in row for row in engine.rows(f"FROM '{path}'"))
    assert engine.rows(f"SELECT count(*) FROM '{path}' AS t JOIN '{path}' AS u ON true")


def test_declared_files_may_be_links(engine: Engine) -> None:
    assert len(engine.rows("FROM '{c}'")) == len(ROWS)


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT 1) AS t; COPY (SELECT 1) TO 'written.csv'; SELECT * FROM (SELECT 1",
        "SELECT 1; ATTACH 'written.csv' AS other; SELECT 1",
        "SELECT 1); SET lock_configuration = false; (SELECT 1",
        "FROM read_parquet(['clicks.csv', 'link.csv'] -- '\n) WHERE a = '; COPY (SELECT 1) TO ''w.csv'''",
    ],
)
def test_sql_cannot_end_its_statement_and_begin_another(attack: str, engine: Engine, home: Path) -> None:
    before = sorted(os.walk(home))
    for use in (engine.rows, engine.types, engine.execute):
        with pytest.raises(WukongError):
            use(sql.source(attack))
    assert sorted(os.walk(home)) == before


def test_a_statement_too_many_is_named(engine: Engine) -> None:
    with pytest.raises(UsageError, match="more than one statement"):
        engine.rows("SELECT 1; SELECT 2")


@pytest.mark.parametrize(
    "text",
    [
        "SET lock_configuration = false",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_the_settings_are_locked(text: str, engine: Engine) -> None:
    with pytest.raises(WukongError):
        engine.execute(text)


def test_python_variables_are_no_tables(engine: Engine) -> None:
    import pyarrow as pa

    secret = pa.table({"a": ["secret"]})
    with pytest.raises(UsageError, match="secret"):
        engine.rows("FROM secret")
    assert secret.num_rows == 1


def test_extensions_are_never_loaded(engine: Engine) -> None:
    with pytest.raises(UsageError, match="extension `excel`") as refused:
        engine.rows("FROM read_xlsx('clicks.xlsx')")
    assert "CSV" in str(refused.value.hint)


def test_a_signed_address_is_not_repeated_in_the_error() -> None:
    text = 'Cannot access file "https://h/d/x.csv?sig=abc" - file system operations are disabled'
    refused = access.refusal(f"{text} by configuration", "own", Path())
    assert refused is not None
    assert "abc" not in f"{refused} {refused.hint}"
    assert '`allow_read: ["https://h/d/"]`' in str(refused.hint)


def test_a_path_that_is_computed_has_another_remedy(engine: Engine) -> None:
    with pytest.raises(Refused) as refused:
        engine.rows("FROM read_text(concat('deep/', 'more.csv'))")
    assert "write the path as one text" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("FROM 'a.csv'", "FROM 'up/a.csv'"),
        (
            "SELECT 'x.csv' FROM t JOIN 'a b.csv' USING (k)",
            "SELECT 'x.csv' FROM t JOIN 'up/a b.csv' USING (k)",
        ),
        (
            "FROM read_csv(['a', '/b', 's3://c'], delim = ';')",
            "FROM read_csv(['up/a', '/b', 's3://c'], delim = ';')",
        ),
        ("FROM read_csv('{a.csv}')", "FROM read_csv('{a.csv}')"),
        ("SELECT extract(year FROM 'x') FROM 'table'", "SELECT extract(year FROM 'x') FROM 'table'"),
        ("FROM READ_JSON ( 'it''s.json' )", "FROM READ_JSON ( 'up/it''s.json' )"),
    ],
)
def test_anchored(query: str, expected: str) -> None:
    assert sql.anchored(query, Path("up")) == expected


def reading(more: str, **changes: Any) -> Any:
    """A recipe that also reads the one column `b` of `more`."""
    clicks = "read_csv('{clicks.csv}', header=true, all_varchar=true)"
    rows = f"SELECT * FROM {clicks}, (SELECT * FROM {more}) AS s"
    return own(rows=rows, features=[{"type": "categorical", "columns": ["a", "b"]}], **changes)


@pytest.mark.parametrize("splits", [False, True])
def test_prepare_refuses_and_then_obeys_the_recipe(home: Path, tmp_path: Path, *, splits: bool) -> None:
    """The error stands at the SELECT that reads the path; `predict` may read what preparation read."""
    (tmp_path / "other/side.csv").write_text("b\nred\n")
    good, bad = reading("(SELECT 'x' AS b)"), reading("read_csv('../other/side.csv', header=true)")
    changes: dict[str, Any] = {"splits": {"train": good.rows, "test": bad.rows}, "rows": None, "split": None}
    spec = bad.model_copy(update=changes if splits else {})
    with pytest.raises(UsageError, match="may not read") as refused:
        run(spec, home, tmp_path / "out")
    (mistake,) = refused.value.mistakes  # type: ignore[attr-defined]
    assert mistake.path == (("splits", "test") if splits else ("rows",))
    allowed = spec.model_copy(update={"allow_read": ("../other/side.csv",)})
    assert allowed.content_digest() == spec.content_digest()
    prepared = run(allowed, home, tmp_path / "out")
    assert prepared.splits["test"].rows
    if not splits:
        reader = RowReader(tmp_path / "out/own", manifest.read(tmp_path / "out/own"), columns="selected")
        (home / "new.csv").write_text("a,b\n1,red\n")
        assert sum(table.num_rows for table in reader.tables(home / "new.csv")) == 1


def test_the_files_of_preparation_are_within_reach(home: Path, tmp_path: Path) -> None:
    """From a folder that is neither the recipe's nor that of the results, with every kind of own file."""
    names = ("1.csv", "2.csv")
    for name in names:
        (tmp_path / "other" / name).write_text(
            "label,a,n\n" + "".join(f"{i % 2},{i % 5},{i}.5\n" for i in range(30))
        )
    spec = own(
        files={"[12].csv": {}},
        rows="FROM read_csv('{[12].csv}', header=true, all_varchar=true)",
        split={"by": "hash", "key": "n", "ratio": {"train": 2, "test": 1}},
        on_error="skip",
        shuffle={},
        features=[
            {"type": "categorical", "columns": ["a"]},
            {"type": "numeric", "columns": ["n"], "encoding": "scalar+bins"},
        ],
    )
    prepared = prepare(spec, Options(home, out=tmp_path / "out", source=tmp_path / "other"))
    assert sum(split.rows for split in prepared.splits.values()) == 60
    reader = RowReader(tmp_path / "out/own", prepared)
    assert sum(table.num_rows for table in reader.tables(tmp_path / "other/1.csv")) == 30
