"""Embedding tables over several GPUs, as in `training.sharding`: bytes stored, looked up, updated and sent.

Every figure is that of the GPU with most of it. Ids travel as 64-bit numbers with a 32-bit length each, rows
and their gradients in float32, as in TorchRec's collection of pooled embeddings, where a single id is a bag
of one. With `row_wise` each GPU makes sums for the examples of all GPUs, most of them of no rows at all, and
a reduce-scatter adds them up; with `table_wise` and `column_wise` each sends only what others asked for.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch

from wukongctl.config.training import AdamSpec, LazyAdamSpec, RowwiseAdagradSpec, TrainingSpec
from wukongctl.cost.network import Collective
from wukongctl.errors import UsageError
from wukongctl.models import Model
from wukongctl.models.embeddings import Embeddings

FLOAT, ID, LENGTH = 4, 8, 4
ALIGNMENT = 4
"""Columns: FBGEMM wants rows of whole multiples of 16 bytes."""


@dataclass(frozen=True)
class TableShape:
    """The rows of one feature, or of several that share them, and the id columns that are looked up there."""

    rows: int
    width: int
    columns: int

    @property
    def weights(self) -> int:
        """Numbers in the table."""
        return self.rows * self.width

    @property
    def values(self) -> int:
        """Numbers that one example looks up."""
        return self.columns * self.width


@dataclass(frozen=True)
class Placement:
    """Bytes on one GPU, and what it sends before the forward and during or after the backward pass."""

    weights: int
    optimizer: int
    gradients: int
    exchange: int
    """Buffers of what is sent and received."""
    look_up: int
    """Read and written by the look-ups of one step."""
    update: int
    """Read and written by the update of the rows."""
    collectives: tuple[Collective, ...] = ()


def table_groups(model: Model) -> list[list[TableShape]]:
    """The tables of each `Embeddings` of a model, which may be on the meta device."""
    return [_tables(module) for module in model.modules() if isinstance(module, Embeddings)]


def _tables(module: Embeddings) -> list[TableShape]:
    rows, width = module.table.weight.shape
    edges = [*sorted(set(module.first_rows)), rows]
    return [
        TableShape(stop - start, width, module.first_rows.count(start))
        for start, stop in itertools.pairwise(edges)
    ]


def place(
    groups: Sequence[Sequence[TableShape]], recipe: TrainingSpec, gpus: int, examples: int
) -> Placement:
    """The recipe's tables on `gpus` GPUs with `examples` each; `planner` counts as `table_wise`.

    Raises UsageError for rows that TorchRec cannot divide so.
    """
    tables = [table for group in groups for table in group]
    plan = recipe.distributed.embeddings if gpus > 1 else "replicated"
    if plan != "replicated":
        for table in tables:
            _require_width(table.width, gpus if plan == "column_wise" else 1, f"{plan}` on {gpus} GPUs")
    sizes = _Sizes(recipe, gpus, examples)
    match plan:
        case "replicated":
            return sizes.replicated(tables)
        case "row_wise":
            return sizes.row_wise(tables)
        case "column_wise":
            return sizes.column_wise(tables)
        case "table_wise" | "planner":
            return sizes.table_wise(groups)
        case _:
            assert_never(plan)


def _require_width(width: int, parts: int, what: str) -> None:
    if width % (ALIGNMENT * parts):
        raise UsageError(
            f"`distributed.embeddings: {what} needs rows of a multiple of {ALIGNMENT * parts} columns, and "
            f"these have {width}",
            hint="try `--set distributed.embeddings=table_wise`",
        )


class _Sizes:
    """The bytes of each plan."""

    def __init__(self, recipe: TrainingSpec, gpus: int, examples: int) -> None:
        self.optimizer, self.gpus, self.examples = recipe.optimizer.embedding, gpus, examples
        self.everyone = gpus * examples
        self.number = getattr(torch, recipe.embedding_dtype).itemsize

    def replicated(self, tables: Sequence[TableShape]) -> Placement:
        """All tables everywhere. Row-wise optimizers exchange the gradients of rows, Adam those of tables."""
        weights, values = _sum(tables, "weights"), _sum(tables, "values")
        look_up = self.examples * values * (self.number + FLOAT)
        stored = weights * self.number
        if isinstance(self.optimizer, AdamSpec):
            sent = 2 * (self.gpus - 1) * weights * FLOAT // self.gpus
            reduced = Collective("table gradients", "ring", sent, "backward")
            copies = 2 if self.gpus > 1 else 1  # DDP's buckets
            return Placement(
                stored, 2 * FLOAT * weights, copies * FLOAT * weights, 0, look_up, 7 * FLOAT * weights,
                (reduced,),
            )  # fmt: skip
        one = self.examples * (values * FLOAT + _sum(tables, "columns") * ID)
        gathered = Collective("gradients of rows", "ring", (self.gpus - 1) * one)
        update = self.everyone * values * FLOAT + self._touched(tables, self.everyone)
        return Placement(stored, self._state(tables), self.gpus * one, 0, look_up, update, (gathered,))

    def row_wise(self, tables: Sequence[TableShape]) -> Placement:
        """Some rows of every table."""
        shards = [TableShape(-(-table.rows // self.gpus), table.width, table.columns) for table in tables]
        one, columns = self.examples * _sum(tables, "values") * FLOAT, _sum(tables, "columns")
        ids = self.examples * columns * (ID + self.gpus * LENGTH)  # a length for every GPU, mostly 0
        sent = (self.gpus - 1) * one
        return Placement(
            _sum(shards, "weights") * self.number,
            self._state(shards),
            0,
            self.gpus * one + 2 * ids,
            one // FLOAT * self.number + self.gpus * one,
            one + self._touched(shards, self.examples),
            (
                Collective("ids", "all-to-all", ids * (self.gpus - 1) // self.gpus),
                Collective("embeddings", "ring", sent),
                Collective("gradients of embeddings", "ring", sent),
            ),
        )

    def column_wise(self, tables: Sequence[TableShape]) -> Placement:
        """Some columns of every table, with an accumulator per row on each GPU."""
        shards = [TableShape(table.rows, table.width // self.gpus, table.columns) for table in tables]
        return self._by_owner([shards] * self.gpus, _sum(tables, "values"), _sum(tables, "columns"))

    def table_wise(self, groups: Sequence[Sequence[TableShape]]) -> Placement:
        """Whole tables: of each `Embeddings`, the largest first to the GPU with the fewest rows."""
        owned: list[list[TableShape]] = [[] for _ in range(self.gpus)]
        for group in groups:
            load = [0] * self.gpus
            for table in sorted(group, key=lambda table: -table.rows):
                owner = load.index(min(load))
                load[owner] += table.rows
                owned[owner].append(table)
        tables = [table for group in groups for table in group]
        return self._by_owner(owned, _sum(tables, "values"), _sum(tables, "columns"))

    def _by_owner(self, owned: Sequence[Sequence[TableShape]], values: int, columns: int) -> Placement:
        """Each GPU looks up, for all examples, in the tables that it owns."""

        def most(size: Callable[[Sequence[TableShape]], int]) -> int:
            return max(size(tables) for tables in owned)

        own_values, own_columns = (
            most(lambda tables: _sum(tables, "values")),
            most(lambda t: _sum(t, "columns")),
        )
        looked_up, received = self.everyone * own_values * FLOAT, self.examples * values * FLOAT
        ids = max(self.everyone * own_columns, self.examples * columns) * (ID + LENGTH)
        share = (self.gpus - 1) / self.gpus
        sent = int(share * max(looked_up, received))
        return Placement(
            most(lambda tables: _sum(tables, "weights")) * self.number,
            most(self._state),
            0,
            looked_up + received + 2 * ids,
            looked_up // FLOAT * (self.number + FLOAT),
            looked_up + most(lambda tables: self._touched(tables, self.everyone)),
            (
                Collective("ids", "all-to-all", int(share * ids)),
                Collective("embeddings", "all-to-all", sent),
                Collective("gradients of embeddings", "all-to-all", sent),
            ),
        )

    def _state(self, tables: Sequence[TableShape]) -> int:
        """Bytes of the optimizer's state."""
        match self.optimizer:
            case RowwiseAdagradSpec():
                return FLOAT * _sum(tables, "rows")
            case LazyAdamSpec() | AdamSpec():
                return 2 * FLOAT * _sum(tables, "weights")
            case _:
                assert_never(self.optimizer)

    def _touched(self, tables: Sequence[TableShape], examples: int) -> int:
        """Bytes of weights and state read and written by an update of as many rows as can be."""
        moved = 0
        for table in tables:
            state = 1 if isinstance(self.optimizer, RowwiseAdagradSpec) else 2 * table.width
            each = 2 * (table.width * self.number + state * FLOAT)
            moved += min(examples * table.columns, table.rows) * each
        return moved


def _sum(tables: Sequence[TableShape], size: str) -> int:
    return sum(getattr(table, size) for table in tables)
