"""Matrices of which each process holds some shards, or which lie in the files of a checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1 << 24
"""Numbers in a block at most: what is written or read at a time."""


class Shard(NamedTuple):
    """(rows, columns) numbers, the first of which is at `row`, `column` of the full matrix."""

    tensor: Tensor
    row: int = 0
    column: int = 0

    def blocks(self) -> Iterator["Shard"]:
        """The shard in parts of at most `BLOCK` numbers."""
        rows, columns = self.tensor.shape
        step = max(1, BLOCK // max(columns, 1))
        for start in range(0, rows, step):
            yield Shard(self.tensor[start : start + step], self.row + start, self.column)


@dataclass(frozen=True)
class Shards:
    """This process's shards of an (R, C) float32 matrix; those of all processes cover it once."""

    shape: tuple[int, int]
    local: tuple[Shard, ...]

    def on_host(self) -> "Shards":
        """A copy in the host's memory, which may not be complete until the device is synchronized."""
        copies = [shard.tensor.to("cpu", non_blocking=True, copy=True) for shard in self.local]
        local = [shard._replace(tensor=copy) for shard, copy in zip(self.local, copies, strict=True)]
        return replace(self, local=tuple(local))

    @torch.no_grad()
    def fill(self, source: "Tensor | StoredMatrix") -> None:
        """Copy this process's part of a full matrix into the shards."""
        if isinstance(source, StoredMatrix):
            source.read(self)
            return
        for tensor, row, column in self.local:
            tensor.copy_(source[row : row + tensor.shape[0], column : column + tensor.shape[1]])


@dataclass(frozen=True)
class StoredMatrix:
    """An (R, C) float32 matrix in files. `read` fills shards of it; it raises RunFailed if that fails."""

    shape: tuple[int, int]
    read: Callable[[Shards], None]

    def full(self) -> Tensor:
        """(R, C)."""
        matrix = torch.empty(self.shape)
        self.read(Shards(self.shape, (Shard(matrix),)))
        return matrix


def full(matrix: Tensor | StoredMatrix) -> Tensor:
    """A matrix in memory, wherever it was."""
    return matrix.full() if isinstance(matrix, StoredMatrix) else matrix
