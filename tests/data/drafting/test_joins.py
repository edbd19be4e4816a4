"""Drafts over several tables: every row kept, in its order, with what its user and its item are."""

import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.drafting.made import Table, prepared, spec_of, uses, write
from wukongctl.data.drafting.draft import draft
from wukongctl.data.drafting.joins import Join, parsed
from wukongctl.errors import UsageError

ROWS = 3500


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of users and items, of whom the tables know all but a few."""
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


def test_rows_keep_their_order_and_get_what_their_keys_say(tmp_path: Path) -> None:
    """Leading zeros are text on both sides, an integer finds the text of it, equal names are told apart."""
    made = draft("events.csv", join=["users.csv:user_id", "items.parquet:item=id"])
    assert uses(made) == {
        "user_id": "categorical",
        "item": "categorical",
        "score": "numeric",
        "users_score": "numeric",
        "city": "categorical",
        "price": "numeric",
    }
    assert re.search(
        r"# 98.\d% of rows have their `user_id` in users.csv; the rest lack its columns", made.text
    )
    assert "# every `item` is in items.parquet" in made.text
    assert list(spec_of(made).files) == ["events.csv", "users.csv", "items.parquet"]
    by_order = re.sub(r"split: .*", "split: {by: order, ratio: {train: 8, valid: 1, test: 1}}", made.text)
    plain = by_order.replace("encoding: scalar+bins", "standardize: false").replace(
        "transform: log1p", "transform: none"
    )
    manifest = prepared(made._replace(text=plain), tmp_path)
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
    made = draft("events.csv", join=["some.csv:user_id"])
    assert [doubt for doubt in made.doubts if "have their `user_id` in some.csv" in doubt]


def test_a_key_in_several_rows_is_refused_with_a_command_that_helps(tmp_path: Path) -> None:
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
        ("users.csv", "is no file with a key", "FILE:KEY"),
        ("users.csv:", "is no file with a key", "FILE:KEY"),
        ("users.csv:user_id=", "is no file with a key", "FILE:KEY"),
        ("absent.csv:user_id", "there is no file `absent.csv`", ""),
        ("users.csv:user", "`users.csv` has no column `user` to join by", "user_id"),
        ("users.csv:userid=user_id", "`events.csv` has no column `userid` to join by", "user_id"),
        ("users.csv:item=user_id", "no `item` is found in `users.csv`", "HERE=THERE"),
    ],
)
def test_joins_that_cannot_be(join: str, words: str, hint: str) -> None:
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
def test_joins_as_they_are_typed(text: str, expected: Join) -> None:
    assert parsed(text) == expected
