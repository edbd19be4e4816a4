"""Frozen vectors of a prepared dataset: memory-mapped, checked, never modified."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.test_manifest import folder as folder  # noqa: PLC0414 the fixture, used by its name
from wukongctl.data import manifest, vectors
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Schema
from wukongctl.errors import RunFailed


@pytest.fixture
def with_vectors(folder: Path) -> tuple[Path, Manifest]:
    """The prepared dataset with 3-dimensional vectors for `a`, whose table the sequence `s` shares."""
    prepared = manifest.read(folder)
    (folder / "vectors").mkdir()
    np.save(folder / "vectors" / "a.npy", np.arange(18, dtype=np.float32).reshape(6, 3))
    features = [
        f.model_copy(update={"vectors": "vectors/a.npy", "vector_dim": 3}) if f.name == "a" else f
        for f in prepared.features
    ]
    prepared.model_copy(update={"features": tuple(features)}).write(folder)
    return folder, manifest.read(folder)


def test_a_frozen_table_is_loaded_and_named_in_the_schema(
    with_vectors: tuple[Path, Manifest],
) -> None:
    folder, prepared = with_vectors
    assert prepared.schema().vector_dims == (3,)
    assert prepared.schema().embedding_rows == 0
    (loaded,) = vectors.load(folder, prepared).values()
    assert loaded.tolist() == np.arange(18).reshape(6, 3).tolist()
    loaded[0, 0] = 7  # private: the file keeps what it has
    assert vectors.load(folder, prepared)[0][0, 0] == 0


def test_a_dataset_without_vectors_has_none(folder: Path) -> None:
    prepared = manifest.read(folder)
    assert vectors.load(folder, prepared) == {}
    assert prepared.schema().vector_dims == ()
    assert Schema(("a",), (), (), (3,)).vector_dim(0) == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "is missing"),
        (b"", "is not a NumPy array"),
        (np.zeros((6, 4), np.float32), r"holds float32 \(6, 4\) instead of float32 \(6, 3\)"),
        (np.zeros((6, 3)), r"holds float64 \(6, 3\) instead of float32 \(6, 3\)"),
    ],
)
def test_a_file_that_does_not_match_the_manifest_is_an_error(
    with_vectors: tuple[Path, Manifest], content: object, problem: str
) -> None:
    folder, prepared = with_vectors
    path = folder / "vectors" / "a.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(RunFailed, match=problem) as error:
        vectors.load(folder, prepared)
    assert error.value.hint == "prepare the dataset again with `--force`"
