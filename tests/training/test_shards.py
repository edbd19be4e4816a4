"""Sharded matrices in a checkpoint: readable by any number of processes, never half a matrix."""

import itertools
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wukongctl.config.training import RowwiseAdagradSpec
from wukongctl.errors import RunFailed, WukongError
from wukongctl.training import checkpoint, optimizers, shard_files, shards
from wukongctl.training.checkpoint import CheckpointFolder
from wukongctl.training.parallel import load_optimizer
from wukongctl.training.shards import Shard, Shards, StoredMatrix

ROWS, COLUMNS = 23, 6


def matrix(offset: float = 0.0) -> Tensor:
    return torch.arange(float(ROWS * COLUMNS)).reshape(ROWS, COLUMNS) + offset


def cut(full: Tensor, rows: list[int], columns: list[int]) -> Shards:
    """A matrix in a grid of shards, each of them a copy."""
    row_edges = [0, *sorted(set(rows)), len(full)]
    column_edges = [0, *sorted(set(columns)), full.shape[1]]
    grid = itertools.product(itertools.pairwise(row_edges), itertools.pairwise(column_edges))
    local = [Shard(full[top:bottom, left:right].clone(), top, left) for (top, bottom), (left, right) in grid]
    return Shards((len(full), full.shape[1]), tuple(local))


EDGES = st.tuples(
    st.lists(st.integers(1, ROWS - 1), max_size=4), st.lists(st.integers(1, COLUMNS - 1), max_size=3)
)


@settings(max_examples=25, deadline=None)
@given(written=EDGES, wanted=EDGES, block=st.sampled_from([1, 7, 1 << 24]))
def test_shards_of_any_layout_are_read_in_any_other(
    tmp_path_factory: pytest.TempPathFactory,
    written: tuple[list[int], list[int]],
    wanted: tuple[list[int], list[int]],
    block: int,
) -> None:
    folder = tmp_path_factory.mktemp("shards") / "x.shards"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BLOCK", block)
        shard_files.write(folder, {"table": cut(matrix(), *written), "sums": cut(matrix(0.5), *wanted)})
        stored = shard_files.matrices_in(folder)
        assert torch.equal(stored["table"].full(), matrix())
        assert torch.equal(stored["sums"].full(), matrix(0.5))
        found = cut(torch.zeros(ROWS, COLUMNS), *wanted)
        found.fill(stored["table"])
        from_memory = cut(torch.zeros(ROWS, COLUMNS), *wanted)
        from_memory.fill(matrix())
    for shard, other, expected in zip(
        found.local, from_memory.local, cut(matrix(), *wanted).local, strict=True
    ):
        assert torch.equal(shard.tensor, expected.tensor)
        assert torch.equal(other.tensor, expected.tensor)


def state(offset: float) -> checkpoint.State:
    sharded = cut(matrix(offset), [10], [])
    return {"model": {"table": sharded, "w": torch.tensor([offset])}, "step": int(offset), "list": [sharded]}


def assert_is(found: checkpoint.State | None, offset: float) -> None:
    assert found is not None
    assert found.keys() == {"model", "step", "list"}
    assert found["step"] == offset
    assert found["model"]["w"] == offset
    assert torch.equal(found["model"]["table"].full(), matrix(offset))
    assert torch.equal(found["list"][0].full(), matrix(offset))


def test_a_checkpoint_has_its_shards_in_a_folder_that_goes_with_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    checkpoint.save(tmp_path / "best.pt", state(1))
    for step in (1, 2, 3):
        folder.save(step, state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.0.shards", "best.pt",
        "step-0000000002.0.shards", "step-0000000002.pt",
        "step-0000000003.0.shards", "step-0000000003.pt",
    ]  # fmt: skip
    assert_is(folder.latest(), 3)
    assert_is(folder.latest(mmap=True), 3)
    folder.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.0.shards", "best.pt"]
    assert_is(checkpoint.load(tmp_path / "best.pt"), 1)


def test_the_old_checkpoint_is_whole_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = tmp_path / "best.pt"
    checkpoint.save(best, state(1))

    def full_disk(*_: object) -> None:
        raise WukongError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomic", full_disk)
        with pytest.raises(WukongError, match="no space left"):
            checkpoint.save(best, state(2))
    assert_is(checkpoint.load(best), 1)
    checkpoint.save(best, state(3))
    assert_is(checkpoint.load(best), 3)
    assert len(list(tmp_path.glob("*.shards"))) == 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.find(matrix(2)[5:9].numpy().tobytes())] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, cut_off, Path.unlink])
def test_a_checkpoint_with_damaged_shards_is_skipped(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(1, state(1))
    folder.save(2, state(2))
    damage(tmp_path / "step-0000000002.0.shards" / "__0_0.distcp")
    assert_is(folder.latest(), 1)
    with pytest.raises(RunFailed, match="is damaged"):
        checkpoint.load(tmp_path / "step-0000000002.pt")


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


@pytest.mark.parametrize("content", [pickle.dumps(Payload()), b"", b"\x80\x04nonsense"])
def test_an_index_is_never_executed(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "best.pt", state(1))
    (tmp_path / "best.0.shards" / ".metadata").write_bytes(content)
    with pytest.raises(RunFailed, match="is damaged"):
        checkpoint.load(tmp_path / "best.pt")
    assert capsys.readouterr().out == ""


def test_shards_that_cannot_be_written_fail_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "best.pt").mkdir()
    file = tmp_path / "x.shards"
    file.write_text("in the way")
    with pytest.raises(WukongError, match=r"cannot write `.*x\.shards`"):
        shard_files.write(file, {"table": cut(matrix(), [], [])})


@pytest.mark.parametrize("slices", [1, 2])
def test_one_process_resumes_the_optimizer_of_sharded_tables(tmp_path: Path, slices: int) -> None:
    sums = matrix()[:, :slices].contiguous()
    # As `sharding.ShardedRowwiseAdagrad` writes it: neither `l2`, nor the sums as a vector.
    written = {
        "state": {0: {"sum": cut(sums, [9], [])}},
        "param_groups": [{"lr": 0.5, "eps": 1e-8, "params": [0]}],
    }
    checkpoint.save(tmp_path / "x.pt", {"embedding": written})
    spec = RowwiseAdagradSpec(lr=0.1)
    table = torch.zeros(ROWS, 4, requires_grad=True)
    one = optimizers.RowwiseAdagrad([table], lr=spec.lr, eps=spec.eps, l2=spec.l2)
    load_optimizer(one, checkpoint.load(tmp_path / "x.pt")["embedding"])
    assert torch.equal(one.state[table]["sum"], sums.mean(1))
    assert one.param_groups[0]["lr"] == 0.5
    torch.nn.functional.embedding(torch.tensor([3]), table, sparse=True).sum().backward()
    one.step()
    expected = -0.5 / (sums[3].mean() + 1).sqrt()
    torch.testing.assert_close(table.detach()[3], expected.expand(4))


def test_a_stored_matrix_knows_its_shape(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pt", {"table": cut(matrix(), [4], [2])})
    stored = checkpoint.load(tmp_path / "x.pt")["table"]
    assert isinstance(stored, StoredMatrix)
    assert stored.shape == (ROWS, COLUMNS)
