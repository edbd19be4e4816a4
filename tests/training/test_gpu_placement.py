"""Steps on a pretended GPU: the CPU's bits, without a wait for the device and with one copy."""

from typing import Any

import pytest
import torch

from tests import pretended_gpu
from tests.models.zoo import CONFIGURATIONS, FROZEN, SCHEMA, make_batch
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.models import build
from wukongctl.models.embeddings import frozen_vectors, store_tables
from wukongctl.training.distributed import ALONE
from wukongctl.training.feeds import BatchShard
from wukongctl.training.hardware import CPU, Execution
from wukongctl.training.optimizers import wants_sparse
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.update import Update

pytestmark = pretended_gpu.needs_pretended_gpu
ROWS = 10
WUKONG = {"width": 6, **CONFIGURATIONS["wukong"]}
BFLOAT16 = [name for name in CONFIGURATIONS if "-" not in name]
"""Of each model one configuration."""
VECTORS = {1: torch.arange(12.0).reshape(4, 3) / 10, 2: torch.arange(24.0).reshape(6, 4) / 10}


def updater(device: torch.device, schema: Schema, changes: dict[str, Any]) -> Update:
    """An update of a fresh model on `device`."""
    spec = TrainingSpec.from_dict({"data": "d"} | changes)
    torch.manual_seed(1)
    vectors = VECTORS if schema == FROZEN else None
    model = build(spec.model, schema, sparse=wants_sparse(spec.optimizer), vectors=vectors)
    store_tables(model, getattr(torch, spec.embedding_dtype))
    model.to(device)
    return Update(spec, ParallelModel(model, spec, ALONE), Execution(1, spec.precision, False, (), device))


def train(device: torch.device, spoilt: int | None = None, **changes: Any) -> list[torch.Tensor]:
    """Losses of two steps and the weights after them; step `spoilt` gets an infinite feature.

    Asserts that the steps neither wait for a pretended GPU nor copy anything between it and the host.
    """
    update = updater(device, SCHEMA, changes)
    losses = []
    for step in range(2):
        torch.manual_seed(step)
        batch = make_batch(ROWS)
        if step == spoilt:
            batch = batch._replace(dense=batch.dense * torch.inf)
        shard = BatchShard(batch.to(device), ROWS, ROWS)
        pretended_gpu.copies.clear()
        pretended_gpu.waits.clear()
        losses.append(update(shard, 1.0))
        assert not pretended_gpu.copies
        assert not pretended_gpu.waits
    return [value.detach().cpu() for value in (*losses, *update.model.parameters())]


def assert_same_on_gpu(spoilt: int | None = None, **changes: Any) -> None:
    expected = train(CPU, spoilt, **changes)
    with pretended_gpu.pretended() as device:
        found = train(device, spoilt, **changes)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_model_trains_to_the_bits_of_the_cpu(name: str) -> None:
    assert_same_on_gpu(model={"width": 6, **CONFIGURATIONS[name]})


@pytest.mark.parametrize("name", BFLOAT16)
def test_bfloat16_gives_the_bits_of_the_cpu(name: str) -> None:
    assert_same_on_gpu(model={"width": 6, **CONFIGURATIONS[name]}, precision="bfloat16")


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "rowwise_adagrad": {"optimizer": {"embedding": {"name": "rowwise_adagrad", "l2": 1e-3}}},
    "lazy_adam": {"optimizer": {"embedding": {"name": "lazy_adam", "l2": 1e-3}}},
    "adam": {"optimizer": {"embedding": {"name": "adam"}, "clip_norm": 0.1}},
    "bfloat16 tables": {"embedding_dtype": "bfloat16"},
    "bfloat16 tables, lazy_adam": {
        "embedding_dtype": "bfloat16", "optimizer": {"embedding": {"name": "lazy_adam"}},
    },
    "accumulate": {"accumulate": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_to_the_bits_of_the_cpu(name: str) -> None:
    assert_same_on_gpu(model=WUKONG, **OPTIMIZERS[name])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("spoilt", [0, 1])
def test_a_step_that_is_not_finite_is_left_out_without_a_wait(name: str, spoilt: int) -> None:
    assert_same_on_gpu(spoilt, model=WUKONG, divergence={"skip_steps": 2}, **OPTIMIZERS[name])


def test_features_share_frozen_vectors_on_the_device_too() -> None:
    model = {"width": 6, **CONFIGURATIONS["finalmlp-context"]}
    with pretended_gpu.pretended() as device:
        update = updater(device, FROZEN, {"model": model})
        parts = frozen_vectors(update.model)
        assert {part.vectors.device for part in parts} == {device}
        assert len({id(part.vectors) for part in parts}) == len({part.table for part in parts}) < len(parts)
        update(BatchShard(make_batch(ROWS).to(device), ROWS, ROWS), 1.0)


def test_tensors_of_two_devices_do_not_mix() -> None:
    with pretended_gpu.pretended() as device, pytest.raises(RuntimeError, match="tensors on gpu:0 and cpu"):
        torch.ones(2, device=device) + torch.ones(2)


def test_waits_and_copies_are_counted() -> None:
    with pretended_gpu.pretended() as device:
        there = torch.ones(2).to(device)
        there.sum().item()
        there.cpu()
        assert sum(pretended_gpu.waits.values()) == 1
        assert sum(pretended_gpu.copies.values()) == 2
