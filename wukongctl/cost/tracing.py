"""One forward pass on the meta device, watched: products, bytes moved, tensors saved, what no counter sees.

Tensors there have shapes and no content, so any size can be watched. Two passes with different numbers of
rows tell what belongs to an example from what belongs to a batch, such as the weights.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.module_tracker import ModuleTracker

from wukongctl.data.schema import Batch, Schema
from wukongctl.models import Model
from wukongctl.models.counts import FORWARD_FLOP_PER_MAC

ROWS = (2, 4)  # BatchNorm refuses a single example
MOVES = frozenset(
    {"cat", "stack", "clone", "copy_", "_to_copy", "embedding", "index", "index_select", "gather", "fill_",
     "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "empty", "empty_like", "arange",
     "scalar_tensor", "lift_fresh_copy", "constant_pad_nd", "_unsafe_view"}
)  # fmt: skip
"""Operators that compute nothing: they make tensors or move them."""


@dataclass
class Watched:
    """Totals of one pass by module name, in bytes; `elementwise` in elements by operator."""

    products: int = 0
    """MACs that torch's counter sees."""
    traffic: Counter[str] = field(default_factory=Counter)
    saved: Counter[str] = field(default_factory=Counter)
    looked_up: Counter[str] = field(default_factory=Counter)
    elementwise: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Traffic:
    """Bytes that one module moves: `fixed` once per batch (weights), `per_example` for every row."""

    fixed: int
    per_example: int

    def at(self, batch_size: int) -> int:
        """Bytes of one forward pass over a batch."""
        return self.fixed + self.per_example * batch_size


@dataclass(frozen=True)
class Trace:
    """What one example costs, by module name where it is a mapping."""

    macs: int
    traffic: Mapping[str, Traffic]
    """Bytes read and written by a forward pass that fuses nothing."""
    saved: Mapping[str, int]
    """Bytes that the backward pass needs, weights apart."""
    looked_up: Mapping[str, int]
    """Bytes of embeddings read."""
    uncounted: Mapping[str, tuple[int, int]]
    """Operator that FlopCounterMode does not count → calls in a pass, elements worked on per example."""


def trace(model: Model, schema: Schema) -> Trace:
    """Watch `model`, which must be on the meta device and in training mode."""
    few, many = (_watch(model, schema, rows) for rows in ROWS)
    step = ROWS[1] - ROWS[0]

    def slope(pick: Callable[[Watched], Counter[str]]) -> dict[str, int]:
        return {name: (pick(many)[name] - pick(few)[name]) // step for name in pick(many)}

    traffic = slope(lambda watched: watched.traffic)
    elements = slope(lambda watched: watched.elementwise)
    return Trace(
        macs=few.products // ROWS[0],
        traffic={name: Traffic(few.traffic[name] - ROWS[0] * each, each) for name, each in traffic.items()},
        saved=slope(lambda watched: watched.saved),
        looked_up=slope(lambda watched: watched.looked_up),
        uncounted={name: (many.calls[name], each) for name, each in elements.items()},
    )


def meta_batch(schema: Schema, rows: int) -> Batch:
    """A batch of shapes without content."""
    return Batch(
        ids=torch.empty(rows, schema.id_columns, dtype=torch.int32, device="meta"),
        dense=torch.empty(rows, len(schema.dense), device="meta"),
        labels=torch.empty(rows, device="meta"),
    )


def _watch(model: Model, schema: Schema, rows: int) -> Watched:
    watched = Watched()
    with ModuleTracker() as modules, FlopCounterMode(display=False) as counter:
        saving = _Saving(model, modules, watched)
        hooks = torch.autograd.graph.saved_tensors_hooks(saving.pack, lambda tensor: tensor)
        with hooks, _Operators(modules, watched):
            model(meta_batch(schema, rows))
    watched.products = counter.get_total_flops() // FORWARD_FLOP_PER_MAC
    return watched


def _where(modules: ModuleTracker) -> str:
    """Dotted name of the innermost module that runs, without the class of the root."""
    deepest = max(modules.parents - {"Global"}, key=lambda name: name.count("."), default="")
    return deepest.partition(".")[2]


class _Saving:
    """Counts storages that autograd keeps, each once, under the module that first saved it."""

    def __init__(self, model: Model, modules: ModuleTracker, watched: Watched) -> None:
        self.modules, self.watched = modules, watched
        self.parameters = {weights.untyped_storage()._cdata for weights in model.parameters()}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.parameters and storage._cdata not in self.storages:
            self.storages[storage._cdata] = storage  # kept, so that no later one gets the same address
            self.watched.saved[_where(self.modules)] += storage.nbytes()
        return tensor


class _Operators(TorchDispatchMode):
    """Counts what every operator reads, writes and works on."""

    def __init__(self, modules: ModuleTracker, watched: Watched) -> None:
        super().__init__()
        self.modules, self.watched = modules, watched

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self._note(func, _tensors((args, kwargs)), _tensors(made))
        return made

    def _note(self, func: Any, read: list[Tensor], written: list[Tensor]) -> None:
        where, name = _where(self.modules), func._overloadpacket.__name__
        moved = sum(tensor.nbytes for tensor in (*read, *written))
        if name == "embedding":  # reads the rows it returns, not the table
            moved = read[1].nbytes + 2 * written[0].nbytes
            self.watched.looked_up[where] += written[0].nbytes
        self.watched.traffic[where] += moved
        if func._overloadpacket not in flop_registry and name not in MOVES:
            self.watched.calls[name] += 1
            self.watched.elementwise[name] += max((t.numel() for t in (*read, *written)), default=0)


def _is_view(func: Any) -> bool:
    """Views have outputs that share memory with an input they do not write to."""
    returned = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returned)


def _tensors(tree: Iterable[Any] | Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
