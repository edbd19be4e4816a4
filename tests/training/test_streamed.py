"""A run on a streamed train split is that on a stored one, interrupted or not, up to `max_examples`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.synthetic.streamed import prepared, shrink_chunks
from wukongctl.config.training import TrainingSpec
from wukongctl.training import checkpoint
from wukongctl.training.train import train

RECIPE: dict[str, Any] = {
    "model": {"name": "dlrm", "width": 4, "bottom": [4], "top": [8]},
    "batch_size": 48,
    "epochs": 2,
    "max_examples": 1000,
    "checkpoint": {"every_steps": 4},
    "threads": 1,
}


def test_weights_are_those_of_the_stored_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_chunks(monkeypatch)
    found = []
    for streamed in (False, True):
        folder, _ = prepared(tmp_path, "spectrum", streamed=streamed)
        spec = TrainingSpec.from_dict(RECIPE | {"data": folder.name})

        def cut(progress: Any, streamed: bool = streamed) -> None:
            if streamed and progress.step == 14:
                raise ConnectionAbortedError  # as abrupt as a kill

        if streamed:
            with pytest.raises(ConnectionAbortedError):
                train(spec, data=tmp_path, out=tmp_path, report=cut)
        outcome = train(spec, data=tmp_path, out=tmp_path, report=lambda _: None)
        assert outcome.result.examples == 1000
        found.append(checkpoint.load(outcome.folder / "checkpoints" / "best.pt")["model"])
    stored, resumed = found
    assert stored.keys() == resumed.keys()
    assert all(torch.equal(stored[name], resumed[name]) for name in stored)
