"""Columns judged by their values: codes, times, labels with errors, duplicates."""

import datetime
import random
from pathlib import Path
from typing import Any

import pytest

from tests.data.drafting.drafts import Table, prepared, spec_of, uses, write
from wukongctl.config.dataset import ByHash, ByTime
from wukongctl.data.drafting.draft import draft

ROWS = 600
START = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(**more: list[Any]) -> Table:
    pick = random.Random(1)
    return {
        "colour": [pick.choice(["red", "blue", "green"]) for _ in range(ROWS)],
        "share": [round(pick.random(), 6) for _ in range(ROWS)],
        **more,
        "clicked": [int(pick.random() < 0.3) for _ in range(ROWS)],
    }


def test_numbers_with_leading_zeros_are_codes() -> None:
    pick = random.Random(2)
    some = [pick.randrange(10**5) for _ in range(150)]
    codes = table(
        plz=[f"{pick.choice(some):05}" for _ in range(ROWS)],
        price=[f"{pick.choice(some) % 3000:04}" for _ in range(ROWS)],
        mixed=[f"0{pick.choice(some)}" if i % 4 else str(pick.choice(some)) for i in range(ROWS)],
        amount=["007" if i == 5 else str(pick.randrange(9000)) for i in range(ROWS)],
        zero=[str(pick.choice([0, 0, 7, 151, 4030, 99, *some[:60]])) for _ in range(ROWS)],
    )
    write(codes, Path("t.csv"))
    known = uses(draft("t.csv"))
    assert [known[name] for name in ("plz", "price", "mixed")] == ["categorical"] * 3
    assert [known[name] for name in ("amount", "zero")] == ["numeric"] * 2


@pytest.mark.parametrize("unit", [0, 1, 10**3, 10**6])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numeric_times_split_by_time(unit: int, ending: str, tmp_path: Path) -> None:
    times = [START + datetime.timedelta(hours=5 * i) for i in range(ROWS)]
    random.Random(0).shuffle(times)
    numbers = [int(t.timestamp()) * unit if unit else int(t.strftime("%Y%m%d")) for t in times]
    write(table(event=numbers), Path(f"t{ending}"))
    result = draft(f"t{ending}")
    rule = spec_of(result).split
    assert isinstance(rule, ByTime)
    assert rule.column == "event"
    assert sum(split.rows for split in prepared(result, tmp_path).splits.values()) == ROWS


def test_other_large_integers_are_not_times() -> None:
    pick = random.Random(0)
    some = [pick.randrange(10**9, 2 * 10**9) for _ in range(200)]
    days = [20230000 + pick.randrange(1300) for _ in range(150)]
    write(
        table(
            site=[pick.choice(some) for _ in range(ROWS)],
            revenue=[1_600_000_000 + pick.choice(some) // 1000 for _ in range(ROWS)],
            stock=[pick.choice(days) for _ in range(ROWS)],
        ),
        Path("t.csv"),
    )
    result = draft("t.csv")
    assert not isinstance(spec_of(result).split, ByTime)
    assert "left out" not in uses(result).values()


@pytest.mark.parametrize(("no", "yes"), [(0, 1), ("no", "yes"), ("False", "True")])
def test_rows_with_invalid_labels_are_left_out(no: object, yes: object, tmp_path: Path) -> None:
    known = table()
    known["clicked"] = [yes if y else no for y in known["clicked"]]
    for row, value in ((7, "maybe"), (30, "?!"), (31, "maybe")):
        known["clicked"][row] = value
    positives = known["clicked"].count(yes)
    write(known, Path("t.csv"))
    result = draft("t.csv")
    (said,) = (remark for remark in result.remarks if "maybe" in remark)
    assert (
        "`maybe` (2 rows, first in line 9), `?!` (1 row, first in line 32): these rows are left out" in said
    )
    assert said in result.text.replace("\n# ", " ")
    splits = prepared(result, tmp_path).splits.values()
    assert (sum(s.rows for s in splits), sum(s.positives for s in splits)) == (ROWS - 3, positives)


@pytest.mark.parametrize(
    ("values", "is_guess"),
    [
        ((0, 1), False),
        (("no", "yes"), False),
        (("N", "Y"), False),
        ((-1, 1), True),
        ((0, 1, 2), True),
        ((1, 2, 3, 5), True),
        (("left", "right"), True),
        (("good", "bad"), True),
    ],
)
def test_an_assumed_label_rule_has_a_remark(values: tuple[Any, ...], *, is_guess: bool) -> None:
    pick = random.Random(0)
    write(table() | {"clicked": [pick.choice(values) for _ in range(ROWS)]}, Path("t.csv"))
    result = draft("t.csv")
    assert any("assuming that" in remark for remark in result.remarks) == is_guess
    assert ("assuming that" in result.text.replace("\n# ", " ")) == is_guess


def test_duplicate_rows_stay_in_one_split(tmp_path: Path) -> None:
    known = table()
    rows = [row for row in zip(*known.values(), strict=True) for _ in range(3)]
    random.Random(0).shuffle(rows)
    write(dict(zip(known, map(list, zip(*rows, strict=True)), strict=True)), Path("t.csv"))
    result = draft("t.csv")
    rule = spec_of(result).split
    assert isinstance(rule, ByHash)
    assert rule.key == "CAST(row(colour, share) AS VARCHAR)"
    assert "67% of rows duplicate another one, including the label" in result.text
    assert all(split.rows % 3 == 0 for split in prepared(result, tmp_path).splits.values())


def test_duplicates_across_splits_have_a_remark() -> None:
    rows = [(f"v{i % 4}", int(i % 4 == 0)) for i in range(ROWS)]
    random.Random(0).shuffle(rows)
    colours, clicks = map(list, zip(*rows, strict=True))
    write({"colour": colours, "clicked": clicks}, Path("t.csv"))
    assert "100% of test rows have a duplicate in train" in draft("t.csv").text.replace("\n# ", " ")
