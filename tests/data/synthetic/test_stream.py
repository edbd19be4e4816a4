"""A streamed train split gives the batches of a stored one, to the bit."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.generator import Generator
from wukongctl.config.loading import parse, validate
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.data.manifest import read as manifest_of
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.data.synthetic import generate, stream
from wukongctl.errors import RecipeError, RunFailed

RECIPE = """
name: {name}
description: generated
generator:
  rows: 1000
  {kind}: true
  teacher: {teacher}
  fields: 5
  min_values: 5
  max_values: 9
  rank: 4
  variance: {{order2: 2.0}}
  {numeric}
rows: SELECT * FROM synthetic
split: {{by: order, ratio: {{train: 8, valid: 1, test: 1}}}}
label: label
probability: p
features:
  - {{type: categorical, columns: [c3, c0, c1, c2, c4]}}
  {numbers}
"""
NUMBERS = """- {type: numeric, columns: [n0], encoding: scalar+bins, bins: 7}
  - {type: numeric, columns: [n1], encoding: piecewise, transform: log1p}
  - {type: numeric, columns: [n2], standardize: false}"""
Prepared = tuple[Path, Manifest]


@pytest.fixture(scope="module", autouse=True)
def _small_chunks() -> Iterator[None]:
    """Chunks of 64 rows, of which two are stored; pages, groups and chunks all end in different places."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("generate", "stream"):
            patch.setattr(f"wukongctl.data.synthetic.{module}.CHUNK", 64, raising=True)
        patch.setattr("wukongctl.data.pipeline.encode.CHUNK", 64)
        patch.setattr(stream, "HEAD", 128)
        yield


def _prepared(folder: Path, teacher: str, *, streamed: bool) -> Prepared:
    numeric = teacher == "spectrum"
    text = RECIPE.format(
        name=f"{teacher}-{streamed}",
        teacher=teacher,
        kind="stream" if streamed else "declared",
        numeric="numeric: 3" if numeric else "",
        numbers=NUMBERS if numeric else "",
    )
    spec = validate(parse(text, "own.yaml"), DatasetSpec)
    return folder / spec.name, prepare(spec, Options(folder, folder))


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Prepared]:
    """Stored and streamed."""
    folder = tmp_path_factory.mktemp("spectrum")
    return _prepared(folder, "spectrum", streamed=False), _prepared(folder, "spectrum", streamed=True)


def _batches(
    prepared: Prepared, *, shuffle: bool = False, start: int = 0, threads: int = 1, epoch: int = 0
) -> list[torch.Tensor]:
    reader = BatchReader(*prepared, "train", batch_size=48, shuffle=shuffle, seed=5, threads=threads)
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
    folder, manifest = _prepared(tmp_path, teacher, streamed=True)
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
    folder, manifest = _prepared(tmp_path, "pair", streamed=True)
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
