"""One training step on the meta device, forward and backward: every operator, and the memory over time.

Unlike `tracing`, which separates what an example costs from what a batch costs, this runs the batch that one
GPU would get, and its gradients. The embedding tables themselves are left out: how many GPUs share them, and
how rows are updated, is up to the plan (`placement`).
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from wukongctl.cost.autocast import imitated_autocast
from wukongctl.cost.tracing import is_view, meta_batch, tensors_in
from wukongctl.data.schema import Schema
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables

Phase = Literal["forward", "backward"]
Kind = Literal["activation", "copy", "gradient"]


@dataclass(frozen=True)
class Operator:
    """One call of an operator: FLOP of matrix products, and bytes read and written."""

    phase: Phase
    flop: int
    bytes: int


@dataclass(frozen=True)
class Step:
    """What a step over `rows` examples does and holds, in bytes; weights and the batch are not included."""

    rows: int
    operators: tuple[Operator, ...]
    saved: int
    """Alive between forward and backward, without copies of weights."""
    peak: int
    """The most that is alive at once, without gradients of weights and copies of weights."""
    weight_copies: int
    """Weights in bfloat16, which autocast keeps until the backward pass has used them."""

    def flop(self, phase: Phase) -> int:
        """FLOP of matrix products."""
        return sum(operator.flop for operator in self.operators if operator.phase == phase)

    def seconds(self, phase: Phase, *, peak: float, bandwidth: float, launch: float) -> float:
        """Roofline without fusion: each operator is bound by its FLOP or by its bytes, plus its launch.

        `peak` in FLOP/s, `bandwidth` in bytes/s, `launch` in seconds.
        """
        return sum(
            max(operator.flop / peak, operator.bytes / bandwidth) + launch
            for operator in self.operators
            if operator.phase == phase
        )


def trace_step(model: Model, schema: Schema, rows: int, precision: str) -> Step:
    """Trace a step of `model`, which must be on the meta device and in training mode.

    `precision` is that of a recipe, or `tf32`, whose tensors are those of float32.
    """
    batch = meta_batch(schema, rows)
    recorder = _Recorder(model)
    with _tables_left_out(model), _gradient_hooks(model, recorder.keep_gradient), recorder:
        with imitated_autocast(precision, recorder.keep_copy):
            logits = model(batch)
        loss = binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="sum") / rows
        saved = recorder.alive["activation"]
        recorder.phase = "backward"
        loss.backward()
    return Step(rows, tuple(recorder.operators), saved, recorder.peak, recorder.copies)


@contextmanager
def _tables_left_out(model: Model) -> Iterator[None]:
    """The backward pass ends at what was looked up."""
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    learned = torch.empty((), device="meta", requires_grad=True)
    hooks = [
        table.register_forward_hook(lambda *passed: _Looked.apply(passed[2], learned)) for table in tables
    ]
    for table in tables:
        table.weight.requires_grad_(False)
    try:
        yield
    finally:
        for table, hook in zip(tables, hooks, strict=True):
            table.weight.requires_grad_()
            hook.remove()


class _Looked(torch.autograd.Function):
    """What was looked up, as if it depended on something learned; its gradient is discarded."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, learned: Tensor) -> Tensor:  # noqa: ARG004 the signature of torch's
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:  # type: ignore[override]  # noqa: ARG004
        return None, None


@contextmanager
def _gradient_hooks(model: Model, hook: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `hook` with each weight as soon as its gradient exists; at the end, remove all gradients."""
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    handles = [weights.register_post_accumulate_grad_hook(hook) for weights in learned]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)


class _Recorder(TorchDispatchMode):
    """Records operators, and counts the bytes of all live storages by kind."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.tables = {_address(table) for table in embedding_tables(model)}
        self.phase: Phase = "forward"
        self.operators: list[Operator] = []
        self.alive = Counter[Kind]()
        self.kinds: dict[int, Kind] = {}
        self.peak = self.copies = 0

    def keep_gradient(self, weights: Tensor) -> None:
        """Count the gradient of a weight as a gradient, no longer as an activation."""
        assert weights.grad is not None
        self._become("gradient", weights.grad)

    def keep_copy(self, copy: Tensor) -> None:
        """Count this tensor as a copy of a weight in another precision."""
        self._become("copy", copy)
        self.copies += copy.nbytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if is_view(func):
            return result
        written = tensors_in(result)
        for tensor in written:
            self._watch(tensor)
        name = func._overloadpacket.__name__
        if name == "embedding" and _address(args[0]) in self.tables:
            return result
        read = tensors_in((args, kwargs))
        moved = sum(tensor.nbytes for tensor in (*read, *written))
        if name == "embedding":  # of frozen vectors: the rows it returns, not the table
            moved = read[1].nbytes + 2 * written[0].nbytes
        count = flop_registry.get(func._overloadpacket)
        flop = 0 if count is None else int(count(*args, **kwargs, out_val=result))
        self.operators.append(Operator(self.phase, flop, moved))
        return result

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self.kinds:
            self.kinds[address] = "activation"
            self._add("activation", storage.nbytes())
            weakref.finalize(storage, self._release, address, storage.nbytes()).atexit = False

    def _release(self, address: int, size: int) -> None:
        self._add(self.kinds.pop(address), -size)

    def _become(self, kind: Kind, tensor: Tensor) -> None:
        address, size = _address(tensor), tensor.untyped_storage().nbytes()
        if address in self.kinds:
            self._add(self.kinds[address], -size)
            self.kinds[address] = kind
            self._add(kind, size)

    def _add(self, kind: Kind, size: int) -> None:
        self.alive[kind] += size
        self.peak = max(self.peak, self.alive["activation"])


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
