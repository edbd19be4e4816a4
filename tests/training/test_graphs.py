"""A captured step follows the steps that are not captured; what CUDA does is played by calling it again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import pretended_gpu
from tests.models.zoo import CONFIGURATIONS, SCHEMA, make_batch
from wukongctl.config.training import TrainingSpec
from wukongctl.models import build
from wukongctl.training.distributed import ALONE
from wukongctl.training.feeds import BatchShard
from wukongctl.training.graphs import WARM_UP, Graph, GraphedStep
from wukongctl.training.hardware import Execution
from wukongctl.training.optimizers import wants_sparse
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.update import Update

pytestmark = pretended_gpu.needs_pretended_gpu
ROWS, STEPS = 10, WARM_UP + 3


class Again:
    """Repeats the captured work on the tensors it was captured with."""

    def __init__(self, work: Callable[[], Tensor], result: Tensor) -> None:
        self.work, self.result = work, result

    def replay(self) -> None:
        self.result.copy_(self.work())


def capture(work: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
    result = torch.zeros((), dtype=torch.float64, device=pretended_gpu.DEVICE)
    return Again(work, result), result


def train(changes: dict[str, Any], *, graphed: bool) -> list[Tensor]:
    spec = TrainingSpec.from_dict({"data": "d", "batch_size": ROWS} | changes)
    with pretended_gpu.pretended() as device:
        torch.manual_seed(1)
        model = build(spec.model, SCHEMA, sparse=wants_sparse(spec.optimizer)).to(device)
        update = Update(spec, ParallelModel(model, spec, ALONE), Execution(1, "float32", False, (), device))
        if graphed:
            update.graphed = GraphedStep(update.step, list(update.optimizers.values()), capture)
        losses = []
        for step in range(STEPS):
            rows = ROWS - 3 if step == STEPS - 2 else ROWS  # a short batch between full ones
            shard = BatchShard(make_batch(ROWS + step).rows(step, step + rows).to(device), rows, rows)
            losses.append(update(shard, 1 / (step + 1)))
        return [value.detach().cpu() for value in (*losses, *model.parameters())]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"embedding": {"name": "rowwise_adagrad"}},
        {"embedding": {"name": "lazy_adam"}, "clip_norm": 0.1},
        {"embedding": {"name": "adam"}},
    ],
    ids=str,
)
def test_captured_steps_are_those_that_are_not(optimizer: dict[str, Any]) -> None:
    changes = {"model": {"width": 6, **CONFIGURATIONS["wukong"]}, "optimizer": optimizer}
    for found, expected in zip(train(changes, graphed=True), train(changes, graphed=False), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_a_step_that_cannot_be_captured_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_work: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors …")

    calls = []

    def step(shard: BatchShard) -> Tensor:
        calls.append(shard)
        return torch.zeros(())

    graphed = GraphedStep(step, [], fails)
    shard = BatchShard(make_batch(ROWS), ROWS, ROWS)
    for _ in range(STEPS):
        graphed(shard)
    assert len(calls) == STEPS
    assert "cannot be captured as a CUDA graph: operation not permitted" in caplog.text
