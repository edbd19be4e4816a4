"""Frozen vectors of a prepared dataset, memory-mapped."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wukongctl.data.manifest import Feature, Manifest, damaged


def load(folder: Path, manifest: Manifest) -> dict[int, Tensor]:
    """Table → (rows, dim) float32 vectors; empty if all embeddings are learned.

    Raises RunFailed if a file is missing or does not match the manifest.
    """
    frozen = {f.table: f for f in manifest.features if f.table is not None and f.vectors is not None}
    return {table: _map(folder, feature) for table, feature in frozen.items()}


def _map(folder: Path, feature: Feature) -> Tensor:
    path = folder / str(feature.vectors)
    if not path.is_file():
        raise damaged(path, "is missing")
    try:
        # Copy on write: torch requires writable memory, and the file must not change.
        vectors = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise damaged(path, "is not a NumPy array") from None
    expected = (feature.rows, feature.vector_dim)
    if vectors.shape != expected or vectors.dtype != np.float32:
        raise damaged(path, f"holds {vectors.dtype} {vectors.shape} instead of float32 {expected}")
    return torch.from_numpy(vectors)
