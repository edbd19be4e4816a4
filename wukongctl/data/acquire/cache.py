"""Downloads that are kept, and what is known of them."""

import os
from pathlib import Path

import platformdirs

from wukongctl.config.dataset import DatasetSpec, Download, RawFile


def folder(dataset: str) -> Path:
    """Where downloads of `dataset` are kept; WUKONGCTL_CACHE overrides the platform's cache folder."""
    root = os.environ.get("WUKONGCTL_CACHE")
    return (Path(root) if root else platformdirs.user_cache_path("wukongctl")) / "downloads" / dataset


def published(spec: DatasetSpec, name: str) -> RawFile:
    """What is known of a raw file or archive, beside it or beside its download."""
    known = spec.files.get(name, RawFile())
    return known if known.md5 or known.sha256 or known.bytes else spec.downloads.get(name, known)


def pending(spec: DatasetSpec, *, refresh: bool = False) -> dict[str, Download]:
    """Downloads of `spec` that are not in the cache yet; with `refresh`, or that no checksum vouches for."""
    here = folder(spec.name)
    again = {path.name for path in unpublished(spec)} if refresh else set()
    wanted = [name for name in spec.downloads if name in again or not (here / name).is_file()]
    return {name: spec.downloads[name] for name in wanted}


def unpublished(spec: DatasetSpec) -> list[Path]:
    """Downloads in the cache that no checksum vouches for."""
    here = folder(spec.name)
    known = {name: published(spec, name) for name in spec.downloads}
    names = [name for name, raw in known.items() if not (raw.md5 or raw.sha256)]
    return [here / name for name in names if (here / name).is_file()]
