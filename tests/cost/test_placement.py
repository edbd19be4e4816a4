"""Bytes of two small tables on several GPUs, by hand.

A: 10 rows of 8, one id column. B: 5 rows of 8, two id columns. 4 GPUs with 6 examples each.
"""

from typing import Any

import pytest
import torch

from tests.models import zoo
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.placement import Placement, TableShape, place, table_groups
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError
from wukongctl.models import build

A, B = TableShape(10, 8, 1), TableShape(5, 8, 2)
GPUS, EXAMPLES = 4, 6
VALUES, COLUMNS, ROWS = 3 * 8, 3, 15


def placed(gpus: int = GPUS, optimizer: str = "rowwise_adagrad", **keys: Any) -> Placement:
    recipe = TrainingSpec.from_dict({
        "data": "x", "model": {"name": "mlp", "width": 8}, "optimizer": {"embedding": {"name": optimizer}},
        **keys,
    })  # fmt: skip
    return place([[A, B]], recipe, gpus, EXAMPLES)


def sharded(plan: str, gpus: int = GPUS) -> Placement:
    return placed(gpus, distributed={"embeddings": plan})


def sent(placement: Placement) -> dict[str, int]:
    return {one.name: one.sent for one in placement.collectives}


def test_one_gpu_holds_everything_whatever_the_plan() -> None:
    for plan in ("replicated", "row_wise", "table_wise", "column_wise", "planner"):
        alone = sharded(plan, gpus=1)
        assert (alone.weights, alone.optimizer) == (4 * ROWS * 8, 4 * ROWS)
        assert alone.gradients == EXAMPLES * (4 * VALUES + 8 * COLUMNS)
        assert alone.look_up == EXAMPLES * 2 * 4 * VALUES
        # Gradients are read; 6 rows of A and all 5 of B are read and written with their accumulators.
        assert alone.update == EXAMPLES * 4 * VALUES + (6 + 5) * 2 * (4 * 8 + 4)


def test_replicated_rows_exchange_their_gradients() -> None:
    found = placed()
    assert found.weights == 4 * ROWS * 8
    one = EXAMPLES * (4 * VALUES + 8 * COLUMNS)
    assert found.gradients == 4 * one
    assert sent(found) == {"gradients of rows": 3 * one}


def test_adam_reduces_whole_tables() -> None:
    found = placed(optimizer="adam")
    weights = 4 * ROWS * 8
    assert (found.optimizer, found.gradients) == (2 * weights, 2 * weights)  # DDP's buckets
    assert sent(found) == {"table gradients": 2 * 3 * weights // 4}
    assert found.update == 7 * weights
    assert placed(1, "adam").gradients == weights


def test_bfloat16_halves_tables_but_not_their_state() -> None:
    found = placed(1, "lazy_adam", embedding_dtype="bfloat16")
    assert (found.weights, found.optimizer) == (2 * ROWS * 8, 8 * ROWS * 8)
    assert found.look_up == EXAMPLES * VALUES * (2 + 4)


def test_row_wise_sums_for_the_examples_of_all() -> None:
    found = sharded("row_wise")
    rows = 3 + 2  # of 10 and of 5, divided by 4, rounded up
    assert (found.weights, found.optimizer) == (4 * rows * 8, 4 * rows)
    ids = EXAMPLES * COLUMNS * (8 + 4 * GPUS)
    assert sent(found) == {
        "ids": ids * 3 // 4,
        "embeddings": 3 * EXAMPLES * 4 * VALUES,
        "gradients of embeddings": 3 * EXAMPLES * 4 * VALUES,
    }
    assert found.exchange == GPUS * EXAMPLES * 4 * VALUES + 2 * ids


def test_table_wise_is_bound_by_the_gpu_with_the_largest_tables() -> None:
    """A lies on one GPU, B with two of three look-ups on another, two GPUs have none."""
    found = sharded("table_wise")
    assert (found.weights, found.optimizer) == (4 * 10 * 8, 4 * 10)
    looked_up = 4 * EXAMPLES * 4 * 16
    assert found.look_up == 2 * looked_up
    assert sent(found)["embeddings"] == looked_up * 3 // 4
    assert sharded("planner") == found


def test_every_list_of_tables_begins_with_the_first_gpu() -> None:
    """As in training, where each `Embeddings` is placed by itself."""
    recipe = TrainingSpec.from_dict({
        "data": "x", "model": {"name": "mlp"}, "distributed": {"embeddings": "table_wise"},
    })  # fmt: skip
    assert place([[A], [B]], recipe, 2, EXAMPLES).weights == 4 * 8 * 15
    assert place([[A, B]], recipe, 2, EXAMPLES).weights == 4 * 8 * 10


def test_column_wise_has_all_rows_and_accumulators_everywhere() -> None:
    found = sharded("column_wise", gpus=2)
    assert (found.weights, found.optimizer) == (4 * ROWS * 4, 4 * ROWS)
    assert sent(found)["embeddings"] == EXAMPLES * 4 * VALUES // 2
    with pytest.raises(UsageError, match="needs rows of a multiple of 16 columns, and these have 8"):
        sharded("column_wise", gpus=4)


def test_tables_of_a_model_are_those_that_training_would_shard() -> None:
    """A sequence shares the table of `a`; another embedding of `a` has rows of its own."""
    keys = {"name": "wukong", "width": 8, "embeddings_per_feature": {"a": 2}}
    recipe = TrainingSpec.from_dict({"data": "x", "model": keys})
    with torch.device("meta"):
        (tables,) = table_groups(build(recipe.model, zoo.SCHEMA, sparse=False))
    assert tables == [TableShape(5, 8, 3), TableShape(4, 8, 1), TableShape(6, 8, 3), TableShape(5, 8, 1)]
    alone = TrainingSpec.from_dict({"data": "x", "model": {"name": "mlp", "width": 8}})
    numbers = Schema((), ("x", "y"), (), ())
    with torch.device("meta"):
        assert table_groups(build(alone.model, numbers, sparse=False)) == [[]]
