"""What is proposed to make a plan fit does so, and nothing less does."""

from dataclasses import replace
from typing import Any

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.cluster import ClusterPlan
from wukongctl.cost.gpus import GPUS, Gpu
from wukongctl.cost.remedies import host_memory, remedies
from wukongctl.cost.traced import TracedModel
from wukongctl.data.schema import Schema

SCHEMA = Schema(tuple("abcdefgh"), (), (), (1000,) * 8)
MODEL = {"name": "mlp", "width": 8, "hidden": [64]}


def plan(memory: float, gpus: int = 8, **keys: Any) -> ClusterPlan:
    gpu: Gpu = replace(GPUS["h100"], memory=memory)
    recipe = TrainingSpec.from_dict({"data": "x", "model": MODEL, "batch_size": 1024, **keys})
    return ClusterPlan(recipe, TracedModel(recipe, SCHEMA), gpu, gpus)


def test_a_plan_that_fits_needs_none() -> None:
    assert remedies(plan(1e9)) == []
    assert host_memory(plan(1e9)) is None


def test_single_keys_are_named_one_by_one() -> None:
    """Tables take 256 kB of 930 kB: less of them is enough, and so is a smaller batch."""
    short = plan(1e9).memory.total / 0.9 - 60_000
    found = {remedy.change: remedy.total for remedy in remedies(plan(short))}
    assert {"--set distributed.embeddings=table_wise", "--set distributed.embeddings=row_wise"} <= set(found)
    assert not any(" --set " in change for change in found)
    assert all(total <= 0.9 * short for total in found.values())
    assert any(change.startswith("--set batch_size=") for change in found)


def test_where_no_key_is_enough_keys_come_with_a_smaller_batch_or_more_gpus() -> None:
    least = min(
        plan(1e9, distributed={"embeddings": tables, "dense": dense}, precision=precision).memory.total
        for tables in ("row_wise", "table_wise")
        for dense in ("ddp", "fsdp")
        for precision in ("float32", "bfloat16")
    )
    found = [remedy.change for remedy in remedies(plan(0.8 * least))]
    assert found
    assert all("batch_size=" in change or "--gpus" in change for change in found)


def test_sharded_tables_are_not_proposed_in_bfloat16() -> None:
    """`train` has none."""
    short = plan(1e9).memory.total / 0.9 - 60_000
    for remedy in remedies(plan(short, distributed={"embeddings": "table_wise"}, batch_size=4096)):
        assert "embedding_dtype" not in remedy.change


def test_the_host_can_hold_tables_and_nothing_else() -> None:
    full = plan(1e9)
    tables = full.memory.tables + full.memory.table_optimizer
    short = (full.memory.total - tables // 2) / 0.9
    assert abs((host_memory(plan(short)) or 0) - tables // 2) <= 1
    assert host_memory(plan(full.memory.total / 2)) is None
