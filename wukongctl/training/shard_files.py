"""Files of sharded matrices, which any number of processes can read.

They are those of `torch.distributed.checkpoint`: each process writes its shards in a file of its own, rank 0
an index of all. A shard is written in blocks, so that writing and reading need little memory beside it.
"""

import contextlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import (
    CheckpointException,
    DefaultLoadPlanner,
    DefaultSavePlanner,
    FileSystemReader,
    FileSystemWriter,
    LoadPlan,
    Metadata,
    SavePlan,
)
from torch.distributed.checkpoint import load as load_shards
from torch.distributed.checkpoint import save as save_shards
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from wukongctl.errors import RunFailed, WukongError, cannot_write
from wukongctl.training.distributed import ALONE, World
from wukongctl.training.shards import Shards, StoredMatrix

INDEX = ".metadata"
INDEX_NAMES = {
    "torch": {"Size", "float32", "strided"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties",
        "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "pathlib": {"Path", "PosixPath", "WindowsPath"},
}  # fmt: skip
"""What the index, a pickle, may name; nothing else in it is ever called."""
NOISE = "torch.distributed is disabled"
"""A warning of torch about what we ask for: no process needs another to read."""


def write(folder: Path, matrices: Mapping[str, Shards], world: World = ALONE) -> None:
    """Write matrices in a new folder. Every process of the world must take part.

    Raises RunFailed or UsageError, in all of them, when one cannot write.
    """
    try:
        with _quiet():
            save_shards(
                dict(matrices),
                storage_writer=FileSystemWriter(folder, per_thread_copy_ahead=0),  # they are on the host
                planner=_SavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                process_group=world.group,
                no_dist=world.size == 1,
            )
    except CheckpointException as error:
        cause = _cause(error)
        if isinstance(cause, OSError):
            raise cannot_write(folder, cause) from error
        raise RunFailed(f"cannot write `{folder}`: {_first_line(cause)}") from error


def _read(folder: Path, name: str, shards: Shards) -> None:
    """Fill `shards` from the matrix `name` of a folder."""
    with _quiet(), _damaged(folder):
        load_shards({name: shards}, storage_reader=_Reader(folder), planner=_LoadPlanner(), no_dist=True)


def matrices_in(folder: Path) -> dict[str, StoredMatrix]:
    """The matrices of a folder, by name; raises RunFailed when its index is damaged."""
    with _damaged(folder):
        index = _Reader(folder).read_metadata()
        shapes = {
            name: (matrix.size[0], matrix.size[1])
            for name, matrix in index.state_dict_metadata.items()
            if isinstance(matrix, TensorStorageMetadata)
        }
    return {name: StoredMatrix(shape, partial(_read, folder, name)) for name, shape in shapes.items()}


def check(folder: Path, world: World = ALONE) -> None:
    """Look at the checksums of this process's share of the blocks; raises RunFailed when one is damaged."""
    with _damaged(folder):
        blocks = list(_Reader(folder).read_metadata().storage_data.values())
        for block in blocks[world.rank :: world.size]:
            with (folder / block.relative_path).open("rb") as file:
                file.seek(block.offset)
                with zipfile.ZipFile(io.BytesIO(file.read(block.length))) as archive:
                    damaged = archive.testzip()  # torch writes checksums but does not check them
            if damaged is not None:
                raise RunFailed(f"checkpoint `{folder / block.relative_path}` is damaged: wrong checksum")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", NOISE)
        yield


@contextlib.contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    """Errors of reading as RunFailed."""
    try:
        yield
    except WukongError:
        raise
    except (CheckpointException, OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError,
            pickle.UnpicklingError, zipfile.BadZipFile) as error:  # fmt: skip
        raise RunFailed(f"checkpoint `{folder}` is damaged: {_first_line(_cause(error))}") from error


def _cause(error: BaseException) -> BaseException:
    """What failed on the first process on which something did."""
    if isinstance(error, CheckpointException):
        return next((failure for failure, _ in error.failures.values()), error)
    return error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _chunks(shards: Shards) -> dict[torch.Size, Tensor]:
    """Blocks by the place of their first number."""
    blocks = (block for shard in shards.local for block in shard.blocks())
    return {torch.Size((block.row, block.column)): block.tensor for block in blocks}


class _SavePlanner(DefaultSavePlanner):
    """Plans with `Shards`, in place of torch's own sharded tensors."""

    def create_local_plan(self) -> SavePlan:
        """What this process writes."""
        self.blocks = {name: _chunks(shards) for name, shards in self.state_dict.items()}
        items = [
            WriteItem(
                MetadataIndex(name, place),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=ChunkStorageMetadata(place, tensor.shape),
                    properties=TensorProperties(torch.float32),
                    size=torch.Size(self.state_dict[name].shape),
                ),
            )
            for name, blocks in self.blocks.items()
            for place, tensor in blocks.items()
        ]
        self.plan = SavePlan(items)
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> Tensor:
        """The block at a place."""
        assert index.offset is not None
        return self.blocks[index.fqn][index.offset]


class _LoadPlanner(DefaultLoadPlanner):
    """The same for reading."""

    def set_up_planner(
        self, state_dict: dict[str, Any], metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """As torch's, which would look for tensors in the state."""
        self.state_dict, self.metadata, self.is_coordinator = state_dict, metadata, is_coordinator

    def create_local_plan(self) -> LoadPlan:
        """What this process reads."""
        assert self.metadata is not None
        self.blocks = {name: _chunks(shards) for name, shards in self.state_dict.items()}
        items = []
        for name, blocks in self.blocks.items():
            stored = self.metadata.state_dict_metadata[name]
            assert isinstance(stored, TensorStorageMetadata)
            wanted = [ChunkStorageMetadata(place, tensor.shape) for place, tensor in blocks.items()]
            items += create_read_items_for_chunk_list(name, stored, wanted)
        return LoadPlan(items)

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        """The block at a place."""
        assert index.offset is not None
        return self.blocks[index.fqn][index.offset]


class _Reader(FileSystemReader):
    """Reads an index without executing anything that it says."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """The index of the folder."""
        with (Path(self.path) / INDEX).open("rb") as file:
            return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in INDEX_NAMES.get(module.replace("pathlib._local", "pathlib"), ()):
            raise pickle.UnpicklingError(f"it names `{module}.{name}`")
        return super().find_class(module, name)
