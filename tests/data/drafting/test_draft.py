"""`datasets init`: what it guesses, and that the recipe prepares and trains as printed."""

import datetime
import gzip
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.drafting.drafts import Table, prepared, remarks, spec_of, trained, uses, write
from tests.examples import examples
from wukongctl.config.dataset import ByHash, ByTime, DatasetSpec
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.data.drafting.draft import draft
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import RunFailed, UsageError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shop(rows: int = 400) -> Table:
    """A column of every kind."""
    pick = random.Random(0)
    users = [f"u{pick.randrange(40)}" for _ in range(rows)]
    start = datetime.datetime(2024, 3, 1)
    return {
        "impression_id": [f"{i:08x}" for i in range(rows)],
        "shown_at": [(start + datetime.timedelta(minutes=7 * i)).isoformat(sep=" ") for i in range(rows)],
        "user_id": users,
        "hour": [(7 * i // 60) % 24 for i in range(rows)],
        "price": [round(pick.lognormvariate(3, 2), 2) for _ in range(rows)],
        "age": [pick.choice([None, *range(18, 80)]) for _ in range(rows)],
        "tags": [
            "|".join(pick.sample(["red", "blue", "new", "sale"], pick.randrange(1, 4))) for _ in range(rows)
        ],
        "country": ["NL"] * rows,
        "nothing": [None] * rows,
        "clicked": [int(user < "u2") ^ (pick.random() < 0.2) for user in users],
    }


@pytest.mark.parametrize(
    "name",
    [
        "shop.csv",
        "shop.tsv",
        "shop.csv.gz",
        "shop.json",
        "shop.jsonl",
        "shop.jsonl.gz",
        "shop.parquet",
        "shop",
    ],
)
def test_every_format_gives_the_same_guesses_and_trains(name: str, tmp_path: Path) -> None:
    write(shop(), tmp_path / name)
    result = draft(name)
    assert uses(result) == {
        "impression_id": "left out",
        "user_id": "categorical",
        "hour": "categorical",
        "price": "numeric",
        "age": "numeric",
        "tags": "sequence",
        "country": "left out",
        "nothing": "left out",
    }
    assert result.label.column.name == "clicked"
    spec = spec_of(result)
    assert isinstance(spec.split, ByTime)
    assert spec.split.column == "shown_at"
    manifest = prepared(result, tmp_path)
    assert [split.rows for split in manifest.splits.values()] == [320, 40, 40]
    assert sum(split.positives for split in manifest.splits.values()) == sum(shop()["clicked"])


def text(path: Path, content: str, encoding: str = "utf-8") -> str:
    path.write_text(content, encoding=encoding)
    return path.name


def lines(header: str, row: str, rows: int = 40) -> str:
    """Rows of a format over `i`, with a label that alternates."""
    return f"{header}\n" + "".join(row.format(i=i, label=i % 2) + "\n" for i in range(rows))


@pytest.mark.parametrize(
    ("values", "expression", "positives"),
    [
        ([0, 1], "y", 20),
        (["true", "false"], "trim(y) = 'true'", 20),
        (["No", "Yes"], "trim(y) = 'Yes'", 20),
        ([-1, 1], "y = 1", 20),
        ([1, 2, 3, 5], "y >= 4", 10),
        ([0, 0, 0, 11, 0, 0, 12, 0], "y > 0", 10),
        ([0.5, 1.5, 2.5, 30], "y > 2", 20),
        (["a", "b", "a", "a"], "trim(y) = 'b'", 10),
        ([0, 1, "", 1], "y", 20),
    ],
)
def test_labels_of_any_values(tmp_path: Path, values: list[Any], expression: str, positives: int) -> None:
    rows = [(values[i % len(values)], f"v{i % 3}") for i in range(40)]
    text(tmp_path / "t.csv", "y,a\n" + "".join(f"{y},{a}\n" for y, a in rows))
    result = draft("t.csv", label="Y")
    assert spec_of(result).label == expression
    manifest = prepared(result, tmp_path)
    assert sum(split.positives for split in manifest.splits.values()) == positives
    assert sum(split.rows for split in manifest.splits.values()) == sum(y != "" for y, _ in rows)


@pytest.mark.parametrize(
    ("content", "label", "words"),
    [
        ("", None, "is empty"),
        ("\n\n", None, "is empty"),
        ("label,a\n", None, "has a header but no rows"),
        ("label,a\n1,x\n0,y\n", None, "has 2 rows, a dataset needs at least 10"),
        (lines("a,b", "x{i},1.5"), None, "no column of `t.csv` looks like a label"),
        (lines("label,b", "1,{i}"), "label", "`label` cannot be the label: it has only one value"),
        (lines("name,b", "n{i},{i}"), "name", "it has 40 distinct texts"),
        (lines("click,b", "{label},{i}"), "clik", "has no column `clik`"),
        (lines("click", "{label}"), None, "`t.csv` has one column, `click`; a dataset needs a label and"),
        (lines("other", "{label}"), "label", "`t.csv` has one column, `other`; a dataset needs a label and"),
    ],
)
def test_tables_that_cannot_be_a_dataset(tmp_path: Path, content: str, label: str | None, words: str) -> None:
    text(tmp_path / "t.csv", content)
    with pytest.raises(UsageError) as failure:
        draft("t.csv", label=label)
    assert words in str(failure.value)


@pytest.mark.parametrize(
    "name", ["absent.csv", "", ".", "x" * 300, "it's.csv", "a{b}.csv", "s3://bucket/a.csv"]
)
def test_missing_files_are_errors(name: str) -> None:
    with pytest.raises(UsageError):
        draft(name)


def test_files_of_other_formats_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("label,a\n" + "1,5\n0,6\n" * 9)
    for kind, ending in (("zip", ".zip"), ("tar", ".tar"), ("gztar", ".tar.gz")):
        shutil.make_archive("packed", kind, tmp_path, "c.csv")
        with pytest.raises(UsageError, match=rf"packed{ending}` is a (zip|tar) archive") as caught:
            draft(f"packed{ending}")
        assert "unpack it" in str(caught.value.hint)
    (tmp_path / "v.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    with pytest.raises(UsageError, match=r"`v.h5` is an HDF5 file"):
        draft("v.h5")
    (tmp_path / "logs").mkdir()
    with pytest.raises(UsageError, match="`logs` is a folder"):
        draft("logs")


NOISE = random.Random(0).randbytes(5000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + NOISE, "is a PNG image"),
        (b"\xff\xd8\xff\xe0" + NOISE, "is a JPEG image"),
        (b"%PDF-1.4\n" + NOISE, "is a PDF document"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is an HTML page"),
        (NOISE, "it contains binary data"),
        (gzip.compress(NOISE), "it contains binary data"),
        (Path(__file__).read_bytes(), "its lines do not split into columns"),
    ],
    ids=range(7),
)
def test_the_error_for_other_formats_names_no_line(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        draft("t.csv")
    assert "`t.csv` is" in str(caught.value)
    assert "table" in str(caught.value)
    assert not {"iconv", "line"} & set(str(caught.value.hint).split())


def test_damaged_files_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + b"x" * 100)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"label,a\n" * 10_000)[:40])
    (tmp_path / "t.json").write_text('[{"label": 1}, {"label": ')
    text(tmp_path / "t.csv", lines("label,a", "{label},{i}") + "1,2,3,4\n")
    for path in sorted(tmp_path.glob("t.*")):
        with pytest.raises((RunFailed, UsageError)) as failure:
            draft(path.name)
        assert "\n" not in str(failure.value)


def test_latin_1_with_semicolons_and_crlf(tmp_path: Path) -> None:
    content = lines("Größe;Stadt;Klick", "{i};Köln{label};{label}").replace("\n", "\r\n")
    (tmp_path / "t.csv").write_bytes(content.encode("latin-1"))
    result = draft("t.csv", label="Klick")
    assert "encoding='latin-1'" in result.text
    features = {feature.name for feature in prepared(result, tmp_path).features}
    assert features == {"Stadt", "Größe", "Größe_bin"}


def test_a_column_that_leaks_the_label_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},p{i % 2},v{i % 7}\n" for i in range(400))
    text(tmp_path / "t.csv", f"click,bought,a\n{rows}")
    result = draft("t.csv")
    assert uses(result)["bought"] == "left out"
    assert "leaks the label" in result.text


def test_time_as_a_number_and_rows_without_a_label(tmp_path: Path) -> None:
    text(tmp_path / "t.csv", lines("ts,click,a", "17000{i:05},{label},v{i}", 60) + "1700000061,,v1\n")
    result = draft("t.csv")
    spec = spec_of(result)
    assert isinstance(spec.split, ByTime)
    assert "rows without a label" in result.text
    assert sum(split.rows for split in prepared(result, tmp_path).splits.values()) == 60


def test_integers_beyond_double_precision_are_ids(tmp_path: Path) -> None:
    rows = [f"{i % 2},{2**63 + i % 50},{10**15 + i % 50}\n" for i in range(400)]
    text(tmp_path / "t.csv", "click,campaign,metres\n" + "".join(rows))
    assert uses(draft("t.csv")) == {"campaign": "categorical", "metres": "numeric"}


@pytest.mark.parametrize(("days", "open_"), [(12, True), (28, False)])
def test_ambiguous_dates_have_a_remark(tmp_path: Path, days: int, *, open_: bool) -> None:
    rows = "".join(f"{i % days + 1:02}/{i % 12 + 1:02}/2024,{i % 2},v{i % 5}\n" for i in range(120))
    text(tmp_path / "t.csv", f"when,click,a\n{rows}")
    result = draft("t.csv")
    assert "strptime" in result.text
    said = "every `when` fits both %d/%m/%Y and %m/%d/%Y: assuming that the day comes first"
    assert (remarks(result), said in result.text) == ((said,) if open_ else (), open_)


@pytest.mark.parametrize(
    ("written", "read", "low", "high"),
    [
        (["3,25", "0,5", "12", "-7,125"], "`3,25` in `n` is 3.25", -7.125, 12),
        (["1,234", "56", "1,234,567.5"], "`1,234` in `n` is 1234", 56, 1234567.5),
        (["1.234,5", "7", "1.000.000"], "`1.234,5` in `n` is 1234.5", 7, 1e6),
        (["1 234", "7,5", "1\u00a0000\u00a0000"], "`1 234` in `n` is 1234", 7.5, 1e6),
        (["3,25", "3.5"], "`3,25` in `n` is 3.25", 3.25, 3.5),
        (["12%", "7.5 %"], "`12%` in `n` is 12", 7.5, 12),
        (["1.234,50 €", "7 €"], "`1.234,50 €` in `n` is 1234.50", 7, 1234.5),
        (["$ 1,234", "$7.5"], "`$ 1,234` in `n` is 1234", 7.5, 1234),
    ],
)
def test_numbers_in_other_notations_are_numbers(
    tmp_path: Path, written: list[str], read: str, low: float, high: float
) -> None:
    """`3,25` is not a sequence of `3` and `25`."""
    table: Table = {"click": [i % 2 for i in range(90)], "n": (written * 90)[:90]}
    write(table, tmp_path / "t.csv")
    result = draft("t.csv")
    assert [(role.kind, role.column.low, role.column.high) for role in result.roles] == [
        ("numeric", low, high)
    ]
    assert remarks(result)[0] == f"read as numbers: {read}"
    statistics = prepared(result, tmp_path).statistics
    assert statistics is not None
    assert statistics.features["n"].missing["train"] == 0


def test_lists_of_numbers_stay_lists(tmp_path: Path) -> None:
    lists = ["3,25", "3,25,7", "4", "4,3", "3,7", "25", "7,4", "7", "25,4,3"]
    write({"click": [i % 2 for i in range(90)], "n": lists * 10}, tmp_path / "t.csv")
    assert uses(draft("t.csv")) == {"n": "sequence"}


def test_markers_of_missing_values_have_remarks(tmp_path: Path) -> None:
    """They are missing values among numbers, and may be values among texts."""
    table: Table = {
        "click": ["NULL" if i == 5 else i % 2 for i in range(100)],
        "age": ["NULL" if i % 10 == 0 else 20 + i for i in range(100)],
        "user_id": [r"\N" if i % 25 == 0 else 100 + i % 30 for i in range(100)],
        "price": [("-", " None", 1.5 * i)[min(i % 20, 2)] for i in range(100)],
        "country": [("NL", "NA", "-", "BE", "DE")[i % 5] for i in range(100)],
        "nothing": ["n/a"] * 100,
        "plain": [f"v{i % 7}" for i in range(100)],
    }
    write(table, tmp_path / "t.csv")
    result = draft("t.csv")
    assert uses(result) == {
        "age": "numeric",
        "user_id": "categorical",
        "price": "numeric",
        "country": "categorical",
        "nothing": "left out",
        "plain": "categorical",
    }
    assert remarks(result) == (
        "read as missing: 1 × `NULL` in `click`, 10 × `NULL` in `age`, 4 × `\\N` in `user_id`, "
        "5 × `-` and 5 × `None` in `price`",
        "kept as values: 20 × `-` and 20 × `NA` in `country`; if one means missing, "
        "select for example `NULLIF(NULLIF(trim(\"country\"), '-'), 'NA')`",
    )
    assert all(remark in result.text.replace("\n# ", " ") for remark in result.remarks)
    manifest = prepared(result, tmp_path)
    assert sum(split.rows for split in manifest.splits.values()) == 99
    assert manifest.statistics is not None
    for name, share in (("age", 0.1), ("user_id", 0.04), ("price", 0.1), ("country", 0)):
        known = manifest.statistics.features[name].missing
        rows = sum(round(known[split] * part.rows) for split, part in manifest.splits.items())
        assert rows == round(100 * share), name


def test_a_label_with_a_decimal_comma_keeps_its_rows(tmp_path: Path) -> None:
    table: Table = {
        "rating": ["NULL", *(f"{1 + i % 9 / 2}".replace(".", ",") for i in range(99))],
        "a": [f"v{i % 7}" for i in range(100)],
    }
    write(table, tmp_path / "t.csv")
    result = draft("t.csv")
    assert result.label.expression == '"rating" >= 4'
    manifest = prepared(result, tmp_path)
    assert sum(split.rows for split in manifest.splits.values()) == 99
    assert sum(split.positives for split in manifest.splits.values()) == 33


def test_blanks_after_separators_are_stripped(tmp_path: Path) -> None:
    write(shop() | {"tags": [tags.replace("|", ", ") for tags in shop()["tags"]]}, tmp_path / "t.csv")
    result = draft("t.csv")
    assert 'separator: ","' in result.text
    prepared(result, tmp_path)
    values = pq.read_table(tmp_path / "data/t/vocab/tags.parquet")["value"].to_pylist()
    assert sorted(values) == ["blue", "new", "red", "sale"]


def test_columns_of_one_name_have_a_remark(tmp_path: Path) -> None:
    text(tmp_path / "t.csv", lines("click,a,A,a", "{label},v{i},1,w{i}"))
    assert remarks(draft("t.csv")) == (
        "columns 2 and 3 are both named `A`: the second is read as `A_2`",
        "columns 2 and 4 are both named `a`: the second is read as `a_3`",
    )


def test_lists_structs_and_bytes_of_parquet(tmp_path: Path) -> None:
    rows = 60
    table = {
        "items": [[i % 5, i % 3] for i in range(rows)],
        "pair": [{"a": i, "b": 1} for i in range(rows)],
        "raw": [bytes([i]) for i in range(rows)],
        "click": [i % 2 for i in range(rows)],
        "a": [f"v{i % 4}" for i in range(rows)],
    }
    write(table, tmp_path / "t.parquet")
    result = draft("t.parquet")
    assert uses(result) == {"items": "sequence", "pair": "left out", "raw": "left out", "a": "categorical"}
    assert prepared(result, tmp_path).features[1].max_len == 2


def test_a_pattern_of_files_and_a_name(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for part in range(3):
        text(tmp_path / f"logs/part-{part}.csv", lines("click,a", "{label},v{i}"))
    result = draft("logs/part-*.csv", name="mine")
    manifest = prepared(result, tmp_path)
    assert manifest.dataset == "mine"
    assert sum(split.rows for split in manifest.splits.values()) == 120
    assert len(manifest.sources) == 3


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_column_that_is_both_renamed_and_converted(ending: str, tmp_path: Path) -> None:
    name = "long" * 30
    days = [f"2024-01-{1 + i % 28:02d}" for i in range(60)]
    write(
        {name: days, "a": [f"v{i % 5}" for i in range(60)], "click": [i % 2 for i in range(60)]},
        tmp_path / f"t{ending}",
    )
    manifest = prepared(draft(f"t{ending}"), tmp_path)
    assert sum(split.rows for split in manifest.splits.values()) == 60


def test_a_time_is_a_feature_if_it_is_the_only_column(tmp_path: Path) -> None:
    write({"day": ["2024-01-01"] * 30, "click": [i % 2 for i in range(30)]}, tmp_path / "t.csv")
    result = draft("t.csv")
    assert uses(result) == {"day": "categorical"}
    assert sum(split.rows for split in prepared(result, tmp_path).splits.values()) == 30


def test_a_prepared_draft_trains(tmp_path: Path) -> None:
    write(shop(), tmp_path / "shop.csv")
    result = trained(prepared(draft("shop.csv"), tmp_path), tmp_path)
    assert 0 < result["metrics"]["test"]["logloss"] < 2


WORDS = st.text(st.sampled_from("abcxyzéß 019-_.,;|'/()"), min_size=1, max_size=12).filter(str.strip)
ODD = (
    "order select group n_clicks a-b größe C1 f0 split_ probability label_feature x.y 50% it's true #1 :key:"
)
NAMES = st.sampled_from(["user_id", "Item", "price", "rating", "ts", "a blank", "long" * 30, *ODD.split()])
VALUES = st.one_of(
    st.just(st.sampled_from(["red", "green", "blue"])),
    st.just(WORDS),
    st.just(st.integers(0, 5)),
    st.just(st.integers(-(10**6), 10**12)),
    st.just(st.floats(-1e6, 1e6)),
    st.just(st.floats(allow_nan=False, allow_infinity=False)),
    st.just(st.booleans()),
    st.just(st.dates(datetime.date(2000, 1, 1), datetime.date(2030, 1, 1))),
    st.just(st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2030, 1, 1))),
    st.just(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map("|".join)),
    st.just(st.just("same")),
    st.just(st.uuids().map(str)),
)
LABELS = st.sampled_from([(0, 1), (False, True), ("no", "yes"), (1, 5), (0.0, 1.0), (-1, 1), ("N", "Y")])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Between 12 and 150 rows, half of them clicks, with features of any kind and gaps in them."""
    rows = draw(st.integers(12, 150))
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=str.lower))
    table: Table = {}
    for name in names:
        values = draw(st.lists(draw(VALUES), min_size=rows, max_size=rows))
        gap = draw(st.sampled_from([0, 0, 2, 7]))
        table[name] = [None if gap and i % gap == 1 else value for i, value in enumerate(values)]
    label = draw(LABELS)
    clicks = draw(st.permutations([label[i % 2] for i in range(rows)]))
    position = draw(st.integers(0, len(names)))
    return dict([*list(table.items())[:position], ("click", list(clicks)), *list(table.items())[position:]])


def assert_prepares_and_trains(table: Table, ending: str, folder: Path) -> None:
    """The printed recipe prepares every row, and a model trained on it has a finite loss."""
    path = folder / f"result{ending}"
    write(table, path)
    result = draft(path.name)
    assert result.label.column.name == "click"
    manifest = prepared(result, folder)
    rows = sum(split.rows for split in manifest.splits.values())
    assert rows == len(table["click"])
    assert sum(split.positives for split in manifest.splits.values()) == rows // 2
    own = [feature for feature in manifest.features if feature.type != "bin"]
    assert len(own) == sum(use != "left out" for use in uses(result).values())
    assert 0 <= trained(manifest, folder)["metrics"]["test"]["logloss"] < 100


@settings(max_examples=examples(5), deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables(), ending=st.sampled_from([".csv", ".tsv", ".parquet", ".json", ".jsonl", ".csv.gz"]))
def test_any_ordinary_table_prepares_and_trains_as_printed(tmp_path: Path, table: Table, ending: str) -> None:
    assert_prepares_and_trains(table, ending, tmp_path)


@pytest.mark.slow
@settings(settings.get_profile("fresh"), max_examples=300, suppress_health_check=list(HealthCheck))
@given(table=tables(), ending=st.sampled_from([".csv", ".tsv", ".parquet", ".json", ".jsonl", ".csv.gz"]))
def test_many_ordinary_tables_prepare_and_train_as_printed(tmp_path: Path, table: Table, ending: str) -> None:
    assert_prepares_and_trains(table, ending, tmp_path)


def test_a_few_other_numbers_in_a_label_of_0_and_1_are_errors(tmp_path: Path) -> None:
    pick = random.Random(0)
    y = [2, *(int(pick.random() < 0.6) for _ in range(999))]
    write({"y": y, "a": [*range(100)] * 10}, Path("t.csv"))
    result = draft("t.csv")
    assert result.label.expression == '"y"'
    said = (
        "`y` is `0` or `1` except for `2` (1 row, first in line 2): these rows are left out; keep them with"
    )
    assert said in "".join(result.remarks)
    assert sum(split.rows for split in prepared(result, tmp_path).splits.values()) == 999
    kept = prepared(draft("t.csv", positive=["1", "2"]), tmp_path)
    assert sum(split.rows for split in kept.splits.values()) == 1000
    assert sum(split.positives for split in kept.splits.values()) == sum(value > 0 for value in y)


def test_counts_stay_counts() -> None:
    pick = random.Random(0)
    y = [min(int(pick.expovariate(2)), 2) for _ in range(1000)]
    write({"y": y, "a": [*range(100)] * 10}, Path("t.csv"))
    assert draft("t.csv").label.expression == '"y" > 0'


@pytest.mark.parametrize(("days", "open_"), [(12, True), (28, False)])
def test_two_digit_years_are_recent(tmp_path: Path, days: int, *, open_: bool) -> None:
    """DuckDB alone would read 03/04/24 as the 24th of April of the year 3."""
    rows = "".join(f"{i % days + 1:02}/{i // 28 % 12 + 1:02}/24,{i % 2},v{i % 5}\n" for i in range(360))
    text(tmp_path / "t.csv", f"when,click,a\n{rows}")
    result = draft("t.csv")
    assert "strptime(\"when\", '%d/%m/%y')" in result.text
    assert ("and %m/%d/%y: assuming" in "".join(result.remarks)) == open_
    assert set(prepared(result, tmp_path).splits) == {"train", "valid", "test"}


@pytest.mark.parametrize("written", ["%d/%m/%Y", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p"])
def test_times_in_common_formats_split_by_time(written: str, tmp_path: Path) -> None:
    start, pick = datetime.datetime(2024, 1, 1), random.Random(0)
    times = [(start + datetime.timedelta(hours=6 * i)).strftime(written) for i in range(400)]
    rows = [(pick.randrange(2), f"u{i % 9}", time) for i, time in enumerate(times)]
    pick.shuffle(rows)
    write(
        dict(zip(("click", "user", "time"), map(list, zip(*rows, strict=True)), strict=True)), Path("t.csv")
    )
    result = draft("t.csv")
    assert f"strptime(\"time\", '{written}')" in result.text
    spec = validate(parse(result.text, "t.yaml"), DatasetSpec)
    assert isinstance(spec.split, ByTime)
    prepared = prepare(spec, Options(tmp_path, out=tmp_path / "out"))
    assert sum(split.rows for split in prepared.splits.values()) == 400


def test_numbers_with_nan_are_numbers_and_sizes_are_not(tmp_path: Path) -> None:
    sizes = ["300_250", "728_90", "160_600"]
    rows = [f"{i % 2},{'NaN' if i % 9 == 4 else i * 1.5},{sizes[i % 3]}" for i in range(90)]
    (tmp_path / "clicks.csv").write_text("\n".join(["click,price,slot", *rows]) + "\n")
    result = {role.column.name: role.kind for role in draft("clicks.csv").roles}
    assert result == {"price": "numeric", "slot": "categorical"}


def test_dirty_values_have_remarks() -> None:
    pick = random.Random(0)
    table: Table = {
        "click": [pick.randrange(2) for _ in range(400)],
        "n": [pick.random() for _ in range(400)],
    }
    table["n"][7] = "much"
    write(table, Path("t.csv"))
    content = Path("t.csv").read_bytes()
    assert "; numeric except in 1 row" in draft("t.csv").text
    Path("t.csv").write_bytes(content.replace(b"much", b"\xff"))
    assert any(
        "`t.csv`: not UTF-8, so read as Latin-1: line 9 is" in remark for remark in draft("t.csv").remarks
    )


def test_nested_columns_are_left_out_by_type() -> None:
    click = [i % 3 % 2 for i in range(60)]
    at = [datetime.datetime(2024, 1, 1 + i % 28) for i in range(60)]
    pq.write_table(
        pa.table(
            {
                "click": click,
                "a": [i % 7 for i in range(60)],
                "s": [{"x": 1}] * 60,
                "l": [[[1]]] * 60,
                "at": at,
            }
        ),
        "t.parquet",
    )
    notes = {role.column.name: role.note for role in draft("t.parquet").roles}
    assert notes["s"].startswith("STRUCT")
    assert notes["l"].startswith("BIGINT[][]")


def test_tables_with_nested_lists_are_split_by_hash(tmp_path: Path) -> None:
    rows = 200
    table = pa.table(
        {
            "click": [i % 2 for i in range(rows)],
            "a": [f"v{i % 7}" for i in range(rows)],
            "b": [i / 7 for i in range(rows)],
            "l": [[[i], [1, 2]] for i in range(rows)],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    result = draft("t.parquet")
    assert isinstance(spec_of(result).split, ByHash)
    assert set(prepared(result, tmp_path).splits) == {"train", "valid", "test"}
