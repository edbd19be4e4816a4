"""Values → ids by hash tables in memory: the fast road, for vocabularies that fit."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from wukongctl.data.manifest import SPECIAL_IDS, damaged
from wukongctl.data.pipeline import vocabulary
from wukongctl.data.pipeline.vocabulary import Vocabulary

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
ENTRY_BYTES = 40
"""Roughly what a value costs in memory beside its text: offsets and a slot of a half-full hash table."""
LEAST_TOGETHER = 1 << 17
SHARE = 0.25
"""Vocabularies in memory may take this share of the memory limit; larger ones go through the disk."""


def divide(vocabularies: Mapping[int, Vocabulary], memory: int) -> tuple[dict[int, Vocabulary], ...]:
    """The vocabularies to hold in memory, smallest first as long as they fit, and the others."""
    small: dict[int, Vocabulary] = {}
    large: dict[int, Vocabulary] = {}
    free = memory * SHARE
    for index, entry in sorted(vocabularies.items(), key=lambda item: (cost(item[1]), item[0])):
        shared = any(entry.file == other.file for other in small.values())
        needed = 0 if shared else cost(entry)
        (small if needed <= free else large)[index] = entry
        free -= needed if needed <= free else 0
    return small, large


def cost(entry: Vocabulary) -> int:
    """Bytes of memory to look values up in it."""
    return entry.bytes + ENTRY_BYTES * entry.values


class LookupTable(NamedTuple):
    """A vocabulary in memory."""

    values: pa.Array
    """By id: the position of a value is its id."""
    unknown: int
    missing: int

    def ids(self, arrays: Iterable[pa.Array]) -> Iterator[np.ndarray]:
        """Ids of the values of each array, int32, and last that of no value.

        Every look-up hashes the whole vocabulary, so as many values are looked up together.
        """
        waiting: list[pa.Array] = []
        for array in arrays:
            waiting.append(array)
            if sum(map(len, waiting)) >= max(len(self.values), LEAST_TOGETHER):
                yield from self._together(waiting)
                waiting = []
        yield from self._together(waiting)

    def _together(self, arrays: list[pa.Array]) -> Iterator[np.ndarray]:
        values = pa.chunked_array(arrays, self.values.type)
        found = pc.index_in(values, value_set=self.values).fill_null(self.unknown).to_numpy()
        ends = np.cumsum([len(array) for array in arrays])
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield np.append(found[start:end], np.int32(self.missing))


def table(values: pa.Array, *, oov_last: bool) -> LookupTable:
    """Look `values` up, in id order; `oov_last` for ids as BARS has them."""
    first = [""] if oov_last else [None, ""]  # the empty text stands where no value has an id
    unknown = len(values) + SPECIAL_IDS - 1 if oov_last else 1
    by_id = pa.concat_arrays([pa.array(first, values.type), values])
    return LookupTable(by_id, unknown, unknown if oov_last else 0)


def load(vocabularies: Mapping[int, Vocabulary], folder: Path) -> dict[int, LookupTable]:
    """The vocabularies of `folder` by feature; features that share one share its values."""
    entries = {entry.file: entry.oov_last for entry in vocabularies.values()}
    tables = {file: table(vocabulary.read(folder / file), oov_last=last) for file, last in entries.items()}
    return {index: tables[entry.file] for index, entry in vocabularies.items()}


def read(dataset: Path, feature: str, *, oov_last: bool) -> LookupTable:
    """The vocabulary of a feature of a prepared dataset; raises RunFailed when it is damaged."""
    path = dataset / vocabulary.file_name(feature)
    try:
        return table(vocabulary.read(path), oov_last=oov_last)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None
