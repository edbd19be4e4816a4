"""Pretrained vectors: three file formats, keys of any type, and errors."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_prepare import columns, own, problems, run
from wukongctl.config.dataset import Pretrained
from wukongctl.data.pipeline import pretrained
from wukongctl.errors import RunFailed, UsageError, WukongError

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


def hdf5(path: Path, key: Any, value: Any = VALUES) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("key", data=key)
        file.create_dataset("value", data=value)


def parquet(path: Path, key: Any, value: Any = VALUES) -> None:
    pq.write_table(pa.table({"key": list(key), "value": [list(row) for row in value]}), path)


def recipe(file: str, **changes: Any) -> Any:
    return own(
        files={"clicks.csv": {}, file: {}},
        features=[
            {"type": "categorical", "columns": ["a"], "pretrained": {"file": file, "dim": 3} | changes},
            {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 3, "shares": "a"},
        ],
    )


@pytest.mark.parametrize("name", ["v.h5", "v.npz", "v.parquet"])
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    key = np.array([7, 5, 9, 30])
    if name.endswith("h5"):
        hdf5(tmp_path / name, key)
    elif name.endswith("npz"):
        np.savez(tmp_path / name, key=key, value=VALUES)
    else:
        parquet(tmp_path / name, key)
    (tmp_path / "clicks.csv").write_text("label,a,s\n1,5,30^8\n0,8,\n1,5,5\n0,5,7\n1,9,5^6\n0,30,9\n")
    prepared = run(recipe(name), tmp_path, tmp_path / "out")
    # Of train: 5 (four times), 8 (twice), 30, 7; then the other keys in the order of the file.
    known = pq.read_table(tmp_path / "out/own/vocab/a.parquet").to_pydict()
    assert known == {"value": ["5", "8", "30", "7", "9"], "id": [2, 3, 4, 5, 6], "count": [4, 2, 1, 1, 0]}
    table = np.load(tmp_path / "out/own/vectors/a.npy")
    assert table.tolist() == [[0] * 3, [0] * 3, [3, 4, 5], [0] * 3, [9, 10, 11], [0, 1, 2], [6, 7, 8]]
    assert columns(tmp_path / "out", prepared)["test"] == {"label": [1, 0], "a": [6, 4], "s": [[2, 1], [6]]}
    a, s = prepared.features
    assert (a.vectors, a.vector_dim, a.rows) == (s.vectors, s.vector_dim, s.rows) == ("vectors/a.npy", 3, 7)
    assert prepared.schema().vector_dims == (3,)
    assert problems(prepared) == ("`vectors/a.npy`: values of train without a vector, which is zero: 1",)


def test_vectors_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("label,a,s\n1,5,\n0,7,\n1,5,\n")
    hdf5(tmp_path / "v.h5", [5, 7, 9, 8])
    first = run(recipe("v.h5"), tmp_path, tmp_path / "out")
    hdf5(tmp_path / "v.h5", [5, 7, 9, 8], VALUES + 1)
    with pytest.raises(UsageError, match="from other raw files"):
        run(recipe("v.h5"), tmp_path, tmp_path / "out")
    assert run(recipe("v.h5"), tmp_path, tmp_path / "out", force=True).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (np.array([b"x", "é".encode()]), ["x", "é"]),
        (np.array([1.0, 20.0]), ["1", "20"]),
        (np.array([-1, 2**40]), ["-1", str(2**40)]),
    ],
)
def test_keys_become_the_text_of_the_column(key: np.ndarray, text: list[str], tmp_path: Path) -> None:
    hdf5(tmp_path / "v.h5", key, VALUES[:2])
    assert pretrained.keys(tmp_path / "v.h5", Pretrained(file="v.h5", dim=3)).to_pylist() == text


@pytest.mark.parametrize(
    ("file", "changes", "kind", "message"),
    [
        ("v.h5", {"dim": 4}, UsageError, "the vectors of `v.h5` have dimension 3, the recipe says 4"),
        ("v.h5", {"key": "keys"}, UsageError, "`v.h5` has no `keys`"),
        ("v.npz", {"value": "x"}, UsageError, "`v.npz` has no `x`"),
        ("v.parquet", {"key": "k"}, UsageError, "`v.parquet` has no `k`"),
        ("v.txt", {}, UsageError, "`v.txt` is not a supported vector file"),
        ("broken.h5", {}, RunFailed, "cannot read"),
        ("broken.npz", {}, RunFailed, "cannot read"),
        ("broken.parquet", {}, RunFailed, "cannot read"),
        ("twice.h5", {}, RunFailed, "`twice.h5` has two vectors for `5`"),
        ("short.h5", {}, RunFailed, "the arrays of `short.h5` differ in length: 4 and 3"),
        ("nan.h5", {}, RunFailed, "`nan.h5` contains a non-finite vector"),
    ],
)
def test_a_bad_file_is_an_error_with_the_reason(
    file: str, changes: dict[str, Any], kind: type[WukongError], message: str, tmp_path: Path
) -> None:
    (tmp_path / "clicks.csv").write_text("label,a,s\n1,5,\n0,7,\n1,5,\n")
    key = [5, 7, 9, 8]
    hdf5(tmp_path / "v.h5", key)
    np.savez(tmp_path / "v.npz", key=key, value=VALUES)
    parquet(tmp_path / "v.parquet", key)
    for name in ("v.txt", "broken.h5", "broken.npz", "broken.parquet"):
        (tmp_path / name).write_bytes((tmp_path / "v.h5").read_bytes()[:700])
    hdf5(tmp_path / "twice.h5", [5, 7, 5, 8])
    hdf5(tmp_path / "short.h5", key, VALUES[:3])
    hdf5(tmp_path / "nan.h5", key, np.where(VALUES == 4, np.nan, VALUES))
    with pytest.raises(kind) as failure:
        run(recipe(file, **changes), tmp_path, tmp_path / "out")
    assert message in str(failure.value)
    assert not (tmp_path / "out/own").exists()
