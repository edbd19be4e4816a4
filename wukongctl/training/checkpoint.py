"""Atomic checkpoints."""

import logging
import pickle
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from wukongctl.data.atomic import write_atomic
from wukongctl.errors import RunFailed
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.hardware import synchronize
from wukongctl.training.shards import BLOCK, Shards

log = logging.getLogger(__name__)

State = dict[str, Any]
FOLDER, MATRIX = "shards in", "shards"
"""Keys of a file with shards: the name of their folder; in place of a matrix, its name there."""


def save(path: Path, state: State, world: World = ALONE) -> None:
    """Write tensors, shards and plain values atomically. Every process of the world must take part.

    Raises RunFailed or UsageError, in all of them, when one cannot write.
    """
    leaves, structure = tree_flatten(state)
    shards = {str(place): leaf for place, leaf in enumerate(leaves) if isinstance(leaf, Shards)}
    folder = None
    if shards:
        from wukongctl.training import shard_files  # half a second of imports

        folder = world.from_rank_zero(lambda: _new_folder(path))
        shard_files.write(folder, shards, world)
        names = [
            {MATRIX: str(place)} if isinstance(leaf, Shards) else leaf for place, leaf in enumerate(leaves)
        ]
        state = {**tree_unflatten(names, structure), FOLDER: folder.name}

    def write() -> None:
        write_atomic(path, lambda file: torch.save(state, file))
        _remove_folders(path, keep=folder)

    world.on_rank_zero(write)


def load(path: Path, world: World = ALONE, *, mmap: bool = False) -> State:
    """Read a checkpoint; raises RunFailed when it is damaged. Never executes code from the file.

    Shards come as `StoredMatrix`. Every process of the world must take part, each checks its part of the
    files. With `mmap` large tensors are read from the file only where they are used.
    """
    state, problem = {}, None
    try:
        state = _read(path, world, mmap=mmap)
    except RunFailed as error:
        problem = error
    if world.largest(problem is not None):
        raise problem or RunFailed(f"checkpoint `{path}` is damaged: another process cannot read it")
    return state


def _read(path: Path, world: World, *, mmap: bool) -> State:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch writes checksums but does not check them
        if damaged is None:
            state = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
            return _with_matrices(_small_in_memory(state) if mmap else state, path, world)
        reason = f"`{damaged}` has a wrong checksum"
    except pickle.UnpicklingError:  # torch advises to load it all the same, code included
        reason = "it holds more than tensors and plain values, which wukongctl never loads"
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
    raise RunFailed(f"checkpoint `{path}` is damaged: {reason}")


def _with_matrices(state: State, path: Path, world: World) -> State:
    """The state with its shards, if it has any."""
    if FOLDER not in state:
        return state
    from wukongctl.training import shard_files

    folder = path.parent / state.pop(FOLDER)
    shard_files.check(folder, world)
    matrices = shard_files.matrices_in(folder)

    def is_matrix(leaf: object) -> bool:
        return isinstance(leaf, dict) and leaf.keys() == {MATRIX}

    return tree_map(
        lambda leaf: matrices[leaf[MATRIX]] if is_matrix(leaf) else leaf, state, is_leaf=is_matrix
    )


def _small_in_memory(state: State) -> State:
    """Only large tensors stay in the file, which may be deleted."""
    return tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, Tensor) and leaf.numel() <= BLOCK else leaf, state
    )


def _new_folder(path: Path) -> Path:
    """A name that is free: until the file is replaced, the folder it names must stay."""
    number = 0
    while (folder := path.with_name(f"{path.stem}.{number}.shards")).exists():
        number += 1
    return folder


def _remove_folders(path: Path, *, keep: Path | None = None) -> None:
    """Delete the folders of a checkpoint, but for one."""
    for folder in path.parent.glob(f"{path.stem}.*.shards"):
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


def on_host(state: State) -> State:
    """The state with its tensors copied to the host, in parallel."""
    leaves, structure = tree_flatten(state)
    copies = [_copy_to_host(leaf) for leaf in leaves]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    tensors += [shard.tensor for leaf in leaves if isinstance(leaf, Shards) for shard in leaf.local]
    for device in {tensor.device for tensor in tensors}:
        synchronize(device)
    return tree_unflatten(copies, structure)


def _copy_to_host(leaf: Any) -> Any:
    if isinstance(leaf, Shards):
        return leaf.on_host()
    return leaf.to("cpu", non_blocking=True) if isinstance(leaf, Tensor) else leaf


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

    def save(self, step: int, state: State, world: World = ALONE) -> Path:
        """Add a checkpoint and drop those beyond `keep`, as `checkpoint.save`."""
        path = self.path / f"step-{step:010d}.pt"
        save(path, state, world)
        world.on_rank_zero(lambda: self._remove(self._newest_first()[self.keep :]))
        return path

    def latest(self, world: World = ALONE, *, mmap: bool = False) -> State | None:
        """The newest readable state; damaged ones are skipped. Every process of the world must take part.

        Raises RunFailed if there are checkpoints and none can be read.
        """
        problem: RunFailed | None = None
        paths = self._newest_first()
        world.require_same(len(paths), "checkpoints")
        for path in paths:
            try:
                state = load(path, world, mmap=mmap)
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
        self._remove([*self._newest_first(), *self.path.glob(".*.tmp")])

    def _remove(self, paths: list[Path]) -> None:
        """Delete checkpoints, and folders of those that were never completed."""
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in self.path.glob("step-*.shards"):
            if not (self.path / f"{folder.name.partition('.')[0]}.pt").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.path.glob("step-*.pt"), reverse=True)
