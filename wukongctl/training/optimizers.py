"""One optimizer for dense weights, one for the embedding tables.

The row-wise optimizers here update only the rows that a batch used, once each, from the sum of their
gradients: the cost of a step does not depend on the size of the table.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag
from torch.optim import Adam, Optimizer

from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.config.suggestions import did_you_mean
from wukongctl.config.training import AdamSpec, LazyAdamSpec, OptimizerSpec, RowwiseAdagradSpec
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables

OptimizerState = dict[str, Tensor]
GroupOptions = dict[str, Any]


class RowOptimizer(Optimizer):
    """Base of optimizers for sparse gradients: finds the rows, sums their gradients, writes them back.

    With `l2`, λ/2 ‖w‖² of every row that the batch used is part of the loss; other rows do not shrink.
    Tables in bfloat16 are updated in float32 and rounded stochastically: rounding to nearest would drop
    every update below 1/256 of a weight, this way each arrives in expectation.

    On a GPU nothing here waits for the device: all shapes follow from the size of the batch.
    """

    found_inf: Tensor | None = None
    """() float32 on the device, 1 to leave the next step out; the convention of torch's own optimizers."""

    def __init__(self, params: Sequence[Tensor], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        for group in self.param_groups:
            for table in group["params"]:
                self.state[table] = self._new_state(table)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the rows that the last backward pass touched."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore exactly: torch would round the state to the precision of the tables."""
        super().load_state_dict(state_dict)
        tables = [table for group in self.param_groups for table in group["params"]]
        for index, table in enumerate(tables):
            state = state_dict["state"][index]
            self.state[table] = {name: value.to(table.device, copy=True) for name, value in state.items()}

    def _update(self, table: Tensor, gradient: Tensor, group: GroupOptions) -> None:
        rows, summed, place = sum_rows(gradient)
        stored = table.index_select(0, rows)
        weights = stored.float() if stored.dtype == torch.bfloat16 else stored
        if group["l2"]:
            summed.add_(weights, alpha=group["l2"])
        weights = weights - self._change(rows, summed, self.state[table], group)
        if stored.dtype == torch.bfloat16:
            weights = round_stochastically(weights, place)
        self._replace(table, rows, stored, weights)

    def _replace(self, table: Tensor, rows: Tensor, old: Tensor, new: Tensor) -> None:
        """Write `new` over `old` in some rows, unless this step is left out."""
        if self.found_inf is not None:
            new = torch.where(self.found_inf.bool(), old, new)
        table.index_copy_(0, rows, new)

    @abstractmethod
    def _new_state(self, table: Tensor) -> OptimizerState:
        """Initial state of a table."""

    @abstractmethod
    def _change(
        self, rows: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> Tensor:
        """What to subtract from `rows` of the table, (rows, D); updates the state."""


class RowwiseAdagrad(RowOptimizer):
    """AdaGrad with one accumulator per row: s_r += mean(g_r²), w_r -= lr g_r / (sqrt(s_r) + eps)."""

    def __init__(self, params: Sequence[Tensor], *, lr: float, eps: float, l2: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "l2": l2})

    def _new_state(self, table: Tensor) -> OptimizerState:
        return {"sum": torch.zeros(len(table), device=table.device)}

    def _change(
        self, rows: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> Tensor:
        before = state["sum"].index_select(0, rows)
        accumulated = before + gradient.square().mean(1)
        self._replace(state["sum"], rows, before, accumulated)
        return gradient * (group["lr"] / (accumulated.sqrt() + group["eps"])).unsqueeze(1)


class LazyAdam(RowOptimizer):
    """Adam on the rows a batch used; the moments of other rows do not change (as in torch's SparseAdam)."""

    def __init__(
        self, params: Sequence[Tensor], *, lr: float, betas: tuple[float, float], eps: float, l2: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "l2": l2})

    def _new_state(self, table: Tensor) -> OptimizerState:
        moments = {name: torch.zeros(table.shape, device=table.device) for name in ("mean", "square")}
        return {"step": torch.zeros((), device=table.device), **moments}

    def _change(
        self, rows: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> Tensor:
        first, second = group["betas"]
        state["step"] += 1 if self.found_inf is None else 1 - self.found_inf
        step = state["step"].double()
        mean_before = state["mean"].index_select(0, rows)
        square_before = state["square"].index_select(0, rows)
        mean = mean_before.lerp(gradient, 1 - first)
        square = square_before.lerp(gradient.square(), 1 - second)
        self._replace(state["mean"], rows, mean_before, mean)
        self._replace(state["square"], rows, square_before, square)
        scale = group["lr"] * (1 - second**step) ** 0.5 / (1 - first**step)
        return mean.mul_(scale).div_(square.sqrt_().add_(group["eps"]))


def sum_rows(gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """A sparse gradient (R, D) → the rows it touches, ascending, the sum for each, (rows, D) float32, and
    which place holds each row's sum where the last row is repeated.

    Not on a CPU, whose rows are distinct. On a GPU as many rows come back as went in, since to count the
    distinct ones the host would have to wait: the last row is repeated with the same sum, so writing it more
    than once does no harm.
    """
    indices, values = gradient._indices()[0], gradient._values().float()
    if not len(indices):
        return indices, values, None
    if indices.device.type == "cpu":
        rows, order, starts = _group(indices)
        # Its bags are the duplicates of a row: gathers and sums in one pass.
        return rows, embedding_bag(order, values, starts, mode="sum"), None
    rows, order, starts, place = _group_without_waiting(indices)
    return rows, embedding_bag(order, values, starts, mode="sum").index_select(0, place), place


def _group(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with duplicates → distinct ones ascending, positions row by row, where each row's begin.

    Row number and position share one 64-bit key: NumPy sorts those four times as fast as torch finds
    unique rows, and the order inside a sum is always that of the batch.
    """
    indices = rows.numpy()
    bits = int(len(indices) - 1).bit_length()
    keys = (indices << bits) | np.arange(len(indices))
    keys.sort()
    sorted_rows = keys >> bits
    starts = np.flatnonzero(np.concatenate(([True], sorted_rows[1:] != sorted_rows[:-1])))
    order = keys & ((1 << bits) - 1)
    return torch.from_numpy(sorted_rows[starts]), torch.from_numpy(order), torch.from_numpy(starts)


def _group_without_waiting(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same with shapes (n,) for n rows, the last distinct one repeated, and the place of each."""
    in_order, order = rows.sort(stable=True)
    is_first = torch.ones_like(in_order, dtype=torch.bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    group = is_first.cumsum(0) - 1
    places = torch.arange(len(rows), device=rows.device)
    starts = torch.searchsorted(group, places)  # n where there is no such group: an empty bag
    place = torch.minimum(places, group[-1])
    return in_order.index_select(0, starts.index_select(0, place)), order, starts, place


def round_stochastically(weights: Tensor, place: Tensor | None = None) -> Tensor:
    """float32 → bfloat16, up or down with the odds that keep the expectation; equal places, equal noise."""
    noise = torch.randint(0, 1 << 16, weights.shape, dtype=torch.int32, device=weights.device)
    noise = noise if place is None else noise.index_select(0, place)
    return ((weights.view(torch.int32) + noise) & -(1 << 16)).view(torch.float32).to(torch.bfloat16)


def wants_sparse(spec: OptimizerSpec) -> bool:
    """Whether the embedding tables should have sparse gradients."""
    return not isinstance(spec.embedding, AdamSpec)


def build(spec: OptimizerSpec, model: Model) -> dict[str, Optimizer]:
    """{"dense": …, "embedding": …}; every parameter belongs to exactly one of them."""
    tables = embedding_tables(model)
    return {"dense": dense(spec, model), "embedding": _embedding(tables, spec.embedding)}


def dense(spec: OptimizerSpec, model: Model) -> Optimizer:
    """The optimizer of all parameters except tables, one group for each learning rate.

    Raises Mismatch for factors of weights that the model does not have.
    """
    require_factors_of_weights(spec, model)
    groups: dict[float, list[Tensor]] = {}
    for name, weight in dense_weights(model).items():
        groups.setdefault(spec.factors.get(name, 1.0), []).append(weight)
    return _adam(
        [{"params": group, "lr": spec.dense.lr * factor} for factor, group in groups.items()], spec.dense
    )


def dense_weights(model: Model) -> dict[str, Tensor]:
    """The parameters of a model except tables, by name."""
    of_tables = {id(table) for table in embedding_tables(model)}
    return {name: weight for name, weight in model.named_parameters() if id(weight) not in of_tables}


def require_factors_of_weights(spec: OptimizerSpec, model: Model) -> None:
    """Raise Mismatch for factors of what is no dense weight of the model."""
    weights = dense_weights(model)
    mistakes = [
        Mistake(
            f"`optimizer.factors` names `{name}`, which is no dense weight of the model",
            ("optimizer", "factors", name),
            did_you_mean(name, weights),
        )
        for name in spec.factors
        if name not in weights
    ]
    if mistakes:
        raise Mismatch(mistakes)


def _embedding(tables: list[Tensor], spec: AdamSpec | LazyAdamSpec | RowwiseAdagradSpec) -> Optimizer:
    match spec:
        case RowwiseAdagradSpec():
            return RowwiseAdagrad(tables, lr=spec.lr, eps=spec.eps, l2=spec.l2)
        case LazyAdamSpec():
            return LazyAdam(tables, lr=spec.lr, betas=spec.betas, eps=spec.eps, l2=spec.l2)
        case AdamSpec():
            return _adam(tables, spec)
        case _:
            assert_never(spec)


def _adam(params: Sequence[Tensor] | Sequence[GroupOptions], spec: AdamSpec) -> Adam:
    # torch's weight_decay is λ of a λ/2 ‖W‖² penalty: it enters the gradient, hence the moments too.
    return Adam(params, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.l2, fused=True)
