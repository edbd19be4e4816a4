"""One training step: forward, backward and the update of all weights."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.models.embeddings import look_up_outside_of_graphs
from wukongctl.training.feeds import BatchShard
from wukongctl.training.graphs import GraphedStep
from wukongctl.training.hardware import CPU, Execution
from wukongctl.training.parallel import ParallelModel, load_optimizer, unsharded_state

CPU_COMPILE_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {  # torch's type for its options
    "cpp_wrapper": True,
    "cpp.vec_isa_ok": True,
    "cpp_cache_precompile_headers": False,
}
"""The same kernels as with torch's defaults, compiled in half the CPU time: one file per graph, since headers
take most of the time; no probing of vector instruction sets; no precompiled headers, which pay off only from
the fourth model on."""


class Update:
    """Forward, backward, optimizers. Weights, logits, loss and optimizers are float32 in any precision."""

    def __init__(self, recipe: TrainingSpec, model: ParallelModel, execution: Execution) -> None:
        self.model, self.world, self.execution = model.model, model.world, execution
        self.exchange_rows = model.exchange_rows
        self.phase: Callable[[str], AbstractContextManager[object]] = nullcontext
        """Context manager of each phase, by its name; `bench` times them."""
        self.pieces, self.clip_norm = recipe.accumulate, recipe.optimizer.clip_norm
        self.skips = recipe.divergence.skip_steps > 0
        self.optimizers = model.optimizers(recipe.optimizer)
        self.base_learning_rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        if execution.compile:
            torch.compiler.reset()  # graphs of earlier runs in this process count toward its limit
            look_up_outside_of_graphs(model.model)
        self.recipe, self.scale = recipe.optimizer, 1.0
        self.batch_size, self.forward = recipe.batch_size, model.forward
        self.compiled = _compiled(model.forward, execution) if execution.compile else model.forward
        captures = execution.cuda_graph and self.world.size == 1
        self.graphed: Callable[[BatchShard], Tensor] = (
            GraphedStep(self.step, list(self.optimizers.values())) if captures else self.step
        )
        """Steps of full batches."""

    def __call__(self, shard: BatchShard, scale: float) -> Tensor:
        """Update all weights at `scale` times the recipe's learning rates.

        Returns the batch's mean loss before the update, () float64 on the device. Nothing here waits for a
        GPU; reading the loss does. If the recipe skips diverging steps, an update that is not finite is
        skipped, and the loss is NaN.
        """
        self.scale = scale
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.base_learning_rates[name], strict=True):
                _set_learning_rate(group, rate * scale)
        return (self.graphed if shard.rows == self.batch_size else self.step)(shard)

    def step(self, shard: BatchShard) -> Tensor:
        """Forward, backward and optimizers, at the current learning rates."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        mine, counted, rows = shard
        losses = [self._backward(piece, counted, rows) for piece in split(mine, self.pieces)]
        self.exchange_rows()
        loss = self.world.sum_tensor(functools.reduce(torch.add, losses))
        if self.skips:
            is_finite = loss.isfinite() & self._has_finite_gradients()
            loss = loss.where(is_finite, math.nan)
            if self.execution.device != CPU:
                self._skip_step(~is_finite)
            elif not is_finite:
                return loss
        if self.clip_norm is not None:
            clip_grad_norm_(self._dense_weights(), self.clip_norm)
        for name, optimizer in self.optimizers.items():
            with self.phase(f"{name} optimizer"):
                optimizer.step()
        return loss

    def learning_rates(self) -> dict[str, float]:
        """The rates of the latest update, without `optimizer.factors`."""
        rates = {"dense_lr": self.recipe.dense.lr, "embedding_lr": self.recipe.embedding.lr}
        return {name: rate * self.scale for name, rate in rates.items()}

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizers, by name."""
        return {name: unsharded_state(optimizer) for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name, optimizer in self.optimizers.items():
            load_optimizer(optimizer, state[name])

    def _skip_step(self, when: Tensor) -> None:
        """Have the optimizers skip the next step where a flag on the device is set."""
        for optimizer in self.optimizers.values():
            optimizer.found_inf = when.float()

    def _backward(self, piece: Batch, counted: int, rows: int) -> Tensor:
        """Add the gradient of the first `counted` examples; returns their part of the mean loss of `rows`."""
        # Not for the smaller last batch, whose shape would be compiled as well.
        forward = self.compiled if rows == self.batch_size else self.forward
        with self.phase("forward"):
            with self.execution.autocast:
                logits = forward(piece)
            logits, labels = logits[:counted].float(), piece.labels[:counted]
            loss = binary_cross_entropy_with_logits(logits, labels, reduction="sum") / rows
        with self.phase("backward"):
            (loss * self.world.size).backward()  # gradients are means over processes, this is a sum
        return loss.detach().double()

    def _has_finite_gradients(self) -> Tensor:
        """Whether all gradients are finite."""
        groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]
        weights = [weight for group in groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        values = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
        return torch.stack([value.sum() for value in values]).isfinite().all()

    def _dense_weights(self) -> list[Tensor]:
        return [weight for group in self.optimizers["dense"].param_groups for weight in group["params"]]


def _set_learning_rate(group: dict[str, Any], lr: float) -> None:
    """In place where a CUDA graph reads it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def _compiled(forward: Callable[[Batch], Tensor], execution: Execution) -> Callable[[Batch], Tensor]:
    # Static shapes: otherwise kernels depend on the first batch, and a resumed run has different numbers.
    options = CPU_COMPILE_OPTIONS if execution.device == CPU else None
    return torch.compile(forward, dynamic=False, options=options)


def split(batch: Batch, pieces: int) -> Iterator[Batch]:
    """At most `pieces` parts, equal in rows to within one."""
    if pieces == 1:
        yield batch
        return
    rows = len(batch.labels)
    edges = [rows * piece // pieces for piece in range(pieces + 1)]
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            yield batch.rows(start, stop)
