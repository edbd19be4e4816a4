"""A streamed train split gives the batches of a stored one, to the bit."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.data.synthetic.streamed import RECIPE, Prepared, prepared, shrink_chunks
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.generator import Generator
from wukongctl.config.loading import parse, validate
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import read as manifest_of
from wukongctl.data.synthetic import generate, stream
from wukongctl.errors import RecipeError, RunFailed


@pytest.fixture(scope="module", autouse=True)
def _small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_chunks(patch)
        yield


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Prepared]:
    """Stored and streamed."""
    folder = tmp_path_factory.mktemp("spectrum")
    return prepared(folder, "spectrum", streamed=False), prepared(folder, "spectrum", streamed=True)


def _batches(
    dataset: Prepared, *, shuffle: bool = False, start: int = 0, threads: int = 1, epoch: int = 0
) -> list[torch.Tensor]:
    reader = BatchReader(*dataset, "train", batch_size=48, shuffle=shuffle, seed=5, threads=threads)
    return list(reader.packed(epoch, start))


def _same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@pytest.mark.parametrize(("shuffle", "threads"), list(itertools.product((False, True), (1, 3))))
def test_batches_are_those_of_the_stored_split(
    spectrum: tuple[Prepared, Prepared], shuffle: bool, threads: int
) -> None:
    stored, streamed = spectrum
    expected = _batches(stored, shuffle=shuffle)
    assert sum(map(len, expected)) == 800
    assert _same(_batches(streamed, shuffle=shuffle, threads=threads), expected)
    assert _same(_batches(streamed, shuffle=shuffle, start=7, threads=threads), expected[7:])
    assert _same(_batches(streamed, shuffle=shuffle, epoch=2), _batches(stored, shuffle=shuffle, epoch=2))


def test_other_splits_are_those_of_the_stored_dataset(spectrum: tuple[Prepared, Prepared]) -> None:
    for split in ("valid", "test"):
        stored, streamed = (
            torch.cat(list(BatchReader(*each, split, batch_size=48, shuffle=False, seed=0).packed(0)))
            for each in spectrum
        )
        assert len(streamed) == 100
        assert torch.equal(streamed, stored)


@pytest.mark.parametrize("teacher", ["pair", "anova"])
def test_every_teacher_can_be_streamed(teacher: str, tmp_path: Path) -> None:
    """Against the rows themselves: ids follow the declared distribution, which has the values in order."""
    folder, manifest = prepared(tmp_path, teacher, streamed=True)
    (table,) = [pa.Table.from_batches(generate.chunks(Generator(**manifest.recipe["generator"]), 800))]
    columns = [table[name].to_numpy() + 2 for name in ("c3", "c0", "c1", "c2", "c4")]
    floats = [table[name].to_numpy().astype(np.float32).view(np.int32) for name in ("label", "p")]
    found = torch.cat(_batches((folder, manifest))).numpy()
    assert np.array_equal(found, np.stack([*columns, *floats], axis=1))


def test_the_manifest_tells_what_is_stored(spectrum: tuple[Prepared, Prepared]) -> None:
    (_, stored), (folder, streamed) = spectrum
    train = streamed.splits["train"]
    assert (train.rows, train.streamed, [file.rows for file in train.files]) == (800, True, [128])
    assert abs(train.positives - stored.splits["train"].positives) < 5 * math.sqrt(800 * 800 / 128 / 4)
    assert not stored.splits["train"].streamed
    assert not streamed.splits["test"].streamed
    assert streamed.schema() == stored.schema()
    assert manifest_of(folder) == streamed


def test_a_missing_code_book_is_a_damaged_dataset(tmp_path: Path) -> None:
    folder, manifest = prepared(tmp_path, "pair", streamed=True)
    stream.file_of(folder, "c2").unlink()
    with pytest.raises(RunFailed, match=r"c2\.npy` cannot be read"):
        _batches((folder, manifest))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("FROM synthetic", "FROM synthetic WHERE c0 > 1", "14:1: rows taken as generated need `rows: SELECT"),
        ("label: label", "label: 1 - label", "16:1: rows taken as generated need `label"),
        ("probability: p", "probability: p / 2", "17:1: rows taken as generated need `probability"),
        ("by: order", "by: hash, key: c0", "15:1: rows taken as generated need `split.by: order`"),
        ("[c3,", "[c9,", "19:35: `c9` is not a column of the generator"),
        ("label: label", "label: label\nshuffle: {}", "17:1: rows taken as generated are not shuffled"),
        (
            "categorical,",
            "categorical, min_count: 2,",
            "generated values are not counted",
        ),
    ],
)
def test_recipes_whose_train_rows_cannot_be_streamed(old: str, new: str, found: str) -> None:
    text = RECIPE.format(name="own", teacher="pair", kind="stream", numeric="", numbers="")
    assert old in text
    with pytest.raises(RecipeError) as error:
        validate(parse(text.replace(old, new), "own.yaml"), DatasetSpec)
    assert found in "\n".join(map(str, error.value.problems))
