"""The columns of a dataset as models see them, and a batch of examples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from wukongctl.config.dataset import Categorical, DatasetSpec, Sequence
from wukongctl.config.numeric import Numeric

if TYPE_CHECKING:  # preparing data needs no torch
    import torch
    from torch import Tensor


class Batch(NamedTuple):
    """`B` examples.

    ids: (B, C) int32, the categorical columns, then `max_len` columns per sequence; 0 = missing.
    dense: (B, M) float32, the numeric columns, then piecewise positions, -1 where missing.
    labels: (B,) float32 in {0, 1}.
    probability: (B,) float32, the true click probability, only for synthetic data.
    """

    ids: "Tensor"
    dense: "Tensor"
    labels: "Tensor"
    probability: "Tensor | None" = None

    def to(self, device: "torch.device") -> "Batch":
        """The same examples on `device`."""
        if self.labels.device == device:
            return self
        probability = None if self.probability is None else self.probability.to(device)
        return Batch(self.ids.to(device), self.dense.to(device), self.labels.to(device), probability)

    def rows(self, start: int, stop: int) -> "Batch":
        """Examples `start` to `stop`, without copying."""
        span = slice(start, stop)
        probability = None if self.probability is None else self.probability[span]
        return Batch(self.ids[span], self.dense[span], self.labels[span], probability)


MISSING_POSITION = -1.0
"""Position of a missing value in a piecewise column."""


@dataclass(frozen=True)
class SequenceColumn:
    """A multi-valued feature: `max_len` adjacent id columns, looked up in embedding table `table`."""

    name: str
    table: int
    max_len: int
    padding: Literal["pre", "post"] = "post"
    """Whether padding comes before or after the values."""


@dataclass(frozen=True)
class Schema:
    """Feature columns in batch order.

    `table_rows` are embedding rows per table, including special ids: one table per categorical column,
    then one per sequence that shares no categorical table. `vector_dims` are the dimensions of pretrained,
    frozen tables, 0 for learned ones; empty if all are learned. `binned` are the last columns of
    `categorical`: bins of numbers, with ids in order of value. `pieces` are counts per `piecewise` column.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    sequences: tuple[SequenceColumn, ...]
    table_rows: tuple[int, ...]
    vector_dims: tuple[int, ...] = ()
    piecewise: tuple[str, ...] = ()
    pieces: tuple[int, ...] = ()
    binned: tuple[str, ...] = ()

    @property
    def dense(self) -> tuple[str, ...]:
        """The columns of `Batch.dense`."""
        return (*self.numeric, *self.piecewise)

    @property
    def id_columns(self) -> int:
        """C, the columns of `Batch.ids`."""
        return len(self.categorical) + sum(sequence.max_len for sequence in self.sequences)

    @property
    def embedding_rows(self) -> int:
        """Total rows of the learned embedding tables."""
        return sum(rows for table, rows in enumerate(self.table_rows) if not self.vector_dim(table))

    def vector_dim(self, table: int) -> int:
        """Dimension of the frozen vectors of `table`; 0 if it is learned."""
        return self.vector_dims[table] if self.vector_dims else 0

    @property
    def embeddings(self) -> int:
        """Embeddings per example: one per categorical column, one pooled per sequence."""
        return len(self.categorical) + len(self.sequences)


def schema_from_recipe(spec: DatasetSpec) -> Schema:
    """The columns a dataset will have, from its recipe alone.

    A table of unknown cardinality gets only the two special rows; encoded numbers get the most bins or pieces
    the recipe allows.
    """
    groups = spec.features
    categorical = spec.categorical
    rows = [spec.cardinalities.get(name, 2) for name in categorical]
    dims = [
        group.pretrained.dim if group.pretrained is not None else 0
        for group in groups
        if isinstance(group, Categorical)
        for _ in group.columns
    ]
    binned = {name: _bin_rows(spec, index) for index, name, group in spec.encoded if group.has_bins}
    rows += binned.values()
    dims += [0] * len(binned)
    sequences = []
    for group in groups:
        for name in group.columns if isinstance(group, Sequence) else ():
            assert isinstance(group, Sequence)
            if group.shares is not None:
                table = categorical.index(group.shares)
            else:
                table = len(rows)
                rows.append(spec.cardinalities.get(name, 2))
                dims.append(group.pretrained.dim if group.pretrained is not None else 0)
            sequences.append(SequenceColumn(name, table, group.max_len, group.padding))
    pieces = {
        name: spec.cardinalities.get(spec.columns[index][0], group.bins)
        for index, name, group in spec.encoded
        if group.is_piecewise
    }
    return Schema(
        (*categorical, *binned),
        tuple(name for name, group in spec.numeric if group.has_scalar),
        tuple(sequences),
        tuple(rows),
        tuple(dims) if any(dims) else (),
        tuple(pieces),
        tuple(pieces.values()),
        tuple(binned),
    )


def _bin_rows(spec: DatasetSpec, index: int) -> int:
    name, group = spec.columns[index]
    assert isinstance(group, Numeric)
    most = 0 if group.encoding == "log2" else group.bins
    return spec.cardinalities.get(name, most + 2)
