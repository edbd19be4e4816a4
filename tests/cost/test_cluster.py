"""Plans of small models on GPUs, by hand and by what must hold for all."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import zoo
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.cluster import BANDWIDTH_SHARE, LAUNCH_SECONDS, PEAK_SHARE, ClusterPlan
from wukongctl.cost.gpus import GPUS
from wukongctl.cost.traced import TracedModel
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError

FIVE = Schema(tuple("abcde"), (), (), (10,) * 5)
MLP = {"name": "mlp", "width": 4, "hidden": [7]}
DENSE = 20 * 7 + 7 + 7 + 1


def plan(gpus: int = 1, gpu: str = "h100", schema: Schema = FIVE, **keys: Any) -> ClusterPlan:
    recipe = TrainingSpec.from_dict({"data": "x", "model": MLP, "batch_size": 64, **keys})
    return ClusterPlan(recipe, TracedModel(recipe, schema), GPUS[gpu], gpus)


def test_memory_of_an_mlp_by_hand() -> None:
    """64 examples of 5 ids and a label; 50 rows of 4; 155 dense weights."""
    memory = plan().memory
    assert memory.dense_weights == memory.dense_gradients == 4 * DENSE
    assert memory.dense_optimizer == 2 * 4 * DENSE
    assert memory.batch == 64 * 6 * 4
    assert (memory.tables, memory.table_optimizer) == (4 * 50 * 4, 4 * 50)
    assert memory.table_gradients == 64 * 5 * (4 * 4 + 8)
    assert memory.activations == plan().step.peak
    assert memory.gathered == memory.exchange == memory.frozen == memory.weight_copies == 0


def test_fsdp_holds_a_part_and_the_largest_layer_whole() -> None:
    keys = {"distributed": {"dense": "fsdp", "embeddings": "row_wise"}}
    ours, whole = plan(8, **keys).memory, 4 * DENSE
    assert ours.dense_weights == ours.dense_gradients == -(-whole // 8)
    assert ours.dense_optimizer == 2 * ours.dense_weights
    assert ours.gathered == 4 * whole  # the MLP is the only unit: two of it, and their gradients
    assert plan(8).memory.dense_gradients == 2 * whole  # DDP's buckets


def test_the_units_of_fsdp_are_layers() -> None:
    keys = {"name": "wukong", "layers": 3, "hidden": [64], "width": 8, "head": [4]}
    recipe = TrainingSpec.from_dict({"data": "x", "model": keys})
    traced = TracedModel(recipe, FIVE)
    sizes = [
        sum(w.numel() for w in layer.parameters())
        for layer in traced.model.get_submodule("layers").children()
    ]
    assert traced.largest_unit == max(sizes) < traced.counts.dense_params


@pytest.mark.parametrize(
    ("distributed", "names"),
    [
        ({}, {"gradients of rows": None, "dense gradients, all-reduce": "backward"}),
        (
            {"dense": "fsdp", "embeddings": "table_wise"},
            {
                "ids": None, "embeddings": None, "gradients of embeddings": None,
                "dense weights, all-gather": "forward", "dense weights, all-gather again": "backward",
                "dense gradients, reduce-scatter": "backward",
            },
        ),
    ],
)  # fmt: skip
def test_what_is_sent_and_what_it_overlaps(distributed: dict[str, str], names: dict[str, Any]) -> None:
    found = plan(4, distributed=distributed)
    assert {one.name: one.overlaps for one in found.collectives} == names
    dense = sum(one.sent for one in found.collectives if one.name.startswith("dense"))
    assert dense == (2 if not distributed else 3) * (4 * DENSE * 3 // 4)
    waits = [found.seconds(one) for one in found.collectives if one.overlaps is None]
    assert found.timeline.exposed == pytest.approx(sum(waits))
    assert plan(1, distributed=distributed).collectives == ()


def test_time_of_a_step_by_hand() -> None:
    found = plan()
    gpu, peak, bandwidth = GPUS["h100"], 67e12 * PEAK_SHARE, 3.35e12 * BANDWIDTH_SHARE
    assert gpu.peaks["float32"] == 67e12
    for phase, seconds in (("forward", found.timeline.forward), ("backward", found.timeline.backward)):
        operators = [one for one in found.step.operators if one.phase == phase]
        longest = [max(one.flop / peak, one.bytes / bandwidth) for one in operators]
        assert seconds == pytest.approx(sum(longest) + LAUNCH_SECONDS * len(operators))
    assert found.timeline.update_dense == pytest.approx(DENSE * 28 / bandwidth + LAUNCH_SECONDS)
    assert found.timeline.step == pytest.approx(sum(asdict(found.timeline).values()))
    assert found.examples_per_second == pytest.approx(64 / found.timeline.step)
    flop = 6 * (20 * 7 + 7) * 64
    assert found.mfu == pytest.approx(flop / found.timeline.step / 67e12)


def test_what_overlaps_costs_only_what_is_longer() -> None:
    """Gradients of a wide layer take longer over a slow network than the backward pass."""
    wide = {"model": {**MLP, "hidden": [4096, 4096]}}
    alone, many = plan(8, **wide), plan(64, **wide)
    assert many.timeline.backward == pytest.approx(max(many.compute("backward"), many._sent("backward")))
    assert many.timeline.backward > many.compute("backward")
    assert alone.nodes == 1
    assert many.nodes == 8


PLANS = [
    {"dense": dense, "embeddings": embeddings}
    for dense in ("ddp", "fsdp")
    for embeddings in ("replicated", "row_wise", "table_wise", "planner")
    if (dense, embeddings) != ("fsdp", "replicated")
]


@pytest.mark.parametrize("distributed", PLANS, ids=lambda keys: "-".join(keys.values()))
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_more_gpus_never_need_more_memory_each(distributed: dict[str, str], precision: str) -> None:
    keys = {"model": {**zoo.CONFIGURATIONS["wukong-groups"], "width": 8}, "batch_size": 512}
    keys["model"]["groups"] = [{"features": ["b", "t"], "width": 4, "hidden": [5], "embeddings": 2}]
    recipe = TrainingSpec.from_dict({"data": "x", "distributed": distributed, "precision": precision, **keys})
    traced = TracedModel(recipe, zoo.SCHEMA)
    plans = [ClusterPlan(recipe, traced, GPUS["h200"], gpus) for gpus in (2, 4, 8, 16, 32, 64)]
    totals = [found.memory.total for found in plans]
    assert totals == sorted(totals, reverse=True)
    for found in plans:
        assert found.memory.total == sum(asdict(found.memory).values())
        assert 0 < found.mfu < PEAK_SHARE


@settings(max_examples=20)
@given(rows=st.integers(1, 500), width=st.integers(1, 8), batch=st.integers(8, 300))
def test_larger_tables_need_more_memory_and_no_more_flop(rows: int, width: int, batch: int) -> None:
    keys = {"model": {**MLP, "width": 4 * width}, "batch_size": batch}
    small = plan(4, schema=Schema(("a",), (), (), (rows,)), **keys)
    large = plan(4, schema=Schema(("a",), (), (), (rows + 1,)), **keys)
    assert large.memory.total - small.memory.total == 4 * 4 * width + 4
    assert large.memory.activations == small.memory.activations
    assert large.timeline.forward == small.timeline.forward


@pytest.mark.parametrize("name", zoo.CONFIGURATIONS)
def test_every_model_can_be_planned(name: str) -> None:
    recipe = TrainingSpec.from_dict({
        "data": "x", "model": zoo.CONFIGURATIONS[name], "batch_size": 64, "precision": "bfloat16",
    })  # fmt: skip
    found = ClusterPlan(recipe, TracedModel(recipe, zoo.SCHEMA), GPUS["b200"], 16).to_dict()
    assert found["memory"]["activations"] > 0
    assert found["fits"]
    assert found["seconds"]["step"] > 0


def test_accumulation_saves_activations_and_costs_launches() -> None:
    """Micro-batches of a quarter, one after the other."""
    whole, pieces = plan(batch_size=4096), plan(batch_size=4096, accumulate=4)
    assert 3.9 < whole.memory.activations / pieces.memory.activations < 4.1
    operators = sum(one.phase == "forward" for one in whole.step.operators)
    extra = pieces.timeline.forward - whole.timeline.forward
    assert extra >= 0.99 * 3 * operators * LAUNCH_SECONDS


def test_a_gpu_without_bfloat16_is_planned_in_float32() -> None:
    found = plan(gpu="t4", precision="bfloat16")
    assert found.precision == "float32"
    assert any("T4 16 GB does not support bfloat16" in assumption for assumption in found.assumptions())
    assert found.memory == plan(gpu="t4").memory


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"gpus": 8, "gpu": "l4"}, "no published network between servers of `l4`"),
        ({"gpus": 128}, "`batch_size: 64` is too small for 128 GPUs"),
        ({"gpus": 64, "model": {**MLP, "batch_norm": True}}, "`batch_size: 64` is too small for 64 GPUs"),
        ({"gpus": 2, "accumulate": 2}, "`accumulate` needs a single process"),
    ],
)
def test_what_cannot_be_planned_is_a_usage_error(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan(**keys)
    assert caught.value.hint


def test_assumptions_name_what_the_plan_rests_on() -> None:
    everywhere = " ".join(plan(16, distributed={"dense": "fsdp", "embeddings": "planner"}).assumptions())
    for word in (
        "60% of the published dense float32 rate",
        "2.5 µs",
        "10% of the memory",
        "FSDP",
        "planner",
        "DGX H100",
    ):
        assert word in everywhere
    assert "DDP" in " ".join(plan(16).assumptions())
    assert "DGX" not in " ".join(plan(1).assumptions())


def test_tf32_multiplies_float32_at_a_rate_of_its_own() -> None:
    full, fast = plan(8, "a100-80", precision="float32"), plan(8, "a100-80", precision="tf32")
    assert fast.memory == full.memory
    assert fast.compute("forward") <= full.compute("forward")
    assert fast.mfu * 156 == pytest.approx(19.5 * full.mfu * full.timeline.step / fast.timeline.step)
    assert plan(gpu="t4", precision="tf32").precision == "float32"
