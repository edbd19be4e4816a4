"""The dataset recipe: what it accepts, what it refuses, and in which words."""

import re
from typing import Any

import pytest

from wukongctl.config import library, loading
from wukongctl.config.dataset import ByHash, DatasetSpec
from wukongctl.config.generator import Generator
from wukongctl.config.positions import parse
from wukongctl.errors import RecipeError

MINIMAL = """
name: own
description: a table
files: {clicks.csv: {}}
rows: SELECT * FROM read_csv('{clicks.csv}')
split: {by: hash, key: user, ratio: {train: 8, test: 2}}
label: clicked
features:
  - {type: categorical, columns: [user, item], min_count: 3}
  - {type: sequence, columns: [history], separator: ",", max_len: 5, shares: item}
  - {type: numeric, columns: [price], transform: log1p, standardize: false}
"""


def spec(text: str = MINIMAL, **replaced: str) -> DatasetSpec:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return loading.validate(parse(text, "own.yaml"), DatasetSpec)


def problems(text: str) -> list[str]:
    with pytest.raises(RecipeError) as failure:
        spec(text)
    return [str(problem) for problem in failure.value.problems]


def test_minimal_recipe() -> None:
    made = spec()
    assert isinstance(made.split, ByHash)
    assert [name for name, _ in made.columns] == ["user", "item", "history", "price"]
    assert made.categorical == ("user", "item")
    assert DatasetSpec.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(("rows", "found"), [(3, "valid"), (6, "test"), (9, "test")])
def test_too_few_generated_rows_are_a_mistake_of_the_recipe(rows: int, found: str) -> None:
    text = library.find("synthetic", "datasets").read_text().replace("rows: 300000", f"rows: {rows}")
    assert problems(text) == [f"own.yaml:8:3: {rows} rows leave split `{found}` empty, 10 fill every one"]
    assert spec(text.replace(f"rows: {rows}", "rows: 10")).generator == Generator(
        rows=10, rank=2, variance={"order2": 5.0, "order4": 2.0, "order8": 0.0}
    )


@pytest.mark.parametrize("name", library.names("datasets"))
def test_shipped_recipes(name: str) -> None:
    path = library.find(name, "datasets")
    made = loading.load(path, DatasetSpec)
    assert made.name == name
    assert re.match(rf"# wukongctl prepare {re.escape(name)}( --source \S+)?\n# ", path.read_text())
    if made.generator is None:
        assert made.license is not None
        assert made.citation is not None
        assert made.downloads or made.instructions
        assert all(d.urls[0].startswith("https://") for d in made.downloads.values())


SPLIT = "split: {by: hash, key: user, ratio: {train: 8, test: 2}}"
APART = "splits: {train: SELECT 1, test: SELECT 2}\n"
ROWS = "rows: SELECT * FROM read_csv('{clicks.csv}')\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SPLIT, "", "5:1: `rows` needs a `split`"),
        (ROWS, "", "2:1: give either `rows` with `split`, or `splits`"),
        (ROWS, APART + ROWS, "5:1: give either `rows` with `split`, or `splits`"),
        ("train: 8", "valid: 8", "6:30: there must be a `train` split"),
        ("by: hash", "of: train, by: hash", "6:9: `of` is for a `split` beside `splits`"),
        (ROWS, APART, "6:48: `test` is in `splits` and in `split.ratio`"),
        (ROWS + SPLIT, APART + "split: {by: column, column: part}", "6:9: a `column` cannot divide"),
        (ROWS + SPLIT, APART + "split: {of: valid, by: order, ratio: {valid: 1}}", "no `valid` in `splits`"),
        ("[user, item]", "[user, user]", "9:41: feature `user` is listed twice"),
        ("[user, item]", "[user, item, label]", "9:47: a feature may not be called `label`"),
        ("label: clicked", 'label: "\\"User\\""', "feature `user` is the label itself"),
        ("shares: item", "shares: price", "10:70: `shares: price` is not a categorical feature"),
        (
            "'{clicks.csv}'",
            "'{click.csv}'",
            "5:1: the SQL reads `{click.csv}`, which is not listed under `files`",
        ),
        ("min_count: 3", "pretrained: {file: v.h5, dim: 4}", "`v.h5` is not listed under `files`"),
        ("shares: item", "shares: item, pretrained: {file: clicks.csv, dim: 4}", "its vectors from there"),
        ("label: clicked", "label: clicked\ncardinalities: {usr: 5}", "8:17: `cardinalities` names `usr`"),
        ("min_count: 3", "min_count: 0", "expected more than 0"),
        ("by: hash, key: user", "by: hsh, key: user", "`split.by` is `hsh`"),
        ("transform: log1p", "transform: log", "`features.2.transform` is `log`"),
        ("files: {clicks.csv: {}}", "files: {clicks.csv: {md5: abc}}", "expected 32 digits"),
    ],
)
def test_mistakes_are_named(old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    found = problems(MINIMAL.replace(old, new))
    assert any(message in problem for problem in found), found
    assert found[0].startswith("own.yaml:")


def test_vectors_come_from_one_file() -> None:
    text = MINIMAL.replace("{clicks.csv: {}}", "{clicks.csv: {}, '*.h5': {}}")
    (found,) = problems(text.replace("min_count: 3", "pretrained: {file: '*.h5', dim: 4}"))
    assert found.endswith("vectors come from one file, not from a pattern")


def test_a_split_beside_splits_divides_train_unless_told() -> None:
    text = MINIMAL.replace(ROWS + SPLIT, APART + "split: {by: hash, key: user, ratio: {train: 9, valid: 1}}")
    assert spec(text).divided == "train"
    text = MINIMAL.replace(ROWS + SPLIT, APART + "split: {of: test, by: order, ratio: {valid: 1, test: 1}}")
    assert spec(text).divided == "test"
    assert spec().divided is None


def test_generator_needs_fields_for_its_orders() -> None:
    with pytest.raises(ValueError, match="at least 8 `fields`"):
        Generator(rows=5, fields=6)
    assert Generator(rows=5, fields=6, variance={"order2": 1.0}).fields == 6
    with pytest.raises(ValueError, match="max_values"):
        Generator(rows=5, min_values=9, max_values=3)


def test_content_digest_ignores_words_and_mirrors_only() -> None:
    def digest(**changes: Any) -> str:
        return DatasetSpec.from_dict(spec().to_dict() | changes).content_digest()

    same = digest()
    assert digest(description="other", citation="x", cardinalities={"user": 9}) == same
    assert digest(downloads={"a.zip": {"urls": ["https://example.org/a.zip"]}}) == same
    assert digest(expect={"total": {"rows": 4}}) == same
    assert digest(label="1 - clicked") != same
    assert digest(rows="SELECT 1") != same
    assert digest(split={"by": "order", "ratio": {"train": 1}}) != same
    assert digest(files={"clicks.csv": {"md5": "0" * 32}}) != same
