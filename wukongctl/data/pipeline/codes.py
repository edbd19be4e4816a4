"""The code books of a streamed train split: the encoded value of every generated one (`synthetic.stream`)."""

from pathlib import Path

import numpy as np

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.data.manifest import SPECIAL_IDS
from wukongctl.data.pipeline import declared, numbers, vocabulary
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.synthetic import stream
from wukongctl.data.synthetic.spectrum_teacher import LEVELS


def write(spec: DatasetSpec, encoders: Encoders, folder: Path) -> None:
    """Write the code books into the dataset in `folder`, which has its vocabularies."""
    (folder / stream.FOLDER).mkdir(exist_ok=True)
    for name, codes in _books(spec, encoders, folder).items():
        np.save(stream.file_of(folder, name), codes)


def _books(spec: DatasetSpec, encoders: Encoders, folder: Path) -> dict[str, np.ndarray]:
    books = {}
    for index, (name, group) in enumerate(spec.columns):
        if isinstance(group, Numeric):
            levels = declared.levels(group, np.arange(LEVELS))
            books[name] = numbers.scalar(levels, encoders[index]).to_numpy()
            added = group.encoded(name)
            if added is not None:
                books[added] = numbers.encoded(levels, group, encoders[index]).to_numpy()
        else:
            values = vocabulary.read(folder / vocabulary.file_name(name)).to_pylist()
            order = np.array([int(value) for value in values])
            books[name] = np.empty(len(order), np.int32)
            books[name][order] = np.arange(len(order)) + SPECIAL_IDS
    return books
