"""Splits as tables, vocabularies, and batches for a training loop."""

from collections import Counter

import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader

import wukongctl as wk
from tests.api.conftest import DATASET, Made
from wukongctl.api import batches as module
from wukongctl.errors import RecipeError, UsageError


def test_splits_are_tables_whose_ids_are_those_of_the_vocabulary(made: Made) -> None:
    dataset = wk.load("clicks", data=made.folder / "data")
    assert dataset.splits == {"train": 480, "valid": 120, "test": 120}
    assert dataset.name == "clicks"
    assert dataset.statistics is not None
    train, words = dataset.table("train"), dataset.vocabulary("user").to_pylist()
    value = {row["id"]: row["value"] for row in words}
    assert [value[id_] for id_ in train["user"].to_pylist()] == [row["user"] for row in made.rows[:480]]
    counts = Counter(row["user"] for row in made.rows[:480])
    assert {row["value"]: row["count"] for row in words} == dict(counts)
    assert dataset.table("test", columns=["price", "label"]).column_names == ["price", "label"]


def test_batches_are_the_rows_of_the_split(made: Made) -> None:
    found = made.dataset.batches("valid", batch_size=32)
    assert len(found) == 4
    ids = torch.cat([batch.ids for batch in found])
    table = made.dataset.table("valid")
    assert ids[:, 0].tolist() == table[made.dataset.schema.categorical[0]].to_pylist()
    labels = torch.cat([batch.labels for batch in found])
    assert labels.sum() == pc.sum(table["label"]).as_py()


def test_every_pass_has_another_order_which_depends_on_the_seed_alone(made: Made) -> None:
    first, again = (made.dataset.batches(batch_size=64, seed=3) for _ in range(2))
    passes = [torch.cat([batch.ids for batch in first]) for _ in range(2)]
    assert not torch.equal(*passes)
    assert first.epoch == 2
    again.epoch = 1
    assert torch.equal(torch.cat([batch.ids for batch in again]), passes[1])


def test_a_data_loader_yields_the_same_batches(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made.dataset.batches(batch_size=120)
    plain = list(found)
    found.epoch = 0
    for one, other in zip(plain, DataLoader(found, batch_size=None), strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.labels, other.labels)
    shares = []
    for worker in range(3):
        found.epoch = 0
        info = type("Worker", (), {"id": worker, "num_workers": 3})
        monkeypatch.setattr(module, "get_worker_info", lambda info=info: info)
        shares.append([batch.ids for batch in found])
    assert [len(share) for share in shares] == [2, 1, 1]
    assert torch.equal(shares[1][0], plain[1].ids)
    assert torch.equal(shares[0][1], plain[3].ids)


def test_a_dataset_that_is_not_there_has_a_hint(made: Made) -> None:
    with pytest.raises(UsageError, match="dataset `frappe` is not prepared") as error:
        wk.load("frappe")
    assert error.value.__notes__ == ["hint: run `wukongctl prepare frappe`"]
    with pytest.raises(UsageError, match="has no split `tset`"):
        made.dataset.table("tset")
    with pytest.raises(UsageError, match="has no split `tset`"):
        made.dataset.batches("tset")
    with pytest.raises(UsageError, match="`clicks` has no column `usr`"):
        made.dataset.table("train", columns=["usr"])
    with pytest.raises(UsageError, match="`price` of `clicks` has no vocabulary of its own"):
        made.dataset.vocabulary("price")


def test_a_recipe_as_a_mapping_has_its_problems_in_the_traceback() -> None:
    with pytest.raises(RecipeError) as error:
        wk.prepare(DATASET | {"lable": "clicked", "label": 3})
    assert set(error.value.__notes__) == {
        "recipe: unknown key `lable` (did you mean `label`?)",
        'recipe: `label` is `3`, expected text (write `"3"`)',
    }


def test_what_is_prepared_is_loaded(made: Made) -> None:
    again = wk.prepare(DATASET, source=made.folder, out=made.folder / "data")
    assert again.manifest == made.dataset.manifest
    assert "train 480" in repr(again)
