"""The dataset recipe: what it accepts, what it refuses, and in which words."""

from typing import Any

import pytest

from wukongctl.config import library, loading
from wukongctl.config.dataset import ByHash, DatasetSpec, Generator
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
  - {type: numeric, columns: [price], transform: log1p}
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


@pytest.mark.parametrize("name", library.names("datasets"))
def test_shipped_recipes(name: str) -> None:
    path = library.find(name, "datasets")
    made = loading.load(path, DatasetSpec)
    assert made.name == name
    assert path.read_text().startswith(f"# wukongctl prepare {name}\n# ")
    if made.generator is None:
        assert made.license is not None
        assert made.citation is not None
        assert made.downloads
        assert all(d.urls[0].startswith("https://") for d in made.downloads.values())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("split: {by: hash, key: user, ratio: {train: 8, test: 2}}", "", "`rows` and `split` go together"),
        (
            "rows: SELECT",
            "splits: {train: SELECT 1}\nrows: SELECT",
            "give either `rows` with `split`, or `splits`",
        ),
        ("train: 8", "valid: 8", "there must be a `train` split"),
        ("[user, item]", "[user, user]", "feature `user` is listed twice"),
        ("[user, item]", "[user, item, label]", "a feature may not be called `label`"),
        ("shares: item", "shares: price", "`shares: price` is not a categorical feature"),
        ("'{clicks.csv}'", "'{click.csv}'", "the SQL reads `{click.csv}`, which is not listed under `files`"),
        ("label: clicked", "label: clicked\ncardinalities: {usr: 5}", "`cardinalities` names `usr`"),
        ("min_count: 3", "min_count: 0", "greater than 0"),
        ("by: hash, key: user", "by: hsh, key: user", "`split.by` is `hsh`"),
        ("transform: log1p", "transform: log", "`features.2.transform` is `log`"),
        ("files: {clicks.csv: {}}", "files: {clicks.csv: {md5: abc}}", "match pattern"),
    ],
)
def test_mistakes_are_named(old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    found = problems(MINIMAL.replace(old, new))
    assert found
    assert any(message in problem for problem in found)
    assert found[0].startswith("own.yaml:")


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
