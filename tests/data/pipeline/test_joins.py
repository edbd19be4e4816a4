"""Preparation reports joins that repeat or drop rows."""

from pathlib import Path

import pytest

from tests.data.test_prepare import own, problems, run
from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.data.pipeline import joins
from wukongctl.data.query import syntax

CLICKS = "read_csv('{clicks.csv}', header=true, all_varchar=true)"
USERS = "read_csv('{users.csv}', header=true, all_varchar=true)"
DOUBLED = "2 keys `user` occur more than once in `users.csv`, up to 3 times, so the join repeats rows"
DROPPED = "120 of the first 200 rows of `clicks.csv` have no match in `users.csv`"


def write(folder: Path, users: list[str]) -> None:
    rows = [f"{i * 7 % 3 // 2},u{i % 10}" for i in range(200)]
    (folder / "clicks.csv").write_text("\n".join(["label,user", *rows]) + "\n")
    (folder / "users.csv").write_text("\n".join(["user,city", *(f"{u},x{u}" for u in users)]) + "\n")


@pytest.mark.parametrize(
    ("users", "join", "rows", "messages"),
    [
        (10, "LEFT JOIN {} USING (user)", 200, ()),
        (10, "JOIN {} AS u ON c.user = u.user", 200, ()),
        (-1, "LEFT JOIN {} USING (user)", 260, (DOUBLED,)),
        (-1, "LEFT JOIN {} AS u ON u.user = c.user", 260, (DOUBLED,)),
        (4, "JOIN {} USING (user)", 80, (DROPPED,)),
        (4, "JOIN {} AS u ON c.user = u.user", 80, (DROPPED,)),
        (4, "LEFT JOIN {} USING (user)", 200, ()),
        (9, "JOIN {} USING (user)", 180, ()),
    ],
)
def test_repeated_keys_and_dropped_rows_are_reported(
    tmp_path: Path, users: int, join: str, rows: int, messages: tuple[str, ...]
) -> None:
    names = [f"u{i}" for i in range(users if users > 0 else 10)]
    write(tmp_path, names if users > 0 else [*names, "u1", "u1", "u2"])
    spec = own(
        files={"clicks.csv": {}, "users.csv": {}},
        rows=f"SELECT label, city AS a FROM {CLICKS} AS c {join.format(USERS)} ORDER BY ALL",
        split={"by": "hash", "key": "a", "ratio": {"train": 1}},
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert prepared.splits["train"].rows == rows
    assert len(problems(prepared)) == len(messages)
    assert all(problem.startswith(start) for problem, start in zip(problems(prepared), messages, strict=True))


def test_joins_of_shipped_recipes_are_found() -> None:
    spec = load(library.find("ml-100k", "datasets"), DatasetSpec)
    tree = syntax.parse(spec.rows or "")
    assert tree is not None
    found = list(joins._joins(spec.rows or "", tree))
    assert [join.pairs for join in found]
    assert all(join.rows.startswith("read_csv('{u.data}'") and not join.is_inner for join in found)


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT * FROM a LEFT JOIN b USING (k)", False),
        ("SELECT * FROM a, b WHERE a.k = b.k", False),
        ("SELECT k, count(*) FROM a GROUP BY ALL", False),
        ("SELECT k, count(*) FROM a GROUP BY k", False),
        ("SELECT DISTINCT k FROM a", False),
        ("SELECT k, lag(x) OVER (PARTITION BY k ORDER BY t) FROM a", False),
        ("SELECT * FROM (SELECT * FROM a JOIN b USING (k))", False),
        ("SELECT * FROM a LEFT JOIN b USING (k) ORDER BY ALL", True),
        ("SELECT * EXCLUDE (n) FROM (SELECT * FROM a JOIN b USING (k) ORDER BY n)", True),
        ("SELECT k, row_number() OVER () FROM a WHERE list_sort(x) = x", True),
        ("SELECT * FROM a UNION ALL FROM b", True),
    ],
)
def test_rows_in_no_particular_order_are_reported(query: str, ordered: bool) -> None:
    tree = syntax.parse(query)
    assert tree is not None
    assert joins._is_unordered(tree) != ordered
