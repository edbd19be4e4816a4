"""Trace a forward pass on the meta device: MACs, memory traffic, saved activations, uncounted operators.

Meta tensors have shapes without data, so models of any size can be traced. Two passes with different numbers
of rows separate the cost per example from the cost per batch, such as reading the weights.
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

ROWS = (2, 4)  # BatchNorm needs more than one example
MOVES = frozenset(
    {"cat", "stack", "clone", "copy_", "_to_copy", "embedding", "index", "index_select", "gather", "fill_",
     "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "empty", "empty_like", "arange",
     "scalar_tensor", "lift_fresh_copy", "constant_pad_nd", "_unsafe_view"}
)  # fmt: skip
"""Operators that only create or move tensors."""


@dataclass
class PassTotals:
    """Totals of one forward pass: bytes by module name, `elementwise` and `calls` by operator."""

    macs: int = 0
    """MACs counted by torch's FlopCounterMode."""
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
    """The cost of one example; mappings are by module name unless stated."""

    macs: int
    traffic: Mapping[str, Traffic]
    """Bytes read and written by a forward pass without fusion."""
    saved: Mapping[str, int]
    """Bytes saved for the backward pass, without weights."""
    looked_up: Mapping[str, int]
    """Bytes of embeddings read."""
    uncounted: Mapping[str, tuple[int, int]]
    """Operator that FlopCounterMode does not count → calls per pass, elements per example."""


def trace(model: Model, schema: Schema) -> Trace:
    """Trace `model`, which must be on the meta device and in training mode."""
    few, many = (_trace_pass(model, schema, rows) for rows in ROWS)
    step = ROWS[1] - ROWS[0]

    def slope(pick: Callable[[PassTotals], Counter[str]]) -> dict[str, int]:
        return {name: (pick(many)[name] - pick(few)[name]) // step for name in pick(many)}

    traffic = slope(lambda totals: totals.traffic)
    elements = slope(lambda totals: totals.elementwise)
    return Trace(
        macs=(many.macs - few.macs) // step,
        traffic={name: Traffic(few.traffic[name] - ROWS[0] * each, each) for name, each in traffic.items()},
        saved=slope(lambda totals: totals.saved),
        looked_up=slope(lambda totals: totals.looked_up),
        uncounted={name: (many.calls[name], each) for name, each in elements.items()},
    )


def meta_batch(schema: Schema, rows: int) -> Batch:
    """A batch of meta tensors."""
    return Batch(
        ids=torch.empty(rows, schema.id_columns, dtype=torch.int32, device="meta"),
        dense=torch.empty(rows, len(schema.dense), device="meta"),
        labels=torch.empty(rows, device="meta"),
    )


def _trace_pass(model: Model, schema: Schema, rows: int) -> PassTotals:
    totals = PassTotals()
    with ModuleTracker() as modules, FlopCounterMode(display=False) as counter:
        saving = _SavedTensors(model, modules, totals)
        hooks = torch.autograd.graph.saved_tensors_hooks(saving.pack, lambda tensor: tensor)
        with hooks, _Operators(modules, totals):
            model(meta_batch(schema, rows))
    totals.macs = counter.get_total_flops() // FORWARD_FLOP_PER_MAC
    return totals


def _module_name(modules: ModuleTracker) -> str:
    """Dotted name of the innermost running module, without the class of the root."""
    deepest = max(modules.parents - {"Global"}, key=lambda name: name.count("."), default="")
    return deepest.partition(".")[2]


class _SavedTensors:
    """Counts the storages saved by autograd, each once, under the module that saved it first."""

    def __init__(self, model: Model, modules: ModuleTracker, totals: PassTotals) -> None:
        self.modules, self.totals = modules, totals
        self.parameters = {weights.untyped_storage()._cdata for weights in model.parameters()}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.parameters and storage._cdata not in self.storages:
            self.storages[storage._cdata] = storage  # a reference, so that its address is not reused
            self.totals.saved[_module_name(self.modules)] += storage.nbytes()
        return tensor


class _Operators(TorchDispatchMode):
    """Counts the bytes and elements that every operator reads and writes."""

    def __init__(self, modules: ModuleTracker, totals: PassTotals) -> None:
        super().__init__()
        self.modules, self.totals = modules, totals

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not is_view(func):
            self._count(func, tensors_in((args, kwargs)), tensors_in(result))
        return result

    def _count(self, func: Any, read: list[Tensor], written: list[Tensor]) -> None:
        module, name = _module_name(self.modules), func._overloadpacket.__name__
        moved = sum(tensor.nbytes for tensor in (*read, *written))
        if name == "embedding":  # reads the rows it returns, not the table
            moved = read[1].nbytes + 2 * written[0].nbytes
            self.totals.looked_up[module] += written[0].nbytes
        self.totals.traffic[module] += moved
        if func._overloadpacket not in flop_registry and name not in MOVES:
            self.totals.calls[name] += 1
            self.totals.elementwise[name] += max((t.numel() for t in (*read, *written)), default=0)


def is_view(func: Any) -> bool:
    """Whether the output shares memory with an input that the operator does not write to."""
    returned = func._schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returned)


def tensors_in(tree: Iterable[Any] | Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
