"""Atomic checkpoints."""

import logging
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from wukongctl.data.atomic import write_atomic
from wukongctl.errors import RunFailed
from wukongctl.training.hardware import synchronize

log = logging.getLogger(__name__)

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write tensors and plain values atomically."""
    write_atomic(path, lambda file: torch.save(state, file))


def load(path: Path) -> State:
    """Read a checkpoint; raises RunFailed if it is damaged. Never executes code from the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch writes checksums but does not look at them
        if damaged is None:
            return torch.load(path, weights_only=True, map_location="cpu")
        reason = f"`{damaged}` fails its checksum"
    except (OSError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
    raise RunFailed(f"checkpoint `{path}` is damaged: {reason}")


def on_host(state: State) -> State:
    """The state with its tensors copied to the host, in parallel."""
    leaves, structure = tree_flatten(state)
    copies = [leaf.to("cpu", non_blocking=True) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    for device in {leaf.device for leaf in leaves if isinstance(leaf, Tensor)}:
        synchronize(device)
    return tree_unflatten(copies, structure)


class Writer:
    """Writes checkpoints one after the other in a background thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[object] | None = None

    def submit(self, write: Callable[[], object]) -> None:
        """Wait for the previous write, then start; raises RunFailed if the previous write failed."""
        self.wait()
        self._writing = self._pool.submit(write)

    def wait(self) -> None:
        """Wait for the last write; raises RunFailed if it failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


class CheckpointFolder:
    """`step-00001234.pt` files, the newest `keep` of them."""

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path, self.keep = path, keep

    def save(self, step: int, state: State) -> Path:
        """Add a checkpoint and drop those beyond `keep`."""
        path = self.path / f"step-{step:010d}.pt"
        save(path, state)
        for old in self._newest_first()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> State | None:
        """The newest readable state; damaged ones are skipped.

        Raises RunFailed if there are checkpoints and none can be read.
        """
        problem: RunFailed | None = None
        for path in self._newest_first():
            try:
                state = load(path)
            except RunFailed as error:
                problem = problem or error
                continue
            if problem is not None:
                log.warning("%s; resuming from `%s` instead", problem.message, path.name)
            return state
        if problem is not None:
            problem.hint = "add `--force` to start this run over"
            raise problem
        return None

    def clear(self) -> None:
        """Remove all step checkpoints and leftovers of killed writes."""
        for path in [*self._newest_first(), *self.path.glob(".*.tmp")]:
            path.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.path.glob("step-*.pt"), reverse=True)
