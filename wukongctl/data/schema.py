"""What a model may know of a dataset: the columns of a batch, and the batch itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence

if TYPE_CHECKING:  # preparing data needs no torch
    import torch
    from torch import Tensor


class Batch(NamedTuple):
    """`B` examples, column-packed.

    ids: (B, C) int32, the categorical columns, then each sequence's `max_len` columns; 0 = missing.
    dense: (B, M) float32, the numeric columns.
    labels: (B,) float32 in {0, 1}.
    probability: (B,) float32, the true click probability, only for synthetic data.
    """

    ids: "Tensor"
    dense: "Tensor"
    labels: "Tensor"
    probability: "Tensor | None" = None

    def to(self, device: "torch.device") -> "Batch":
        """The same examples on `device`; itself where they are there already."""
        if self.labels.device == device:
            return self
        probability = None if self.probability is None else self.probability.to(device)
        return Batch(self.ids.to(device), self.dense.to(device), self.labels.to(device), probability)

    def rows(self, start: int, stop: int) -> "Batch":
        """Examples `start` to `stop`, without copying."""
        span = slice(start, stop)
        probability = None if self.probability is None else self.probability[span]
        return Batch(self.ids[span], self.dense[span], self.labels[span], probability)


@dataclass(frozen=True)
class SequenceColumn:
    """One multi-valued feature: `max_len` adjacent id columns looked up in table `table`."""

    name: str
    table: int
    max_len: int
    padding: Literal["pre", "post"] = "post"
    """Zeros stand before the values, or after them."""


@dataclass(frozen=True)
class Schema:
    """Feature columns in batch order.

    `table_rows` are embedding rows per table, special ids included: one table per categorical column,
    then one per sequence that shares no categorical table. `vector_dims` says which tables are frozen:
    the dimension of their pretrained vectors, 0 for a learned table; empty when all are learned.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    sequences: tuple[SequenceColumn, ...]
    table_rows: tuple[int, ...]
    vector_dims: tuple[int, ...] = ()

    @property
    def id_columns(self) -> int:
        """C, the columns of `Batch.ids`."""
        return len(self.categorical) + sum(sequence.max_len for sequence in self.sequences)

    @property
    def embedding_rows(self) -> int:
        """Rows of all learned embedding tables together."""
        return sum(rows for table, rows in enumerate(self.table_rows) if not self.vector_dim(table))

    def vector_dim(self, table: int) -> int:
        """Dimension of the frozen vectors of `table`; 0 when it is learned."""
        return self.vector_dims[table] if self.vector_dims else 0

    @property
    def embeddings(self) -> int:
        """Embeddings per example before dense features: one per categorical, one pooled per sequence."""
        return len(self.categorical) + len(self.sequences)


def schema_from_recipe(spec: DatasetSpec) -> Schema:
    """The columns a dataset will have, from its recipe alone.

    A table whose cardinality the recipe does not tell gets the two special rows only.
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
    numeric = tuple(name for group in groups if isinstance(group, Numeric) for name in group.columns)
    return Schema(categorical, numeric, tuple(sequences), tuple(rows), tuple(dims) if any(dims) else ())
