"""Embedding tables without memory, whose initial rows are drawn later, where they will lie.

They are the rows that the table would have had: normal numbers in the same order from the same generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wukongctl.models.numbers import initialize

BLOCK = 1 << 24
"""Numbers drawn at a time."""
VECTOR = 16
"""torch draws normal numbers in groups of 16; blocks that are multiples give those of the whole."""

_DEFERRED: ContextVar[bool] = ContextVar("deferred", default=False)


@contextmanager
def deferred_tables() -> Iterator[None]:
    """Models that are built meanwhile get tables on the meta device, and `InitialRows` beside each."""
    token = _DEFERRED.set(True)
    try:
        yield
    finally:
        _DEFERRED.reset(token)


@dataclass(frozen=True)
class InitialRows:
    """The (R, D) initial weights of a table, from the state that torch's generator had for them."""

    rows: int
    width: int
    std: float
    linear: bool
    state: Tensor

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The first row of each block, and its rows; torch's own generator does not move."""
        generator = torch.Generator()
        generator.set_state(self.state)
        yield from _draw(self, generator)


def new_table(
    rows: int, width: int, *, std: float, linear: bool, sparse: bool
) -> tuple[nn.Embedding, InitialRows | None]:
    """An initialized (R, D) table; without memory, and with its initial rows, where those are deferred."""
    deferred = _DEFERRED.get()
    # Allocated empty: torch would initialize it, and `initialize` does so again.
    weight = torch.empty(rows, width, device="meta" if deferred else None)
    table = nn.Embedding(rows, width, sparse=sparse, _weight=weight)
    if not deferred:
        initialize(table.weight, std, linear=linear)
        return table, None
    initial = InitialRows(rows, width, std, linear, torch.get_rng_state())
    for _ in _draw(initial, torch.default_generator):  # what is drawn next must not depend on the table
        pass
    return table, initial


def _draw(table: InitialRows, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    step = max(VECTOR, BLOCK // table.width // VECTOR * VECTOR)
    starts = list(range(0, table.rows, step))
    if len(starts) > 1 and (table.rows - starts[-1]) * table.width < VECTOR:
        del starts[-1]  # torch draws fewer numbers in another way
    for start, stop in zip(starts, [*starts[1:], table.rows], strict=True):
        block = torch.empty(stop - start, table.width).normal_(std=table.std, generator=generator)
        if table.linear:
            block[:, -1].zero_()
        yield start, block
