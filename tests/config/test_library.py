from pathlib import Path

import pytest

from wukongctl.config import library
from wukongctl.config.formats import format_of
from wukongctl.config.loading import read, validate
from wukongctl.errors import UsageError


@pytest.mark.parametrize("name", library.names())
def test_every_shipped_recipe_is_valid(name: str) -> None:
    document = read(library.find(name))
    validate(document, format_of(set(document.value)).spec)


@pytest.mark.parametrize("name", library.names())
def test_every_shipped_recipe_begins_by_saying_what_it_is(name: str) -> None:
    """On the one line that `recipes ls` shows; of a dataset that is how to prepare it."""
    first = library.find(name).read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".") or first.startswith("# wukongctl prepare ")


@pytest.mark.parametrize("name", library.names("datasets"))
def test_a_dataset_recipe_is_named_as_its_file(name: str) -> None:
    assert read(library.find(name, "datasets")).value["name"] == name


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, not a recipe") as refused:
        library.find(str(tmp_path))
    assert "recipes ls" in str(refused.value.hint)
    (tmp_path / "mine.yaml").write_text("data: x\n")
    with pytest.raises(UsageError, match="is a folder, not a recipe") as refused:
        library.find(str(tmp_path), "datasets")
    assert refused.value.hint == f"name a file in it: `{tmp_path / 'mine.yaml'}`"


def test_names_paths_and_both_endings_find_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = library.root() / "datasets" / "frappe.yaml"
    assert library.find("frappe", "datasets") == shipped
    assert library.find("datasets/frappe") == shipped
    monkeypatch.chdir(tmp_path)  # away from a `recipes/` folder
    assert library.find("recipes/datasets/frappe.yaml") == shipped
    mine = tmp_path / "mine.yml"
    mine.write_text("data: x\n")
    assert library.find(str(mine)) == mine


def test_an_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(UsageError) as caught:
        library.find("frapp", "datasets")
    assert caught.value.hint == "did you mean `frappe`?"


@pytest.mark.parametrize("name", library.names())
def test_every_shipped_recipe_reads_back_from_its_own_dictionary(name: str) -> None:
    document = read(library.find(name))
    recipe = validate(document, format_of(set(document.value)).spec)
    assert type(recipe).from_dict(recipe.to_dict()) == recipe


def test_names_no_file_system_can_hold_are_unknown_names(tmp_path: Path) -> None:
    for name in ("x" * 300, "x" * 300 + ".yaml", "a\0b", "x/" * 5000):
        with pytest.raises(UsageError, match="there is no dataset"):
            library.find(name, "datasets")


@pytest.mark.parametrize("name", ["./nosuch.yaml", "/nosuch/at/all.yml"])
def test_a_path_without_a_file_is_no_unknown_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"there is no file `{name}`"):
        library.find(name, "datasets")


def test_a_table_is_not_taken_for_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="is a table, not a recipe") as caught:
        library.find(str(tmp_path / "clicks.csv.gz"), "datasets")
    assert f"datasets init {tmp_path / 'clicks.csv.gz'} > clicks.yaml" in str(caught.value.hint)
