"""One optimiser for dense weights, one for the embedding table."""

from collections.abc import Callable, Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from wukongctl.config.training import Adam as AdamSpec
from wukongctl.config.training import OptimizerSpec
from wukongctl.config.training import RowwiseAdagrad as RowwiseAdagradSpec
from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables


class RowwiseAdagrad(Optimizer):
    """AdaGrad with one accumulator per row, for the sparse gradient of an embedding table.

    For each row r that the batch used: s_r += mean(g_r²), w_r -= lr g_r / (sqrt(s_r) + eps). Rows used
    several times have their gradients summed first, so the update is exact. The cost of a step depends
    on the batch, not on the table.
    """

    def __init__(self, params: list[Tensor], *, lr: float, eps: float) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})
        for group in self.param_groups:
            for table in group["params"]:
                self.state[table]["sum"] = torch.zeros(len(table))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the rows that the last backward pass touched."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group["lr"], group["eps"])
        return loss

    def _update(self, table: Tensor, gradient: Tensor, lr: float, eps: float) -> None:
        rows, inverse = torch.unique(gradient._indices()[0], return_inverse=True)
        summed = torch.zeros(len(rows), table.shape[1]).index_add_(0, inverse, gradient._values())
        accumulator = self.state[table]["sum"]
        accumulated = accumulator[rows] + summed.square().mean(1)
        accumulator.index_copy_(0, rows, accumulated)
        table.index_add_(0, rows, summed / (accumulated.sqrt() + eps).unsqueeze(1), alpha=-lr)


def wants_sparse(spec: OptimizerSpec) -> bool:
    """Whether the embedding table should have sparse gradients."""
    return isinstance(spec.embedding, RowwiseAdagradSpec)


def build(spec: OptimizerSpec, model: Model) -> dict[str, Optimizer]:
    """{"dense": …, "embedding": …}; every parameter belongs to exactly one of them."""
    tables = embedding_tables(model)
    of_tables = {id(table) for table in tables}
    dense = [parameter for parameter in model.parameters() if id(parameter) not in of_tables]
    match spec.embedding:
        case RowwiseAdagradSpec():
            embedding: Optimizer = RowwiseAdagrad(tables, lr=spec.embedding.lr, eps=spec.embedding.eps)
        case AdamSpec():
            embedding = _adam(tables, spec.embedding)
        case _:
            assert_never(spec.embedding)
    return {"dense": _adam(dense, spec.dense), "embedding": embedding}


def _adam(params: Sequence[Tensor], spec: AdamSpec) -> Adam:
    # torch's weight_decay is λ of a λ/2 ‖W‖² penalty: it enters the gradient, hence the moments too.
    return Adam(list(params), lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.l2, fused=True)
