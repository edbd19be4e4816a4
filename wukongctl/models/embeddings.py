"""Ids → embeddings, through one table for all features.

B batch, C id columns, N embeddings, D width, R rows of the table.
"""

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Schema


class Embeddings(nn.Module):
    """(B, C) ids → (B, N, D): one row per categorical column, the mean of its values per sequence.

    All features share one (R, D) table, each at its own offset: one look-up instead of C, and one
    sparse gradient. Id 0 means missing: an ordinary, learned row for a categorical column, left out of
    the mean for a sequence.
    """

    def __init__(
        self, schema: Schema, width: int, *, init_std: float | None = None, sparse: bool = False
    ) -> None:
        super().__init__()
        self.categorical = len(schema.categorical)
        self.lengths = tuple(sequence.max_len for sequence in schema.sequences)
        self.table = nn.Embedding(max(schema.embedding_rows, 1), width, sparse=sparse)
        nn.init.normal_(self.table.weight, std=init_std or width**-0.5)
        # Not persistent: they follow from the dataset's manifest, which a checkpoint names.
        self.register_buffer("offsets", _offsets(schema), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) integer ids → (B, N, D) embeddings."""
        vectors = self.table(ids + self.offsets)  # (B, C, D)
        if not self.lengths:
            return vectors
        parts = [vectors[:, : self.categorical]]
        start = self.categorical
        for length in self.lengths:
            mask = (ids[:, start : start + length] > 0).unsqueeze(-1).to(vectors.dtype)  # (B, L, 1)
            total = (vectors[:, start : start + length] * mask).sum(1, keepdim=True)  # (B, 1, D)
            parts.append(total / mask.sum(1, keepdim=True).clamp(min=1))
            start += length
        return torch.cat(parts, dim=1)  # (B, N, D)


def _offsets(schema: Schema) -> Tensor:
    """(C,) first row of the table that each id column looks up."""
    starts = [0]
    for rows in schema.table_rows:
        starts.append(starts[-1] + rows)
    columns = starts[: len(schema.categorical)]
    for sequence in schema.sequences:
        columns += [starts[sequence.table]] * sequence.max_len
    return torch.tensor(columns, dtype=torch.int64)
