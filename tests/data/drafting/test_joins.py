"""Drafts over several tables: every row is kept, in order, with the columns of its user and item."""

import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.drafting.drafts import Table, prepared, spec_of, uses, write
from wukongctl.data.drafting.draft import draft
from wukongctl.data.drafting.joins import Join, parsed
from wukongctl.errors import UsageError

ROWS = 3500


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of users and items, most of which have a row in their table."""
    monkeypatch.chdir(tmp_path)
    pick = random.Random(0)
    write(events(pick), Path("events.csv"))
    write(users(), Path("users.csv"))
    write({"id": list(range(50)), "price": [1.5 * i for i in range(50)]}, Path("items.parquet"))


def events(pick: random.Random) -> Table:
    return {
        "user_id": [f"{pick.randrange(400):05}" for _ in range(ROWS)],
        "item": [pick.randrange(50) for _ in range(ROWS)],
        "score": [pick.random() for _ in range(ROWS)],
        "clicked": [pick.randrange(2) for _ in range(ROWS)],
    }


def users() -> Table:
    known = [i for i in range(400) if i % 100]
    return {
        "score": [i % 90 + 0.5 for i in known],
        "user_id": [f"{i:05}" for i in known],
        "city": [("Oslo", "Rome", "Bern")[i % 3] for i in known],
    }


def test_joined_rows_keep_their_order(tmp_path: Path) -> None:
    """Keys match as text with leading zeros, integers match their text, equal names are made unique."""
    result = draft("events.csv", join=["users.csv:user_id", "items.parquet:item=id"])
    assert uses(result) == {
        "user_id": "categorical",
        "item": "categorical",
        "score": "numeric",
        "users_score": "numeric",
        "city": "categorical",
        "price": "numeric",
    }
    assert re.search(
        r"# 98.\d% of rows match a `user_id` in users.csv; the rest lack its columns", result.text
    )
    assert "# every `item` is in items.parquet" in result.text
    assert list(spec_of(result).files) == ["events.csv", "users.csv", "items.parquet"]
    by_order = re.sub(r"split: .*", "split: {by: order, ratio: {train: 8, valid: 1, test: 1}}", result.text)
    plain = by_order.replace("encoding: scalar+bins", "standardize: false").replace(
        "transform: log1p", "transform: none"
    )
    manifest = prepared(result._replace(text=plain), tmp_path)
    assert sum(split.rows for split in manifest.splits.values()) == ROWS
    train = pq.read_table(next((tmp_path / "data/events/train").glob("*.parquet"))).to_pydict()
    city = pq.read_table(tmp_path / "data/events/vocab/city.parquet").to_pydict()
    names = dict(zip(city["id"], city["value"], strict=True)) | {0: None}
    there = dict(zip(users()["user_id"], zip(users()["city"], users()["score"], strict=True), strict=True))
    mine = events(random.Random(0))
    for row in range(0, len(train["label"]), 37):
        expected_city, expected_score = there.get(mine["user_id"][row], (None, 0))
        assert names[train["city"][row]] == expected_city
        assert train["users_score"][row] == pytest.approx(expected_score)
        assert train["price"][row] == pytest.approx(1.5 * mine["item"][row])
        assert train["label"][row] == mine["clicked"][row]


def test_few_matches_are_a_warning() -> None:
    write({name: values[::2] for name, values in users().items()}, Path("some.csv"))
    result = draft("events.csv", join=["some.csv:user_id"])
    assert [remark for remark in result.remarks if "match a `user_id` in some.csv" in remark]


def test_a_duplicate_key_is_an_error_with_a_working_fix(tmp_path: Path) -> None:
    twice = {name: [*values, *values[:3]] for name, values in users().items()}
    write(twice, Path("users.csv"))
    with pytest.raises(
        UsageError, match=r"`users.csv` has 3 `user_id` in several rows, `00001` in 2"
    ) as failure:
        draft("events.csv", join=["users.csv:user_id"])
    command = re.search(r"`python (-c .*)`, then join `(users-once.csv)`", str(failure.value.hint))
    assert command is not None
    subprocess.run([sys.executable, *shlex.split(command[1])], check=True, cwd=tmp_path)
    assert "98.7% of rows" in draft("events.csv", join=[f"{command[2]}:user_id"]).text


@pytest.mark.parametrize(
    ("join", "words", "hint"),
    [
        ("users.csv", "is not FILE:KEY", "--join users.csv:user_id"),
        ("users.csv:", "is not FILE:KEY", "--join users.csv:user_id"),
        ("users.csv:user_id=", "is not FILE:KEY", "--join users.csv:user_id"),
        ("absent.csv:user_id", "there is no file `absent.csv`", ""),
        ("users.csv:user", "`users.csv` has no column `user` to join on", "user_id"),
        ("users.csv:userid=user_id", "`events.csv` has no column `userid` to join on", "user_id"),
        ("users.csv:item=user_id", "no `item` matches in `users.csv`", "HERE=THERE"),
    ],
)
def test_invalid_joins_are_errors(join: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError) as failure:
        draft("events.csv", join=[join])
    assert words in str(failure.value)
    assert hint in str(failure.value.hint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.csv:k", Join("a.csv", "k", "k")),
        ("s/a-*.csv: k = id ", Join("s/a-*.csv", "k", "id")),
        (r"C:\a.csv:k", Join(r"C:\a.csv", "k", "k")),
    ],
)
def test_joins_are_parsed(text: str, expected: Join) -> None:
    assert parsed(text) == expected
