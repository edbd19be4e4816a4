"""Stages that are whole or absent: what a killed preparation finished, the next one finds and keeps."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from wukongctl.config.spec import Spec
from wukongctl.data.atomic import write_atomic

Saved = TypeVar("Saved", bound=Spec)
KEY = "key"
DATASET = "dataset"
"""Where results are put together…"""
ASSEMBLING = "assembling"
"""… and the sign that this has begun: without the folder, the results were published."""
RAW = "raw"
"""Raw files that were unpacked; they are verified anew by every run."""


def begin(work: Path, key: str) -> None:
    """Make `work` hold nothing but stages of the request `key`."""
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
    """A new folder that becomes `final` once everything in it is on disk."""
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    sync_tree(partial)
    partial.rename(final)


def save(path: Path, content: Spec) -> None:
    """Write what a stage found."""
    write_atomic(path, lambda file: file.write(content.model_dump_json().encode()))


def load(path: Path, kind: type[Saved]) -> Saved | None:
    """What a stage found, or None if it has not run."""
    return kind.model_validate_json(path.read_text()) if path.is_file() else None


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent) / name)
        sync(Path(parent))


def sync(path: Path) -> None:
    """Flush one file or folder to the disk (on Windows, where folders cannot be opened, one file)."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
