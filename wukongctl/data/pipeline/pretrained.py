"""Pretrained vectors (HDF5, NumPy, Parquet) → `vectors/<feature>.npy`, whose row r is the vector of id r.

Vectors are read and written in chunks, so that memory does not grow with their number.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from wukongctl.config.dataset import Pretrained
from wukongctl.errors import RunFailed, UsageError

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
FOLDER = "vectors"
CHUNK = 1 << 18
"""Vectors in memory at a time."""


class WrittenVectors(NamedTuple):
    """The vectors of one table."""

    path: str
    """Relative to the dataset's folder."""
    digest: str
    without: int
    """Number of values without a vector, which get zeros."""


def keys(path: Path, pretrained: Pretrained) -> pa.Array:
    """The values with a vector, as text, in the order of the file.

    Raises UsageError for an unknown type of file or name, RunFailed for a damaged file or a repeated key.
    """
    found = pa.concat_arrays([_text(chunk) for (chunk,) in _chunks(path, [pretrained.key])])
    counts = pc.value_counts(found)
    if len(counts) < len(found):
        repeated = next(entry["values"] for entry in counts if entry["counts"].as_py() > 1)
        raise RunFailed(f"`{path.name}` has two vectors for `{repeated}`")
    return found


def write(
    path: Path, pretrained: Pretrained, values: pa.Array, first: int, rows: int, folder: Path, name: str
) -> WrittenVectors:
    """Write the vectors of `values`, whose ids start at `first`: (rows, dim) float32, zeros elsewhere."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    table = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.float32, shape=(rows, pretrained.dim)
    )  # zeros until written
    filled = 0
    for chunk, vectors in _chunks(path, [pretrained.key, pretrained.value]):
        positions = pc.index_in(_text(chunk), value_set=values).to_numpy(zero_copy_only=False)
        table[positions + first] = _checked(vectors, pretrained, path)
        filled += len(chunk)
    table.flush()
    hasher = hashlib.sha256()
    for start in range(0, rows, CHUNK):
        hasher.update(np.ascontiguousarray(table[start : start + CHUNK], "<f4").data)
    return WrittenVectors(name, hasher.hexdigest(), len(values) - filled)


def _checked(vectors: np.ndarray, pretrained: Pretrained, path: Path) -> np.ndarray:
    if vectors.ndim != 2 or vectors.shape[1] != pretrained.dim:
        dims = " x ".join(map(str, vectors.shape[1:])) or "single numbers"
        raise UsageError(
            f"the vectors of `{path.name}` have dimension {dims}, the recipe says {pretrained.dim}",
            hint="fix `pretrained.dim`",
        )
    if not np.isfinite(vectors).all():
        raise RunFailed(f"`{path.name}` contains a non-finite vector")
    return vectors


def _text(found: np.ndarray) -> pa.Array:
    """Keys of any type as the text of the same value in a column."""
    if found.dtype.kind == "f" and (found == np.trunc(found)).all():
        found = found.astype(np.int64)
    if found.dtype.kind in "SO":
        return pa.array([key.decode() if isinstance(key, bytes) else str(key) for key in found], pa.string())
    return pa.array(found.tolist() if found.dtype.kind == "U" else found).cast(pa.string())


def _chunks(path: Path, names: Sequence[str]) -> Iterator[list[np.ndarray]]:
    """The arrays `names` of a file, in chunks of rows."""
    readers = {".h5": _hdf5, ".hdf5": _hdf5, ".npz": _numpy, ".parquet": _parquet}
    if path.suffix not in readers:
        raise UsageError(
            f"`{path.name}` is not a supported vector file", hint=f"use one of {', '.join(readers)}"
        )
    try:
        yield from readers[path.suffix](path, names)
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFailed(f"cannot read `{path}`: {reason}") from None


def _hdf5(path: Path, names: Sequence[str]) -> Iterator[list[np.ndarray]]:
    import h5py  # used by two datasets only

    with h5py.File(path, "r") as file:
        _require(path, names, list(file))
        yield from _slices(path, [file[name] for name in names])


def _numpy(path: Path, names: Sequence[str]) -> Iterator[list[np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        _require(path, names, file.files)
        yield from _slices(path, [file[name] for name in names])


def _parquet(path: Path, names: Sequence[str]) -> Iterator[list[np.ndarray]]:
    with pq.ParquetFile(path) as file:
        _require(path, names, file.schema_arrow.names)
        for batch in file.iter_batches(CHUNK, columns=list(names)):
            yield [_array(batch.column(name)) for name in names]


def _array(column: pa.Array) -> np.ndarray:
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _slices(path: Path, arrays: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    if len({len(array) for array in arrays}) > 1:
        lengths = " and ".join(f"{len(array):,}" for array in arrays)
        raise RunFailed(f"the arrays of `{path.name}` differ in length: {lengths}")
    for start in range(0, len(arrays[0]), CHUNK):
        yield [np.asarray(array[start : start + CHUNK]) for array in arrays]


def _require(path: Path, names: Sequence[str], found: Sequence[str]) -> None:
    for name in names:
        if name not in found:
            raise UsageError(
                f"`{path.name}` has no `{name}`",
                hint=f"it has {', '.join(f'`{one}`' for one in found)}: use these names in `pretrained`",
            )
