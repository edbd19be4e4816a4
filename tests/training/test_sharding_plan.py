"""Where tables go, and whether there is room: without TorchRec, whose plans have tests of their own."""

import sys

import pytest
import torch

from wukongctl.errors import UsageError
from wukongctl.training import sharding_plan
from wukongctl.training.distributed import CPU, World

EDGES = [0, 700, 900, 1000]
"""Tables of 700, 200 and 100 rows."""


@pytest.mark.parametrize(
    ("sharding", "needed"),
    [("row_wise", 500 * 17), ("column_wise", 1000 * 9), ("table_wise", 700 * 17)],
)
@pytest.mark.parametrize("local", [1, 2])
def test_tables_that_do_not_fit_are_refused_before_they_are_allocated(
    monkeypatch: pytest.MonkeyPatch, sharding: sharding_plan.Sharding, needed: int, local: int
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    world = World(0, 2)
    monkeypatch.setattr(sharding_plan, "available_memory", lambda: 4 * needed * local)
    sharding_plan.require_memory(EDGES, 16, sharding, world, CPU)
    monkeypatch.setattr(sharding_plan, "available_memory", lambda: 4 * needed * local - 1)
    with pytest.raises(UsageError, match="embedding tables need"):
        sharding_plan.require_memory(EDGES, 16, sharding, world, CPU)


def test_a_gpu_is_asked_for_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding_plan, "free_memory", lambda device: 10)
    monkeypatch.setattr(sharding_plan, "available_memory", lambda: 1 << 40)
    with pytest.raises(UsageError, match="GB in one process"):
        sharding_plan.require_memory(EDGES, 16, "row_wise", World(0, 2), torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("tables", "ranks", "owners", "load"),
    [
        ([700, 200, 100], 2, [0, 1, 1], [700, 300]),
        ([1, 1, 1, 1], 3, [0, 1, 2, 0], [2, 1, 1]),
        ([5], 2, [0], [5, 0]),
    ],
)
def test_the_largest_table_goes_to_the_rank_with_the_fewest_rows(
    tables: list[int], ranks: int, owners: list[int], load: list[int]
) -> None:
    assert sharding_plan._owners(tables, ranks) == (owners, load)


def test_without_torchrec_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrec", None)
    monkeypatch.setitem(sys.modules, "torchrec.distributed", None)
    with pytest.raises(UsageError, match="need TorchRec") as caught:
        sharding_plan.require_torchrec()
    assert caught.value.hint is not None
    assert "distributed.embeddings=replicated" in caught.value.hint
