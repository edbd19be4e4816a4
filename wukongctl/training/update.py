"""One batch → one update of all weights."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.models import Model
from wukongctl.training import optimizers
from wukongctl.training.hardware import Execution


class Update:
    """Forward, backward, optimisers. Weights, logits, loss and optimisers are float32 in any precision."""

    def __init__(self, recipe: TrainingSpec, model: Model, execution: Execution) -> None:
        self.model, self.execution = model, execution
        self.phase: Callable[[str], AbstractContextManager[object]] = nullcontext
        """Entered with the name of what comes next; `bench` puts a stopwatch here."""
        self.pieces, self.clip_norm = recipe.accumulate, recipe.optimizer.clip_norm
        self.optimizers = optimizers.build(recipe.optimizer, model)
        self.base_rates = {
            name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()
        }
        # Static shapes: kernels must not depend on which batch came first, or resuming would show.
        self.forward: Callable[[Batch], Tensor] = (
            torch.compile(model, dynamic=False) if execution.compile else model
        )

    def __call__(self, batch: Batch, scale: float) -> float:
        """Update all weights at `scale` times the recipe's rates; the batch's mean loss before it."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.base_rates[name] * scale
            optimizer.zero_grad(set_to_none=True)
        loss = sum(self._backward(piece, len(batch.labels)) for piece in split(batch, self.pieces))
        if self.clip_norm is not None:
            clip_grad_norm_(self._dense_weights(), self.clip_norm)
        for name, optimizer in self.optimizers.items():
            with self.phase(f"{name} optimizer"):
                optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """State of the optimisers, by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

    def _backward(self, piece: Batch, rows: int) -> float:
        """Add the gradient of a piece of a batch of `rows`; its share of the mean loss."""
        with self.phase("forward"):
            with self.execution.autocast:
                logits = self.forward(piece)
            loss = binary_cross_entropy_with_logits(logits.float(), piece.labels)
            loss = loss * (len(piece.labels) / rows)
        with self.phase("backward"):
            loss.backward()
        return loss.item()

    def _dense_weights(self) -> list[Tensor]:
        return [weight for group in self.optimizers["dense"].param_groups for weight in group["params"]]


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
