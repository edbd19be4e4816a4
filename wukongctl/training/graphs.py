"""A whole step as one CUDA graph: the host launches it once instead of operator by operator.

At batches of a few thousand examples a step is a hundred and more launches, each of which takes the host
longer than the device. A graph runs with the tensors it was captured with, so batches are copied into them,
and learning rates are tensors.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from wukongctl.data.schema import Batch
from wukongctl.training.feeds import Share

log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps before the capture: kernels are chosen and optimizers make their state."""


class Graph(Protocol):
    """Work that can be captured once and repeated; `torch.cuda.CUDAGraph` behind `capture_on_gpu`."""

    def replay(self) -> None:
        """Repeat the captured work."""
        ...


Capture = Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]]
"""Captures work without doing it: the graph, and the tensor in which a replay leaves the result."""


def capture_on_gpu(work: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
    """By `torch.cuda.graph`, in a stream and memory of its own."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


class GraphedStep:
    """`step` of a full batch, captured after some steps; those that cannot be captured stay as they are.

    `optimizers` get learning rates as tensors, and capturable states.
    """

    def __init__(
        self, step: Callable[[Share], Tensor], optimizers: list[Optimizer], capture: Capture = capture_on_gpu
    ) -> None:
        self.step, self.optimizers, self.capture = step, optimizers, capture
        self.steps = 0
        self.graph: Graph | None = None
        self.batch: Batch | None = None
        self.result: Tensor | None = None
        self.failed = False

    def __call__(self, share: Share) -> Tensor:
        """The loss of the step, a tensor that later steps leave alone."""
        self.steps += 1
        if self.failed or self.steps <= WARM_UP:
            return self.step(share)
        if self.graph is None:
            self._capture(share)
            if self.graph is None:
                return self.step(share)
        self._fill(share.batch)
        self.graph.replay()
        assert self.result is not None
        return self.result.clone()

    def _capture(self, share: Share) -> None:
        ids, dense, labels, _ = share.batch
        self.batch = Batch(ids.clone(), dense.clone(), labels.clone())
        fixed = share._replace(batch=self.batch)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32).to(self.batch.labels.device)
                group["capturable"] = True
            optimizer.zero_grad(set_to_none=True)
        try:
            self.graph, self.result = self.capture(lambda: self.step(fixed))
        except RuntimeError as error:
            self.failed = True
            log.warning("steps cannot be captured as a CUDA graph: %s", str(error).splitlines()[0])

    def _fill(self, batch: Batch) -> None:
        assert self.batch is not None
        for mine, new in zip(self.batch[:3], batch[:3], strict=True):
            mine.copy_(new)
