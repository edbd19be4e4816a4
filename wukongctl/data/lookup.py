"""Values → ids by hash tables in memory: the fast road, for vocabularies that fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute

from wukongctl.data import vocabulary
from wukongctl.data.manifest import SPECIAL_IDS, damaged
from wukongctl.data.vocabulary import Vocabulary

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
ENTRY_BYTES = 40
"""Roughly what a value costs in memory beside its text: offsets and a slot of a half-full hash table."""
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


class Table(NamedTuple):
    """A vocabulary in memory."""

    values: pa.Array
    """By id: the position of a value is its id."""
    unknown: pa.Scalar
    keeps_missing: bool

    def ids(self, value: Any) -> Any:
        """Ids of an array or of an expression over arrays; no value is the empty text."""
        return pc.coalesce(
            pc.index_in(value, value_set=self.values, skip_nulls=not self.keeps_missing), self.unknown
        )


def table(values: pa.Array, *, oov_last: bool) -> Table:
    """Look `values` up, in id order; `oov_last` for ids as BARS has them."""
    first = [""] if oov_last else [None, ""]  # the empty text stands where no value has an id
    unknown = len(values) + SPECIAL_IDS - 1 if oov_last else 1
    by_id = pa.concat_arrays([pa.array(first, values.type), values])
    return Table(by_id, pa.scalar(unknown, pa.int32()), keeps_missing=not oov_last)


def load(vocabularies: Mapping[int, Vocabulary], folder: Path) -> dict[int, Table]:
    """The vocabularies of `folder` by feature; features that share one share its values."""
    entries = {entry.file: entry.oov_last for entry in vocabularies.values()}
    tables = {file: table(vocabulary.read(folder / file), oov_last=last) for file, last in entries.items()}
    return {index: tables[entry.file] for index, entry in vocabularies.items()}


def read(dataset: Path, feature: str, *, oov_last: bool) -> Table:
    """The vocabulary of a feature of a prepared dataset; raises RunFailed when it is damaged."""
    path = dataset / vocabulary.file_name(feature)
    try:
        return table(vocabulary.read(path), oov_last=oov_last)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None
