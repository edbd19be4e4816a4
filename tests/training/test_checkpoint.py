import os
from pathlib import Path

import pytest
import torch

from wukongctl.errors import RunFailed
from wukongctl.training import checkpoint
from wukongctl.training.checkpoint import CheckpointFolder


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (5, 900, 10_000):
        folder.save(step, {"position": {"step": step}})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-0000000900.pt", "step-0000010000.pt"]
    latest = folder.latest()
    assert latest is not None
    assert latest["position"]["step"] == 10_000


def test_code_in_a_checkpoint_is_neither_run_nor_recommended(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"model": Code()}, tmp_path / "best.pt")
    with pytest.raises(RunFailed, match="more than tensors and plain values") as caught:
        checkpoint.load(tmp_path / "best.pt")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_checkpoint_is_skipped(tmp_path: Path, damage: str) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(1, {"w": torch.arange(5000.0)})
    newest = folder.save(2, {"w": torch.arange(5000.0) + 1})
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    newest.write_bytes({"truncated": content[:-200], "flipped": content, "empty": b""}[damage])
    latest = folder.latest()
    assert latest is not None
    assert latest["w"][0] == 0
    (tmp_path / "step-0000000001.pt").write_bytes(b"")
    with pytest.raises(RunFailed, match="is damaged") as caught:
        folder.latest()
    assert caught.value.hint is not None
    assert "--force" in caught.value.hint


def test_loading_never_runs_code_from_the_file(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"x": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(RunFailed, match="damaged"):
        checkpoint.load(tmp_path / "evil.pt")
