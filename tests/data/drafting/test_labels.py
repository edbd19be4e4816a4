"""The label column and its positive values, inferred or given."""

import random
from pathlib import Path

import pytest

from tests.data.drafting.drafts import Table, prepared, remarks, spec_of, uses, write
from wukongctl.data.drafting.draft import draft
from wukongctl.errors import UsageError

PICK = random.Random(3)
ROWS = 4000
READMITTED = PICK.choices(["NO", ">30", "<30"], [54, 35, 11], k=ROWS)
YES = PICK.choices(["no", "yes"], k=ROWS)
INCOME = PICK.choices(["<=50K", ">50K"], [76, 24], k=ROWS)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(**more: list[object]) -> Table:
    pick = random.Random(1)
    return {
        "age": [pick.randrange(17, 90) for _ in range(ROWS)],
        "sex": [pick.choice(["F", "M"]) for _ in range(ROWS)],
        "hours": [pick.choice([20, 35.5, 40, 60]) for _ in range(ROWS)],
        **more,
    }


@pytest.mark.parametrize(
    ("columns", "expression"),
    [
        ({"income": INCOME}, "trim(income) = '>50K'"),
        ({"answer": PICK.choices(["left", "right"], [30, 70], k=ROWS)}, "trim(answer) = 'left'"),
        ({"readmitted": READMITTED, "drug": PICK.choices(["Yes", "No"], k=ROWS)}, "trim(readmitted) = '<30'"),
        ({"diagnosis": PICK.choices(["B", "M"], [60, 40], k=ROWS)}, "trim(diagnosis) = 'M'"),
        ({"Survived": PICK.choices([0, 1], k=ROWS), "deck": PICK.choices(["yes", "no"], k=ROWS)}, "Survived"),
        ({"churn": PICK.choices(["no churn", "gone"], [20, 80], k=ROWS)}, "trim(churn) = 'gone'"),
        (
            {"y": PICK.choices(["no", "yes"], k=ROWS), "default": PICK.choices(["no", "yes"], k=ROWS)},
            "trim(y) = 'yes'",
        ),
    ],
)
def test_the_label_is_inferred(columns: Table, expression: str) -> None:
    write(table(**columns), Path("t.csv"))
    assert spec_of(draft("t.csv")).label == expression


def test_an_amount_is_not_the_label() -> None:
    """As in ISLP's Default: `default, student, balance, income`."""
    known = table(income=[round(PICK.gauss(3e4, 1e4), 2) for _ in range(ROWS)])
    write({"default": PICK.choices(["No", "Yes"], k=ROWS), **known}, Path("t.csv"))
    result = draft("t.csv")
    assert spec_of(result).label == "trim(\"default\") = 'Yes'"
    assert uses(result)["income"] == "numeric"


def test_an_inferred_positive_value_has_a_remark() -> None:
    write(table(readmitted=READMITTED), Path("t.csv"))
    result = draft("t.csv", label="readmitted")
    said = "`readmitted`: assuming that `<30` (the rarest one) is positive and `NO`, `>30` negative; "
    said += "change it with `--positive`"
    assert remarks(result) == (said,)
    assert said in result.text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("positive", "expression"),
    [(["<30"], "trim(readmitted) = '<30'"), (["<30", ">30"], "trim(readmitted) IN ('<30', '>30')")],
)
def test_positive_values_are_given(tmp_path: Path, positive: list[str], expression: str) -> None:
    write(table(readmitted=READMITTED), Path("t.csv"))
    result = draft("t.csv", positive=positive)
    assert (spec_of(result).label, remarks(result)) == (expression, ())
    positives = sum(split.positives for split in prepared(result, tmp_path).splits.values())
    assert positives == sum(value in positive for value in READMITTED)


@pytest.mark.parametrize(
    "label", [PICK.choices([0, 1], k=ROWS), PICK.choices(["bought", "seen"], k=ROWS), READMITTED]
)
def test_positive_values_apply_to_the_inferred_label_only(label: list[object]) -> None:
    """Not to a feature that has that value."""
    known = table(answer=PICK.choices(["maybe", "yes"], k=ROWS), y=label)
    write(known, Path("t.csv"))
    with pytest.raises(UsageError, match="the inferred label column `y` has no value `yes`") as failure:
        draft("t.csv", positive=["yes"])
    assert all(f"`{value}`" in str(failure.value.hint) for value in set(label))
    assert "`--label`" in str(failure.value.hint)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_positive_numbers_are_given(tmp_path: Path, ending: str) -> None:
    grades = PICK.choices([1, 2, 3], k=ROWS)
    write(table(grade=grades), tmp_path / f"t{ending}")
    result = draft(f"t{ending}", label="grade", positive=["1", "3"])
    assert spec_of(result).label == "grade IN (1, 3)"
    positives = sum(split.positives for split in prepared(result, tmp_path).splits.values())
    assert positives == sum(grade != 2 for grade in grades)


def test_a_label_in_sql(tmp_path: Path) -> None:
    """Numbers in text are compared as numbers, and the columns of the SQL are not features."""
    stars = [PICK.choice([None, 1, 2, 3, 5, 10]) for _ in range(ROWS)]
    write(table(stars=stars), tmp_path / "t.csv")
    result = draft("t.csv", label="stars >= 3 AND sex = 'F'")
    assert set(uses(result)) == {"age", "hours"}
    expected = sum(
        star is not None and star >= 3 and sex == "F" for star, sex in zip(stars, table()["sex"], strict=True)
    )
    assert sum(split.positives for split in prepared(result, tmp_path).splits.values()) == expected


@pytest.mark.parametrize(
    ("label", "positive", "words", "hint"),
    [
        ("readmited", [], "has no column `readmited`", "readmitted"),
        ("readmitted", ["<31"], "`readmitted` has no value `<31`", "it has `NO`, `>30`, `<30`"),
        ("readmitted = 'never'", [], "is 0 in 4,000 rows", "must be 1 in some rows"),
        ("readmitted >", [], "has no column", "`readmitted`"),
        ("nosuch(readmitted) = 1", [], "nosuch", None),
        (
            "readmitted = 'NO'",
            ["NO"],
            "`--positive` requires a label that is a column",
            "write the comparison",
        ),
    ],
)
def test_an_invalid_label_is_an_error(label: str, positive: list[str], words: str, hint: str | None) -> None:
    write(table(readmitted=READMITTED), Path("t.csv"))
    with pytest.raises(UsageError) as failure:
        draft("t.csv", label=label, positive=positive)
    assert words in str(failure.value)
    assert hint is None or hint in str(failure.value.hint)


def test_the_hint_without_a_label_suggests_grades() -> None:
    """The suggested SQL works."""
    rows = "".join(f"{i % 40}\t{i % 31}\t{1 + i % 5}\t{9 * 10**8 + 7 * i}\n" for i in range(400))
    Path("u.data").write_text(rows)
    with pytest.raises(UsageError) as failure:
        draft("u.data")
    assert "--label 'column_3 >= 4'" in str(failure.value.hint)
    assert spec_of(draft("u.data", label="column_3 >= 4")).label == "column_3 >= 4"
