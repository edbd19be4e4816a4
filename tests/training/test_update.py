"""One update: the same weights from any pieces, and close ones in any precision."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from tests.models.zoo import CONFIGURATIONS, SCHEMA, make_batch
from wukongctl.config.training import TrainingSpec
from wukongctl.machine import most_workers
from wukongctl.models import Model, build
from wukongctl.training.distributed import World
from wukongctl.training.feeds import BatchShard
from wukongctl.training.hardware import Execution, execution, usable_threads
from wukongctl.training.optimizers import wants_sparse
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.update import Update, split

warns_about_itself = pytest.mark.filterwarnings("ignore")  # torch.compile does


def updated(
    model: dict[str, Any], steps: int = 3, rows: int = 10, **changes: Any
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights after some updates on one batch, and the losses."""
    spec = TrainingSpec.from_dict({"data": "d", "model": {"width": 6} | model} | changes)
    torch.manual_seed(1)
    made = build(spec.model, SCHEMA, sparse=wants_sparse(spec.optimizer))
    update = Update(spec, ParallelModel(made, spec, World()), Execution(1, spec.precision, spec.compile))
    losses = [float(update(BatchShard(make_batch(rows), rows, rows), 1.0)) for _ in range(steps)]
    return {name: weight.detach().clone() for name, weight in made.named_parameters()}, losses


@pytest.mark.parametrize("pieces", [2, 3, 10, 64])
@pytest.mark.parametrize("embedding", ["rowwise_adagrad", "adam"])
def test_pieces_add_up_to_the_batch(pieces: int, embedding: str) -> None:
    changes = {"optimizer": {"embedding": {"name": embedding}, "clip_norm": 0.1}}
    whole, losses = updated(CONFIGURATIONS["wukong"], **changes)
    parts, losses_of_parts = updated(CONFIGURATIONS["wukong"], accumulate=pieces, **changes)
    assert losses_of_parts == pytest.approx(losses, rel=1e-5)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-5)


def test_pieces_hold_every_row_once() -> None:
    batch = make_batch(11)
    pieces = list(split(batch, 4))
    assert [len(piece.labels) for piece in pieces] == [2, 3, 3, 3]
    assert torch.equal(torch.cat([piece.ids for piece in pieces]), batch.ids)
    assert [len(piece.labels) for piece in split(batch, 100)] == [1] * 11


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_bfloat16_trains_every_model_with_float32_logits(name: str) -> None:
    spec = TrainingSpec.from_dict({"data": "d", "model": {"width": 6} | CONFIGURATIONS[name]})
    torch.manual_seed(1)
    model = build(spec.model, SCHEMA, sparse=True)
    with Execution(1, "bfloat16", compile=False).autocast:
        logits = model(make_batch(512))
    assert logits.dtype == torch.float32
    assert (logits != logits.to(torch.bfloat16).float()).float().mean() > 0.5
    _, losses = updated(CONFIGURATIONS[name])
    near, near_losses = updated(CONFIGURATIONS[name], precision="bfloat16")
    assert near_losses == pytest.approx(losses, rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in near.values())


@pytest.mark.slow
@warns_about_itself
@pytest.mark.parametrize("name", ["wukong", "dcnv2-parallel"])
def test_compiled_models_compute_the_same(name: str) -> None:
    _, losses = updated(CONFIGURATIONS[name], batch_size=10)
    _, compiled = updated(CONFIGURATIONS[name], batch_size=10, compile=True)
    assert compiled == pytest.approx(losses, rel=1e-4)


@pytest.mark.slow
@warns_about_itself
def test_compiled_graph_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and compiled once: torch's cache serves the next run."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    how: dict[str, Any] = {"precision": "bfloat16", "batch_size": 10}
    _, losses = updated(CONFIGURATIONS["wukong"], **how)
    runs = []
    for found in ("miss", "hit"):
        counters.clear()
        runs.append(updated(CONFIGURATIONS["wukong"], compile=True, **how)[1])
        caches = {name for name in counters["aot_autograd"] if "cache" in name}
        assert caches <= {f"autograd_cache_{found}", "autograd_cache_saved"}
    assert runs[0] == runs[1] == pytest.approx(losses, rel=0.01)


@warns_about_itself
def test_partial_batch_is_not_compiled() -> None:
    counters.clear()
    _, losses = updated(CONFIGURATIONS["wukong"], batch_size=16)
    _, same = updated(CONFIGURATIONS["wukong"], batch_size=16, compile=True)
    assert same == losses
    assert not counters["stats"]


def test_threads_are_those_of_the_recipe_or_of_the_machine() -> None:
    spec = TrainingSpec.from_dict({"data": "d", "model": {"name": "mlp"}, "threads": 3})
    assert execution(spec).threads == 3
    assert usable_threads() >= 1
    many = execution(spec.model_copy(update={"threads": 1024}))
    assert many.threads == most_workers() < 1024
    assert "`threads: 1024` is too many" in many.notes[0]


def test_a_schedule_scales_every_rate() -> None:
    """At a factor of 1/2 everywhere, half the rate is the same update as the whole rate without factors."""
    names = [name for name, _ in build_mlp().named_parameters() if "table" not in name]
    plain, losses = updated({"name": "mlp", "hidden": [8]}, optimizer={"dense": {"lr": 0.01}})
    halves = {"dense": {"lr": 0.02}, "factors": dict.fromkeys(names, 0.5)}
    scaled, same = updated({"name": "mlp", "hidden": [8]}, optimizer=halves)
    assert same == losses
    assert all(torch.equal(plain[name], scaled[name]) for name in plain)


def test_the_state_of_every_group_is_restored() -> None:
    """Two steps, and one step, a checkpoint and another step, end with the same weights."""
    spec = TrainingSpec.from_dict(
        {
            "data": "d",
            "model": {"name": "mlp", "width": 6, "hidden": [8]},
            "optimizer": {"factors": {"mlp.steps.0.weight": 0.5, "mlp.steps.2.bias": 3.0}},
        }
    )
    shard = BatchShard(make_batch(10), 10, 10)

    def fresh() -> tuple[Model, Update]:
        made = build_mlp()
        execution = Execution(1, "float32", compile=False)
        return made, Update(spec, ParallelModel(made, spec, World()), execution)

    straight, update = fresh()
    update(shard, 1.0)
    weights, state = copy.deepcopy((straight.state_dict(), update.state_dict()))
    update(shard, 0.5)
    resumed, again = fresh()
    resumed.load_state_dict(weights)
    again.load_state_dict(state)
    again(shard, 0.5)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_a_gradient_that_is_not_finite_is_seen_in_every_group() -> None:
    spec = TrainingSpec.from_dict(
        {
            "data": "d",
            "model": {"name": "mlp", "width": 6, "hidden": [8]},
            "optimizer": {"factors": {"mlp.steps.2.bias": 0.5}},
            "divergence": {"skip_steps": 1},
        }
    )
    made = build_mlp()
    update = Update(spec, ParallelModel(made, spec, World()), Execution(1, "float32", compile=False))
    assert len(update.optimizers["dense"].param_groups) == 2
    for name, weight in made.named_parameters():
        weight.grad = torch.full_like(weight, math.nan if name == "mlp.steps.2.bias" else 0.0)
    assert not update._has_finite_gradients()


def build_mlp() -> Model:
    spec = TrainingSpec.from_dict({"data": "d", "model": {"name": "mlp", "width": 6, "hidden": [8]}})
    torch.manual_seed(1)
    return build(spec.model, SCHEMA, sparse=True)
