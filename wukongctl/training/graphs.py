"""A whole step as one CUDA graph: the host launches it once instead of operator by operator.

With batches of a few thousand examples, a step is over a hundred launches, each of which takes longer on the
host than on the device. A graph reads the tensors it was captured with, so batches are copied into them, and
learning rates are tensors.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from wukongctl.data.schema import Batch
from wukongctl.training.feeds import BatchShard

log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps before the capture, in which kernels are chosen and optimizers create their state."""


class Graph(Protocol):
    """Work that can be captured once and repeated; `torch.cuda.CUDAGraph` behind `capture_on_gpu`."""

    def replay(self) -> None:
        """Repeat the captured work."""
        ...


Capture = Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]]
"""Captures work without running it: the graph, and the tensor that a replay writes the result to."""


def capture_on_gpu(work: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
    """By `torch.cuda.graph`, in a separate stream and memory pool."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


class GraphedStep:
    """`step` of a full batch, captured after some steps; a step that cannot be captured runs as before.

    Learning rates of `optimizers` become tensors, and their states capturable.
    """

    def __init__(
        self,
        step: Callable[[BatchShard], Tensor],
        optimizers: list[Optimizer],
        capture: Capture = capture_on_gpu,
    ) -> None:
        self.step, self.optimizers, self.capture = step, optimizers, capture
        self.steps = 0
        self.graph: Graph | None = None
        self.batch: Batch | None = None
        self.result: Tensor | None = None
        self.failed = False

    def __call__(self, shard: BatchShard) -> Tensor:
        """The loss of the step, a tensor that later steps do not overwrite."""
        self.steps += 1
        if self.failed or self.steps <= WARM_UP:
            return self.step(shard)
        if self.graph is None:
            self._capture(shard)
            if self.graph is None:
                return self.step(shard)
        self._fill(shard.batch)
        self.graph.replay()
        assert self.result is not None
        return self.result.clone()

    def _capture(self, shard: BatchShard) -> None:
        ids, dense, labels, _ = shard.batch
        self.batch = Batch(ids.clone(), dense.clone(), labels.clone())
        fixed = shard._replace(batch=self.batch)
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
