"""Tables of many kinds, with the features, label and split that an expert would choose."""

import datetime
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.data.drafting.drafts import Table, prepared, remarks, spec_of, uses, write
from wukongctl.config.dataset import ByHash, ByOrder, ByTime, SplitRule
from wukongctl.data.drafting.draft import Draft, draft

ROWS = 4000
RATIO = {"train": 8, "valid": 1, "test": 1}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def census(pick: random.Random) -> Table:
    """Texts with a leading blank, codes, amounts with many zeros, and the index that pandas left."""
    return {
        "age": [pick.randrange(91) for _ in range(ROWS)],
        "class of worker": [
            pick.choice([" Not in universe", " Private", " Local government"]) for _ in range(ROWS)
        ],
        "education": [
            pick.choice(
                [" Bachelors degree(BA AB BS)", " High school graduate", " Some college but no degree"]
            )
            for _ in range(ROWS)
        ],
        "marital stat": [
            pick.choice([" Never married", " Married-civilian spouse present", " Divorced"])
            for _ in range(ROWS)
        ],
        "wage per hour": [pick.choice([0] * 19 + [pick.randrange(200, 5000)]) for _ in range(ROWS)],
        "country": [
            pick.choice([" United-States", " ?", " Mexico", " Outlying-U S (Guam USVI etc)"])
            for _ in range(ROWS)
        ],
        "__index_level_0__": pick.sample(range(5000), ROWS),
        "income": [pick.choices([" - 50000.", " 50000+."], [94, 6])[0] for _ in range(ROWS)],
    }


def bank(pick: random.Random) -> Table:
    """999 means never; the duration of a call is known after it."""
    duration = [round(pick.expovariate(1 / 250)) for _ in range(ROWS)]
    return {
        "job": [pick.choice(["admin.", "blue-collar", "unknown", "self-employed"]) for _ in range(ROWS)],
        "duration": duration,
        "pdays": [999 if pick.random() < 0.9 else pick.randrange(28) for _ in range(ROWS)],
        "euribor3m": [round(pick.uniform(0.6, 5.1), 3) for _ in range(ROWS)],
        "y": ["yes" if pick.random() < min(d / 1500, 0.9) else "no" for d in duration],
    }


def hospital(pick: random.Random) -> Table:
    """Few stays of many patients, an outcome of three values, a constant, and a column twice."""
    ages = [pick.choice(["[40-50)", "[50-60)", "[60-70)"]) for _ in range(ROWS)]
    return {
        "encounter_id": pick.sample(range(10**6, 10**8), ROWS),
        "patient_nbr": [pick.randrange(10**5, 10**5 + 2800) * 7 for _ in range(ROWS)],
        "age": ages,
        "age_code": [{"[40-50)": "C", "[50-60)": "D", "[60-70)": "E"}[age] for age in ages],
        "num_lab_procedures": [pick.randrange(1, 100) for _ in range(ROWS)],
        "examide": ["No"] * ROWS,
        "readmitted": pick.choices(["NO", ">30", "<30"], [54, 35, 11], k=ROWS),
    }


def devices(pick: random.Random) -> Table:
    """Few distinct rows and no time: the case `hash_key_contains_label`."""
    hours = [pick.randrange(24) for _ in range(ROWS)]
    return {
        "hour": hours,
        "device": [f"d{pick.randrange(4)}" for _ in range(ROWS)],
        "clicked": [int(pick.random() < 0.1 + hour / 60) for hour in hours],
    }


def by_device(pick: random.Random) -> Table:
    """The same sorted by device."""
    table = devices(pick)
    rows = sorted(zip(*table.values(), strict=True), key=lambda row: row[1])
    return dict(zip(table, map(list, zip(*rows, strict=True)), strict=True))


def ratings(pick: random.Random) -> Table:
    """Recurring users, tags, a JSON list, a long history, and titles of several words."""
    tags = ["drama", "comedy", "war", "sci-fi", "noir", "kids"]
    return {
        "user_id": [f"u{pick.randrange(200)}" for _ in range(ROWS)],
        "movie_id": [pick.randrange(300) for _ in range(ROWS)],
        "genres": ["|".join(sorted(pick.sample(tags, pick.randint(1, 3)))) for _ in range(ROWS)],
        "colours": [
            "[" + ", ".join(f'"{c}"' for c in pick.sample(["red", "blue", "x y"], pick.randint(0, 3))) + "]"
            for _ in range(ROWS)
        ],
        "history": [
            "|".join(str(int(20 * pick.paretovariate(1)) % 500) for _ in range(pick.randint(5, 40)))
            for _ in range(ROWS)
        ],
        "title": [
            f"The {pick.choice(['Red', 'Big'])} {pick.choice(['House', 'Fog'])} of {i % 900}"
            for i in range(ROWS)
        ],
        "rating": [pick.randint(1, 5) for _ in range(ROWS)],
    }


def leaking(pick: random.Random) -> Table:
    """Columns filled or nonzero only after a click, a later score, and a copy of the label."""
    clicks = [int(pick.random() < 0.2) for _ in range(ROWS)]
    return {
        "item": [f"i{pick.randrange(80)}" for _ in range(ROWS)],
        "price": [round(pick.uniform(1, 9), 2) for _ in range(ROWS)],
        "click_id": [f"c{pick.getrandbits(40):x}" if click else None for click in clicks],
        "reason": [None if click or pick.random() < 0.5 else pick.choice("ab") for click in clicks],
        "dwell_time": [round(pick.expovariate(0.1), 1) + 0.1 if click else 0 for click in clicks],
        "score": [round(pick.gauss(3.2 * click, 1), 3) for click in clicks],
        "state": ["bought" if click else "seen" for click in clicks],
        "clicked": clicks,
    }


def dirty(pick: random.Random) -> Table:
    """Markers among numbers, and dates in a common format."""
    day = datetime.date(2023, 1, 1)
    return {
        "day": [(day + datetime.timedelta(days=i // 12)).strftime("%d-%b-%Y").upper() for i in range(ROWS)],
        "price": [
            pick.choice(["\N{EM DASH}", "#DIV/0!"]) if i % 19 == 0 else str(pick.randrange(10**4) / 100)
            for i in range(ROWS)
        ],
        "weight": ["on request" if i % 23 == 0 else f"{pick.gauss(70, 9):.1f}" for i in range(ROWS)],
        "grade": [pick.choice(["1", "2", "A", "B"]) for _ in range(ROWS)],
        "temperature": [-999 if i % 31 == 0 else pick.randrange(5, 400) / 10 for i in range(ROWS)],
        "clicked": [pick.randrange(2) for _ in range(ROWS)],
    }


def numbered(pick: random.Random) -> Table:
    """Three kinds of row numbers, which are not features."""
    return {
        "Unnamed: 0": list(range(ROWS)),
        "key": pick.sample(range(1, ROWS + 1), ROWS),
        "seq": [7 * i + pick.randrange(7) for i in range(ROWS)],
        "city": [pick.choice(["Oslo", "Rome", "Bern"]) for _ in range(ROWS)],
        "income": [round(pick.lognormvariate(10, 1), 2) for _ in range(ROWS)],
        "target": [pick.randrange(2) for _ in range(ROWS)],
    }


def sessions(pick: random.Random) -> Table:
    """Visits of several views each."""
    return {
        "session_id": [f"s{i // 8:05}" for i in range(ROWS)],
        "page": [f"p{pick.randrange(60)}" for _ in range(ROWS)],
        "seconds": [round(pick.expovariate(0.05), 2) for _ in range(ROWS)],
        "is_click": [int(pick.random() < 0.3) for _ in range(ROWS)],
    }


def sample(pick: random.Random) -> Table:
    """200 rows of a large log, too few for ids to repeat."""
    return {
        "user_id": pick.sample(range(1, 7000), 200),
        "movie_id": [pick.randrange(1, 4000) for _ in range(200)],
        "request_id": [f"{i:06x}" for i in range(200)],
        "gender": [pick.choice("FM") for _ in range(200)],
        "click": [pick.randrange(2) for _ in range(200)],
    }


def late(pick: random.Random) -> Table:
    """A time in nanoseconds, a date of another event, and numbers of very different scales."""
    start = 1_600_000_000_000_000_000
    return {
        "birth_date": [f"19{pick.randrange(50, 99)}-0{pick.randrange(1, 9)}-11" for _ in range(ROWS)],
        "seen_at": [f"2024-03-{1 + i * 28 // ROWS:02} 10:{i % 60:02}:00" for i in range(ROWS)],
        "published_ns": [start + pick.randrange(10**17) for _ in range(ROWS)],
        "rate": [pick.random() * 1e-4 for _ in range(ROWS)],
        "wealth": [round(pick.lognormvariate(12, 3)) for _ in range(ROWS)],
        "purchased": [pick.randrange(2) for _ in range(ROWS)],
    }


class Expected(NamedTuple):
    """The expected draft."""

    table: Callable[[random.Random], Table]
    label: str
    split: SplitRule
    uses: dict[str, str]


def by_hash(key: str) -> ByHash:
    return ByHash(by="hash", key=key, ratio=RATIO)  # pyrefly: ignore[bad-argument-type]


CATEGORICAL, NUMERIC, OUT = "categorical", "numeric", "left out"
ORDER = ByOrder(by="order", ratio=RATIO)  # pyrefly: ignore[bad-argument-type]
EXPECTED = [
    Expected(
        census,
        "trim(income) = '50000+.'",
        by_hash(
            'CAST(row(age, "class of worker", education, "marital stat", '
            '"wage per hour", country) AS VARCHAR)'
        ),
        {
            "age": NUMERIC,
            "class of worker": CATEGORICAL,
            "education": CATEGORICAL,
            "marital stat": CATEGORICAL,
            "wage per hour": NUMERIC,
            "country": CATEGORICAL,
            "__index_level_0__": OUT,
        },
    ),
    Expected(
        bank,
        "trim(y) = 'yes'",
        by_hash("CAST(row(job, duration, pdays, euribor3m) AS VARCHAR)"),
        {"job": CATEGORICAL, "duration": NUMERIC, "pdays": NUMERIC, "euribor3m": NUMERIC},
    ),
    Expected(
        hospital,
        "trim(readmitted) = '<30'",
        by_hash("patient_nbr"),
        {
            "encounter_id": OUT,
            "patient_nbr": OUT,
            "age": CATEGORICAL,
            "age_code": OUT,
            "num_lab_procedures": NUMERIC,
            "examide": OUT,
        },
    ),
    Expected(devices, "clicked", ORDER, {"hour": CATEGORICAL, "device": CATEGORICAL}),
    Expected(by_device, "clicked", by_hash("row_number"), {"hour": CATEGORICAL, "device": CATEGORICAL}),
    Expected(
        ratings,
        "rating >= 4",
        by_hash("CAST(row(user_id, movie_id, genres, colours, history, title) AS VARCHAR)"),
        {
            "user_id": CATEGORICAL,
            "movie_id": CATEGORICAL,
            "genres": "sequence",
            "colours": "sequence",
            "history": "sequence",
            "title": CATEGORICAL,
        },
    ),
    Expected(
        leaking,
        "clicked",
        by_hash("CAST(row(item, price, score) AS VARCHAR)"),
        {
            "item": CATEGORICAL,
            "price": NUMERIC,
            "click_id": OUT,
            "reason": OUT,
            "dwell_time": OUT,
            "score": NUMERIC,
            "state": OUT,
        },
    ),
    Expected(
        dirty,
        "clicked",
        ByTime(by="time", column="day", ratio=RATIO),  # pyrefly: ignore[bad-argument-type]
        {"price": NUMERIC, "weight": NUMERIC, "grade": CATEGORICAL, "temperature": NUMERIC},
    ),
    Expected(
        numbered,
        "target",
        by_hash("CAST(row(city, income) AS VARCHAR)"),
        {"Unnamed: 0": OUT, "key": OUT, "seq": OUT, "city": CATEGORICAL, "income": NUMERIC},
    ),
    Expected(
        sessions,
        "is_click",
        by_hash("session_id"),
        {"session_id": OUT, "page": CATEGORICAL, "seconds": NUMERIC},
    ),
    Expected(
        sample,
        "click",
        by_hash("CAST(row(user_id, movie_id, gender) AS VARCHAR)"),
        {"user_id": CATEGORICAL, "movie_id": CATEGORICAL, "request_id": OUT, "gender": CATEGORICAL},
    ),
    Expected(
        late,
        "purchased",
        ByTime(by="time", column="seen_at", ratio=RATIO),  # pyrefly: ignore[bad-argument-type]
        {"birth_date": OUT, "published_ns": NUMERIC, "rate": NUMERIC, "wealth": NUMERIC},
    ),
]


def drafted(table: Callable[[random.Random], Table], ending: str = ".csv") -> Draft:
    write(table(random.Random(7)), Path(f"t{ending}"))
    return draft(f"t{ending}")


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.table.__name__)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_expected_recipe(expected: Expected, ending: str) -> None:
    result = drafted(expected.table, ending)
    spec = spec_of(result)
    assert (uses(result), spec.label, spec.split) == (expected.uses, expected.label, expected.split)


@pytest.mark.parametrize("table", [by_device, ratings, dirty, late], ids=lambda table: table.__name__)
def test_the_recipe_prepares_as_printed(table: Callable[[random.Random], Table], tmp_path: Path) -> None:
    result = drafted(table)
    manifest = prepared(result, tmp_path)
    assert sum(split.rows for split in manifest.splits.values()) == ROWS
    assert all(0 < split.positives < split.rows for split in manifest.splits.values())


def comments(result: Draft) -> str:
    return result.text.replace("\n# ", " ")


def notes(result: Draft) -> dict[str, str]:
    return {role.column.name: role.note for role in result.roles}


def test_left_out_columns_have_a_reason() -> None:
    result = notes(drafted(leaking))
    assert result["click_id"] == "filled only where the label is 1: known only after the label"
    assert result["reason"] == "filled only where the label is 0: known only after the label"
    assert result["dwell_time"] == "nonzero only where the label is 1: known only after the label"
    assert result["state"].startswith("leaks the label")
    result = notes(drafted(hospital))
    assert result["age_code"] == "duplicates `age`, one-to-one"
    assert result["patient_nbr"].startswith("the split key")
    result = notes(drafted(numbered))
    assert result["Unnamed: 0"] == "row number, as written by pandas or R"
    assert result["key"] == "row number: consecutive integers, each once"
    assert result["seq"] == "row number: increases from row to row"


def test_possible_leakage_has_a_remark() -> None:
    result = drafted(leaking)
    assert "`score` alone predicts the label (AUC 0.99" in comments(result)
    assert "is it known before the label?" in "".join(result.remarks)
    assert "`duration` (AUC 0." in comments(drafted(bank))


def test_sentinels_have_a_remark_with_sql_to_drop_them(tmp_path: Path) -> None:
    result = drafted(bank)
    assert "`pdays` is far from the other values (0 to 27)" in comments(result)
    change = """NULLIF("pdays", '999') AS "pdays\""""
    assert change in comments(result)
    text = result.text.replace("SELECT * FROM", f"SELECT * REPLACE ({change}) FROM")
    statistics = prepared(result._replace(text=text), tmp_path).statistics
    assert statistics is not None
    assert statistics.features["pdays"].missing["train"] == pytest.approx(0.9, abs=0.03)
    assert "-999 in" in comments(drafted(dirty))
    assert not [remark for remark in drafted(numbered).remarks if "far from the other" in remark]


def test_sentinels_at_both_ends_do_not_affect_the_transform(tmp_path: Path) -> None:
    pick = random.Random(0)
    ages: list[float] = [pick.choice([-1, 999]) if i % 20 == 0 else pick.randint(18, 79) for i in range(ROWS)]
    spent = [999 if i % 20 == 0 else -1 if i % 21 == 0 else pick.lognormvariate(3, 1) for i in range(ROWS)]
    held = [pick.choice([-99, -1]) if i % 9 == 0 else pick.randrange(40) for i in range(ROWS)]
    table = {"age": ages, "spent": spent, "held": held, "click": [pick.randrange(2) for _ in range(ROWS)]}
    write(table, Path("t.csv"))
    result = draft("t.csv")
    for name in ("age", "spent"):
        assert f"NULLIF(NULLIF(\"{name}\", '999'), '-1') AS \"{name}\"" in comments(result)
    assert "NULLIF(NULLIF(\"held\", '-99'), '-1') AS \"held\"" in comments(result)
    assert "of `age` are far from the other values (18 to 79)" in comments(result)
    assert "log1p" not in result.text  # -1 would be 0 to it
    change = ", ".join(
        f'{NULLIF} AS "{name}"'
        for name in ("age", "spent", "held")
        for NULLIF in [f"NULLIF(NULLIF(\"{name}\", '{-99 if name == 'held' else 999}'), '-1')"]
    )
    text = result.text.replace("SELECT * FROM", f"SELECT * REPLACE ({change}) FROM")
    statistics = prepared(result._replace(text=text), tmp_path).statistics
    assert statistics is not None
    assert statistics.features["age"].missing["train"] == pytest.approx(0.05, abs=0.01)
    assert statistics.features["held"].missing["train"] == pytest.approx(0.11, abs=0.02)


def test_a_sentinel_does_not_make_numbers_skewed() -> None:
    pick = random.Random(0)
    ages = [999 if i % 4 == 0 else pick.randint(18, 79) for i in range(ROWS)]
    write({"age": ages, "click": [pick.randrange(2) for _ in range(ROWS)]}, Path("t.csv"))
    assert "log1p" not in draft("t.csv").text


def test_few_positives_are_reported_by_init_and_prepare(tmp_path: Path) -> None:
    pick = random.Random(0)
    table = {"a": [f"v{pick.randrange(9)}" for _ in range(ROWS)], "b": [pick.random() for _ in range(ROWS)]}
    write(table | {"click": [int(i % 100 == 0) for i in range(ROWS)]}, Path("t.csv"))
    result = draft("t.csv")
    few = f"only {ROWS // 100} of {ROWS:,} rows are positive, about {ROWS * 8 // 1000} in train"
    assert few in comments(result)
    manifest = prepared(result, tmp_path)
    (problem,) = manifest.problems
    assert f"only {manifest.splits['train'].positives} positives in `train`" in problem
    write(table | {"click": [int(i % 2 == 0) for i in range(ROWS)]}, Path("t.csv"))
    assert "rows are positive" not in comments(draft("t.csv"))


def test_unique_ids_of_a_small_table_are_features() -> None:
    """Unique columns are one-to-one whatever they mean."""
    for rows in (30, 200):
        names = ("user_id", "movie_id", "account", "sku")
        table: Table = {name: [f"{name}{i * 7}" for i in range(rows)] for name in names}
        table["age"] = [i * 31 % 97 for i in range(rows)]
        table["click"] = [i % 3 % 2 for i in range(rows)]
        write(table, Path("t.csv"))
        result = draft("t.csv")
        assert {uses(result)[name] for name in names} == {"categorical"}
        assert f"{rows} rows are too few to judge columns or compare models" in result.remarks


def test_markers_among_numbers_are_missing() -> None:
    result = drafted(dirty)
    assert remarks(result)[0].startswith("read as missing: ")
    for marker in ("`\N{EM DASH}`", "`#DIV/0!` in `price`", "`on request` in `weight`"):
        assert marker in remarks(result)[0]


def test_infinite_numbers_are_missing(tmp_path: Path) -> None:
    table = numbered(random.Random(0)) | {
        "ratio": [float("inf") if i % 40 == 0 else i / 7 for i in range(ROWS)]
    }
    write(table, tmp_path / "t.parquet")
    result = draft("t.parquet")
    assert uses(result)["ratio"] == "numeric"
    assert "100 × `inf` in `ratio`" in comments(result)
    statistics = prepared(result, tmp_path).statistics
    assert statistics is not None
    assert statistics.features["ratio"].missing["train"] == pytest.approx(0.025, abs=0.01)


def test_a_small_table_has_a_remark() -> None:
    result = drafted(sample)
    assert "200 rows are too few to judge columns or compare models" in result.remarks
    assert notes(result)["user_id"] == "200 values; too few rows to tell whether they repeat"


def test_json_lists_are_sequences(tmp_path: Path) -> None:
    manifest = prepared(drafted(ratings), tmp_path)
    values = pq.read_table(tmp_path / "data/t/vocab/colours.parquet").column("value").to_pylist()
    assert sorted(values) == ["blue", "red", "x y"]
    assert {feature.name: feature.max_len for feature in manifest.features}["history"] >= 30


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_vectors_are_numeric_features(ending: str, tmp_path: Path) -> None:
    """In list columns and texts such as `[0.5, -1.25]`: one feature per number."""
    pick = random.Random(0)
    vectors = [[round(pick.gauss(0, 1), 4) for _ in range(8)] for _ in range(ROWS)]
    ragged = [vector[: pick.randint(1, 8)] for vector in vectors]
    emb: list[Any] = vectors if ending == ".parquet" else [str(vector) for vector in vectors]
    table = {"click": [int(v[0] > 0) for v in vectors], "emb": emb}
    table["some"] = ragged if ending == ".parquet" else [str(vector) for vector in ragged]
    write(table, tmp_path / f"t{ending}")
    result = draft(f"t{ending}")
    assert uses(result) == {"emb": "vector", "some": OUT}
    assert "list_avg" in notes(result)["some"]
    features = {feature.name: feature.type for feature in prepared(result, tmp_path).features}
    assert features == {f"emb_{i}": "numeric" for i in range(1, 9)}


def test_a_time_with_missing_values_has_a_remark() -> None:
    table = sessions(random.Random(0))
    del table["session_id"]
    table["seen_at"] = [None if i % 50 == 0 else f"2024-05-{1 + i % 28:02}" for i in range(ROWS)]
    write(table, Path("t.csv"))
    assert "`seen_at` is a time, but missing in 2.0% of rows" in comments(draft("t.csv"))


def test_users_in_several_splits_have_a_remark() -> None:
    assert "each `user_id` is in several splits: to test on new ones, use `key: user_id`" in comments(
        drafted(ratings)
    )


@pytest.mark.parametrize("table", [expected.table for expected in EXPECTED], ids=lambda table: table.__name__)
def test_the_split_does_not_depend_on_the_label(table: Callable[[random.Random], Table]) -> None:
    """The key does not read the label."""
    result = drafted(table)
    label = result.label.column.name
    spec = spec_of(result)
    if isinstance(spec.split, ByHash):
        assert f'"{label}"' not in spec.split.key
        assert label not in spec.split.key.replace("(", " ").replace(")", " ").replace(",", " ").split()


def test_few_rows_of_one_label_are_no_evidence_of_leakage() -> None:
    """If nine rows in ten are negative, forty together may all be."""
    pick = random.Random(0)
    clicks = [int(i % 10 == 0) for i in range(ROWS)]
    table: Table = {
        "price": [pick.random() for _ in range(ROWS)],
        "coupon": [f"c{i % 3}" if i < 400 and i % 10 else None for i in range(ROWS)],
        "gift": ["g" if i < 40 and i % 10 else None for i in range(ROWS)],
        "clicked": clicks,
    }
    write(table, Path("t.csv"))
    assert uses(draft("t.csv")) == {"price": "numeric", "coupon": "left out", "gift": "categorical"}


def test_three_positives_are_no_evidence_of_leakage() -> None:
    pick = random.Random(0)
    clicks = [int(i in (7, 70, 141)) for i in range(200)]
    write(
        {"a": [click + pick.random() for click in clicks], "b": clicks[::-1], "click": clicks}, Path("t.csv")
    )
    assert uses(draft("t.csv", label="click"))["a"] == "numeric"


def test_a_search_query_is_not_a_session() -> None:
    pick = random.Random(0)
    table: Table = {
        "query": [f"word{pick.randrange(500)} shoes" for _ in range(ROWS)],
        "bid": [pick.random() for _ in range(ROWS)],
        "clicked": [pick.randrange(2) for _ in range(ROWS)],
    }
    write(table, Path("t.csv"))
    result = draft("t.csv")
    assert uses(result)["query"] == "categorical"
    assert spec_of(result).split == by_hash("CAST(row(query, bid) AS VARCHAR)")
    write({"query_id": table.pop("query"), **table}, Path("t.csv"))
    assert spec_of(draft("t.csv")).split == by_hash("query_id")
