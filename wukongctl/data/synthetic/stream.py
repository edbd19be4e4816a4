"""Train rows drawn while training: what a reader of their Parquet files would read, to the bit.

Preparation writes a code book per column, the encoded value for every generated one, so that a chunk of
rows costs little more than drawing it. Drawing is safe in several threads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.manifest import Manifest, damaged
from wukongctl.data.synthetic import generate
from wukongctl.data.synthetic.generate import CHUNK

FOLDER = "codes"


HEAD = 16 * CHUNK
"""Train rows that are stored, for statistics."""


class DrawnRows:
    """The train rows of a prepared dataset, by chunk."""

    def __init__(self, folder: Path, manifest: Manifest, names: Sequence[str]) -> None:
        """`names` are the columns of a packed row."""
        spec = DatasetSpec.from_dict(manifest.recipe).generator
        assert spec is not None
        self.seed, self.teacher = spec.seed, generate.teacher(spec)
        fields = {name: field for field, name in enumerate(spec.columns)}
        origins = {feature.name: feature.of or feature.name for feature in manifest.features}
        self.names = names
        self.codes = {name: _codes(folder, name) for name in names if name in origins}
        self.fields: Mapping[str, int] = {name: fields[origins[name]] for name in self.codes}

    def columns(self, index: int) -> list[np.ndarray]:
        """The int32 bits of each column of chunk `index`, (CHUNK,)."""
        values, label, p = generate.draw(self.teacher, self.seed, index)
        floats = {"label": label, "probability": p}
        return [
            self.codes[name][values[self.fields[name]]]
            if name in self.codes
            else floats[name].astype(np.float32).view(np.int32)
            for name in self.names
        ]


def stored(ends: Sequence[int]) -> list[range]:
    """The rows that a preparation stores, given where each split ends: of train the first chunks only."""
    return [range(min(ends[0], HEAD)), range(ends[0], ends[-1])]


def stored_ends(ends: Sequence[int]) -> tuple[int, ...]:
    """Where each split ends among the stored rows."""
    return tuple(end - max(ends[0] - HEAD, 0) for end in ends)


def file_of(folder: Path, column: str) -> Path:
    """The code book of a column in a prepared dataset."""
    return folder / FOLDER / f"{column}.npy"


def _codes(folder: Path, column: str) -> np.ndarray:
    path = file_of(folder, column)
    try:
        return np.load(path, allow_pickle=False).view(np.int32)
    except (OSError, ValueError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None
