"""Archives → the wanted raw files.

Files are matched and written by base name only, so paths in an archive are never followed. Links and devices
are refused, and the unpacked size is limited.
"""

import gzip
import json
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from wukongctl.data.atomic import sync_tree, write_atomic
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.errors import RunFailed

CHUNK = 1 << 20
MAX_RATIO = 100
"""Largest ratio of an unpacked file to its archive (text compresses 3 to 10 times)…"""
MIN_LIMIT = 1 << 30
"""… where that is more than this many bytes."""
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)

Stream = IO[bytes] | gzip.GzipFile
Member = tuple[str, int | None, Stream]
"""Name, unpacked size if recorded, and content."""


class DamagedArchive(RunFailed):
    """The archive is corrupt or truncated; only another copy helps."""


def is_archive(path: Path) -> bool:
    """Whether `path` is a zip, tar or gzip file, by its content."""
    return _starts_with(path, b"\x1f\x8b") or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def extract(
    archive: Path, wanted: Collection[str], into: Path, report: ReportProgress = silent
) -> dict[str, Path]:
    """Unpack the files of `archive` whose base name is in `wanted` into the folder `into`.

    Raises RunFailed for a damaged or truncated archive, two members of one name, a link with a wanted name,
    too little disk space, or a file that unpacks beyond the limit.
    """
    into.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    try:
        for member, size, stream in _members(archive, wanted):
            name = PurePosixPath(member).name
            if name in found:
                raise RunFailed(f"`{archive.name}` holds two files named `{name}`")
            found[name] = into / name
            _copy(stream, found[name], size, archive, report)
    except RuntimeError as error:
        raise RunFailed(
            f"`{archive}` cannot be unpacked: {str(error).partition(',')[0].lower()}",
            hint="unpack it yourself and give the folder with `--source`",
        ) from None
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise DamagedArchive(f"`{archive}` is damaged: {reason}", hint="download or copy it again") from None
    return found


def extract_once(
    archive: Path, wanted: Collection[str], into: Path, report: ReportProgress = silent
) -> dict[str, Path]:
    """`extract`, unless it has completed before; `into` holds nothing else."""
    listing = into.with_name(f"{into.name}.json")
    if listing.is_file():
        found = {name: into / name for name in json.loads(listing.read_text())}
        if all(path.is_file() for path in found.values()):
            return found
    shutil.rmtree(into, ignore_errors=True)
    found = extract(archive, wanted, into, report)
    sync_tree(into)
    write_atomic(listing, lambda file: file.write(json.dumps(list(found)).encode()))
    return found


def _members(archive: Path, wanted: Collection[str]) -> Iterator[Member]:
    """Each wanted member of a zip, a tar or a gzip file."""
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive, wanted)
    elif tarfile.is_tarfile(archive):
        yield from _tar_members(archive, wanted)
    elif _starts_with(archive, b"PK"):
        raise zipfile.BadZipFile("it is a truncated zip")
    else:
        name = archive.name.removesuffix(".gz")
        if name not in wanted and len(wanted) == 1:
            (name,) = wanted
        if name in wanted:
            with gzip.open(archive) as stream:
                yield name, None, stream


def _zip_members(archive: Path, wanted: Collection[str]) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.is_dir() or PurePosixPath(info.filename).name not in wanted:
                continue
            if (info.external_attr >> 28) == 0xA:
                raise _link(archive, info.filename)
            with file.open(info) as stream:
                yield info.filename, info.file_size, stream


def _tar_members(archive: Path, wanted: Collection[str]) -> Iterator[Member]:
    with tarfile.open(archive, "r:*") as file:
        for info in file:
            if info.isdir() or PurePosixPath(info.name).name not in wanted:
                continue
            stream = file.extractfile(info) if info.isreg() else None
            if stream is None:
                raise _link(archive, info.name)
            with stream:
                yield info.name, info.size, stream


def _copy(stream: Stream, target: Path, size: int | None, archive: Path, report: ReportProgress) -> None:
    limit = max(MAX_RATIO * archive.stat().st_size, MIN_LIMIT)
    require_space(target.parent, size or 0)
    done = 0
    with target.open("xb") as file, _disk_errors(target):
        while chunk := stream.read(CHUNK):
            done += len(chunk)
            if done > limit:
                raise RunFailed(f"`{archive.name}`: `{target.name}` unpacks to more than {limit:,} bytes")
            file.write(chunk)
            report(Progress(f"unpacking {target.name}", done, size, "bytes"))


def require_space(folder: Path, size: int, hint: str = "free some space, or choose another folder") -> None:
    """RunFailed unless `size` bytes are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RunFailed(f"`{folder}` has {_size(free)} free and needs {_size(size)}", hint=hint)


def _size(number: int) -> str:
    for unit, digits in (("GB", 9), ("MB", 6), ("KB", 3)):
        if number >= 10**digits:
            return f"{number / 10**digits:,.1f} {unit}"
    return f"{number} bytes"


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise RunFailed(f"cannot write `{target}`: {(error.strerror or str(error)).lower()}") from None


def _link(archive: Path, member: str) -> RunFailed:
    return RunFailed(f"`{archive.name}`: `{member}` is not a regular file, refusing to unpack it")
