"""The download cache, and which of its files have a published checksum."""

import os
from pathlib import Path

import platformdirs

from wukongctl.config.dataset import DatasetSpec, Download, RawFile


def root() -> Path:
    """WUKONGCTL_CACHE, or the platform's cache folder."""
    chosen = os.environ.get("WUKONGCTL_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("wukongctl")


def folder(dataset: str) -> Path:
    """The downloads of `dataset`."""
    return root() / "downloads" / dataset


def published(spec: DatasetSpec, name: str) -> RawFile:
    """Published size and checksums of a raw file or archive, from its entry in `files` or `downloads`."""
    known = spec.files.get(name, RawFile())
    return known if known.md5 or known.sha256 or known.bytes else spec.downloads.get(name, known)


def pending(spec: DatasetSpec, *, refresh: bool = False) -> dict[str, Download]:
    """Downloads that are not in the cache; with `refresh`, also those without a published checksum."""
    again = {path.name for path in without_checksum(spec)} if refresh else set()
    return {
        name: download
        for name, download in spec.downloads.items()
        if name in again or not (folder(spec.name) / name).is_file()
    }


def without_checksum(spec: DatasetSpec) -> list[Path]:
    """Downloads in the cache without a published checksum."""
    known = {folder(spec.name) / name: published(spec, name) for name in spec.downloads}
    return [path for path, raw in known.items() if not (raw.md5 or raw.sha256) and path.is_file()]
