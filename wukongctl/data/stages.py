"""Stages that are complete or absent, so that an interrupted preparation can be resumed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from wukongctl.config.spec import Spec
from wukongctl.data.atomic import sync_tree, write_atomic

Saved = TypeVar("Saved", bound=Spec)
KEY = "key"
DATASET = "dataset"
"""Folder in which the dataset is assembled…"""
ASSEMBLING = "assembling"
"""… and a marker that this has started: without the folder, the dataset has been published."""
RAW = "raw"
"""Unpacked raw files; every run verifies them again."""


def begin(work: Path, key: str) -> None:
    """Remove everything from `work` except stages of the request `key`."""
    path = work / KEY
    published = (work / ASSEMBLING).is_file() and not (work / DATASET).is_dir()
    if path.is_file() and path.read_text() == key and not published:
        return
    for entry in work.iterdir():
        if entry.name != RAW:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    write_atomic(path, lambda file: file.write(key.encode()))


@contextmanager
def stage(final: Path) -> Iterator[Path]:
    """A new folder that is renamed to `final` once all its files are on disk."""
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    sync_tree(partial)
    partial.rename(final)


def save(path: Path, content: Spec) -> None:
    """Write the result of a stage."""
    write_atomic(path, lambda file: file.write(content.model_dump_json().encode()))


def load(path: Path, kind: type[Saved]) -> Saved | None:
    """The result of a stage, or None if it has not run."""
    return kind.model_validate_json(path.read_text()) if path.is_file() else None
