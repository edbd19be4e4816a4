"""What two ranks of a gloo world find, as JSON on stdout of rank 0; run by `test_world.py`."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tests.models.zoo import CONFIGURATIONS, SCHEMA, make_batch
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.errors import CheckFailed, WukongError
from wukongctl.models import build
from wukongctl.training import checkpoint, distributed, parallel
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.feeds import BatchShard
from wukongctl.training.hardware import Execution
from wukongctl.training.optimizers import wants_sparse
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.shards import Shard, Shards
from wukongctl.training.update import Update

ROWS = 20
BATCH = 11
"""Not even: one rank has a row that does not count."""


def error_of(action: Any) -> str:
    try:
        action()
    except WukongError as error:
        return f"{error.exit_code} {error.on_every_rank} {error.message}"
    return ""


def agreement(world: World) -> dict[str, Any]:
    def fail() -> int:
        raise CheckFailed("only on rank 0")

    return {
        "same": error_of(lambda: world.require_same(2**53 + 1, "step")),
        "other": error_of(lambda: world.require_same(2**53 + world.rank, "step")),
        "failed": error_of(lambda: world.from_rank_zero(fail)),
        "told": world.from_rank_zero(lambda: {"rank": world.rank}),
    }


def matrix() -> torch.Tensor:
    return torch.arange(ROWS * 4.0).reshape(ROWS, 4)


def by_rows(world: World) -> Shards:
    half = ROWS // 2
    return Shards((ROWS, 4), (Shard(matrix()[world.rank * half :][:half].clone(), world.rank * half),))


def by_columns(world: World) -> Shards:
    return Shards((ROWS, 4), (Shard(torch.zeros(ROWS, 2), 0, 2 * world.rank),))


def checkpoints(world: World, folder: Path) -> dict[str, Any]:
    checkpoint.save(folder / "best.pt", {"model": {"table": by_rows(world)}}, world)
    columns = by_columns(world)
    columns.fill(checkpoint.load(folder / "best.pt", world)["model"]["table"])
    shard = columns.local[0]
    as_written = torch.equal(shard.tensor, matrix()[:, shard.column : shard.column + 2])
    several = checkpoint.CheckpointFolder(folder, keep=2)
    for step in (1, 2):
        several.save(step, {"step": step, "table": by_rows(world)}, world)
    if world.is_rank_zero:
        file = folder / "step-0000000002.0.shards" / "__1_0.distcp"
        file.write_bytes(file.read_bytes().replace(matrix()[12:14].numpy().tobytes(), bytes(32)))
    world.largest(0)  # wait
    latest = several.latest(world)
    (folder / "file").touch()
    in_the_way = folder / "file" / "x.pt"
    unwritable = error_of(lambda: checkpoint.save(in_the_way, {"table": by_rows(world)}, world))
    return {
        "as_written": bool(world.sum([float(as_written)])[0] == 2),
        "skipped to": None if latest is None else latest["step"],
        "unwritable": unwritable,
    }


def losses(world: World, changes: dict[str, Any]) -> list[float]:
    """Of four steps of a model. Large eps: gradients that are zero but for rounding stay harmless."""
    embedding = {"eps": 1e-2, **changes}
    recipe = {
        "data": "d",
        "model": {"width": 6, **CONFIGURATIONS["wukong"]},
        "optimizer": {"dense": {"eps": 1e-3}, "embedding": embedding},
    }
    spec = TrainingSpec.from_dict(recipe)
    torch.manual_seed(1)
    model = build(spec.model, SCHEMA, sparse=wants_sparse(spec.optimizer))
    update = Update(spec, ParallelModel(model, spec, world), Execution(1, "float32", False))
    found = []
    for step in range(4):
        torch.manual_seed(step)
        batch = make_batch(BATCH)
        (ids, counted), (dense, _), (labels, _) = map(world.shard, (batch.ids, batch.dense, batch.labels))
        found.append(float(update(BatchShard(Batch(ids, dense, labels, None), counted, BATCH), 1.0)))
    return found


def exchanges(world: World) -> dict[str, Any]:
    found = {}
    for name in ("rowwise_adagrad", "lazy_adam"):
        changes = {"name": name}
        found[name] = {"alone": losses(ALONE, changes), "reduced": losses(world, changes)}
        before, parallel.GATHERED_ON = parallel.GATHERED_ON, ("cpu",)
        found[name]["gathered"] = losses(world, changes)
        parallel.GATHERED_ON = before
    return found


def main() -> None:
    torch.set_num_threads(1)
    with distributed.joined() as world:
        assert world.size == 2
        found = {
            "agreement": agreement(world),
            "checkpoints": checkpoints(world, Path(sys.argv[1])),
            "exchanges": exchanges(world),
        }
        if world.is_rank_zero:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
