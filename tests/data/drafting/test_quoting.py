"""SQL keywords as column names and as the label."""

import random
from pathlib import Path

import duckdb
import pytest

from tests.data.drafting.drafts import Table, prepared, uses, write
from wukongctl.data.drafting import quoting
from wukongctl.data.drafting.draft import draft

KEYWORDS = sorted(
    {
        str(word)
        for (word,) in duckdb.connect().execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    }
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_keyword_can_be_a_column_in_sql() -> None:
    assert len(KEYWORDS) > 400
    db = duckdb.connect()
    for word in (*KEYWORDS, *map(str.upper, KEYWORDS)):
        name = quoting.sql_name(word)
        query = (
            f"SELECT {name} = '1', trim({name}) = '1', row({name}), t.{name}, COLUMNS(* EXCLUDE ({name})), "
            f"CAST({name} AS DOUBLE) AS {name} FROM (SELECT '1' AS \"{word}\", 2) AS t WHERE {name} > '0'"
        )
        assert len(db.execute(query).fetchall()) == 1, word


def test_keywords_that_are_functions_or_types_are_columns(tmp_path: Path) -> None:
    pick = random.Random(0)
    words = ["anti", "asof", "cross", "full", "ilike", "inner", "is", "join", "left", "like", "semi", "time"]
    table: Table = {word: [pick.choice(["p", "q", "r"]) for _ in range(60)] for word in words}
    write(table | {"click": [i % 2 for i in range(60)]}, Path("t.csv"))
    result = draft("t.csv")
    assert set(words) == {name for name, use in uses(result).items() if use == "categorical"}
    assert prepared(result, tmp_path).splits.keys() == {"train", "valid", "test"}


@pytest.mark.parametrize(("word", "values"), [("like", ("no", "yes")), ("Full", (1, 5)), ("values", (0, 1))])
def test_a_keyword_is_the_label(word: str, values: tuple[object, object], tmp_path: Path) -> None:
    pick = random.Random(0)
    table: Table = {name: [pick.randrange(9) for _ in range(60)] for name in ("right", "join", "user")}
    write(table | {word: [values[i % 2] for i in range(60)]}, Path("t.csv"))
    result = draft("t.csv", label=word)
    assert result.label.column.name == word
    assert sum(split.positives for split in prepared(result, tmp_path).splits.values()) == 30
