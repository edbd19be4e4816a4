"""Where the raw files of a dataset are, and whether they are the published ones.

Looked for in `--source`; else downloaded; else beside the recipe, or, for datasets whose owner wants a login
first, in the download cache. A name such as `day_*.csv` stands for all files that fit it.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import platformdirs

from wukongctl.config.dataset import DatasetSpec, Download, RawFile, is_pattern
from wukongctl.data.acquire.digests import digests, require_whole_gzip
from wukongctl.data.acquire.download import fetch
from wukongctl.data.acquire.extract import DamagedArchive, extract_once, is_archive
from wukongctl.data.manifest import Source
from wukongctl.data.progress import Report
from wukongctl.errors import CheckFailed, Problem, RunFailed, UsageError

NOT_PUBLIC = "not public"
"""The licence of data that only its owner has."""
RECIPES = (".yaml", ".yml")
"""Endings of what stands beside raw files and is none."""
LISTED = 8
"""How many names of a folder an error shows."""


Place = Path | tuple[Path, ...]
"""Of a raw file; of several under a name that is a pattern."""


class Resolved(NamedTuple):
    """Raw file name → path, what was read, and checks that failed but were passed over."""

    paths: Mapping[str, Place]
    sources: tuple[Source, ...]
    problems: tuple[str, ...]


class Found(NamedTuple):
    """Raw file name → path, which of them came out of a verified archive, and liberties that were taken."""

    files: dict[str, Place]
    vouched: frozenset[str] = frozenset()
    liberties: tuple[str, ...] = ()


@dataclass
class Checks:
    """Files read so far, and what was wrong with them."""

    spec: DatasetSpec
    verify: bool
    report: Report
    sources: list[Source] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> bool:
        """Compare `path` with what is published of it; whether it is known to be the published file.

        `vouched`: it came out of an archive whose own checksum holds.
        """
        actual = digests(path, self.report)
        if not actual.size:
            self._drop(path)
            raise RunFailed(f"`{path}` is empty", hint="fetch or copy the file again")
        differences = actual.differences(published)
        self.problems += [Problem(difference, file=name) for difference in differences]
        verified = not differences and (vouched or published.md5 is not None or published.sha256 is not None)
        self.sources.append(
            Source(
                file=name,
                bytes=actual.size,
                md5=actual.md5,
                sha256=actual.sha256,
                expected_md5=published.md5,
                expected_sha256=published.sha256,
                expected_bytes=published.bytes,
                verified=verified,
            )
        )
        if differences and self.verify:
            self._drop(path)
        return verified

    def read_raw(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> None:
        """`read` a file that DuckDB will: of gzip nobody else asks for the checksums inside."""
        if not self.read(name, path, published, vouched=vouched) and path.suffix == ".gz":
            try:
                require_whole_gzip(path, self.report)
            except RunFailed:
                self._drop(path)
                raise

    def require(self) -> None:
        """CheckFailed with all problems so far, unless checks are off."""
        if self.problems and self.verify:
            raise CheckFailed(
                f"raw files of dataset `{self.spec.name}` are not the published ones",
                hint="add `--no-verify` to go on and record it in the manifest",
                problems=tuple(self.problems),
            )

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Verify an archive, then unpack the `wanted` files it holds, unless a killed run has; whether it is
        the published one.
        """
        verified = self.read(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        content = [self.sources[-1].sha256, *sorted(wanted)]
        own = into / hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
        try:
            return extract_once(path, wanted, own, self.report), verified
        except DamagedArchive:
            self._drop(path)
            raise

    def _drop(self, path: Path) -> None:
        """Remove a bad download from the cache, so that the next run fetches it again."""
        fetched = path.name in self.spec.downloads  # what a person put there is theirs
        if fetched and path.is_relative_to(cache_folder(self.spec.name)):
            path.unlink(missing_ok=True)


class Rehearsal(Checks):
    """The same checks where nothing may be written: archives are verified, and left as they are."""

    def read(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> bool:
        """As in `Checks`; what an archive is thought to hold is not asked again."""
        return vouched or super().read(name, path, published)

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Verify an archive; the `wanted` files are taken to be in it."""
        self.read(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        return dict.fromkeys(wanted, into), True

    def _drop(self, path: Path) -> None:
        """A bad download stays: the run itself removes it."""


def cache_folder(dataset: str) -> Path:
    """Where downloads of `dataset` are kept; WUKONGCTL_CACHE overrides the platform's cache folder."""
    root = os.environ.get("WUKONGCTL_CACHE")
    return (Path(root) if root else platformdirs.user_cache_path("wukongctl")) / "downloads" / dataset


def resolve(
    spec: DatasetSpec,
    *,
    recipe_dir: Path,
    source: Path | None,
    workspace: Path,
    verify: bool,
    report: Report,
    refresh: bool = False,
) -> Resolved:
    """Find, fetch, unpack (into `workspace`) and verify the raw files of `spec`.

    With `refresh`, downloads that no checksum vouches for are fetched again.

    Raises CheckFailed naming every file that is not the published one, UsageError for missing files,
    RunFailed for files that cannot be fetched or read.
    """
    if not spec.files:
        return Resolved({}, (), ())
    checks = Checks(spec, verify, report)
    if source is None and spec.downloads:
        found = _downloaded(spec, workspace, checks, refresh=refresh)
    else:
        found = _at_hand(spec, recipe_dir, source, workspace, checks)
    _read(spec, found, checks)
    passed = (*found.liberties, *(str(problem) for problem in checks.problems))
    return Resolved(found.files, tuple(checks.sources), passed)


def rehearse(
    spec: DatasetSpec,
    *,
    recipe_dir: Path,
    source: Path | None,
    verify: bool,
    report: Report,
    refresh: bool = False,
) -> None:
    """Raise what `resolve` would of the files at hand; nothing is fetched, unpacked or removed."""
    if not spec.files:
        return
    checks = Rehearsal(spec, verify, report)
    if source is not None or not spec.downloads:
        _read(spec, _at_hand(spec, recipe_dir, source, recipe_dir, checks), checks)
        return
    for name in spec.downloads.keys() - pending(spec, refresh=refresh).keys():
        checks.read_raw(name, cache_folder(spec.name) / name, _published(spec, name))
    checks.require()


def _at_hand(
    spec: DatasetSpec, recipe_dir: Path, source: Path | None, workspace: Path, checks: Checks
) -> Found:
    """Files that are here already, in `source` or where a person was told to put them."""
    if source is not None:
        return _in_source(spec, source, workspace, checks)
    return _beside(spec, recipe_dir, workspace, checks)


def _read(spec: DatasetSpec, found: Found, checks: Checks) -> None:
    """Check every file; CheckFailed with all that are not the published ones."""
    for name in spec.files:
        place = found.files[name]
        if isinstance(place, Path):
            checks.read_raw(name, place, _published(spec, name), vouched=name in found.vouched)
        for path in place if isinstance(place, tuple) else ():
            checks.read_raw(path.name, path, spec.downloads.get(path.name, RawFile()))
    checks.require()


def _published(spec: DatasetSpec, name: str) -> RawFile:
    """What is known of a raw file or archive, beside it or beside its download."""
    known = spec.files.get(name, RawFile())
    return known if known.md5 or known.sha256 or known.bytes else spec.downloads.get(name, known)


def plan(spec: DatasetSpec, *, recipe_dir: Path, source: Path | None, refresh: bool = False) -> list[str]:
    """One line per raw file: where `resolve` would take it from."""
    if source is None and spec.downloads:
        fetched = pending(spec, refresh=refresh)
        return [_download_step(spec, name, fetched=name in fetched) for name in spec.downloads]
    folder = source if source is not None else _folder_beside(spec, recipe_dir)
    if folder.is_file() or not spec.files:
        return [f"read `{folder}`"] if spec.files else []
    steps = []
    for name in spec.files:
        places = [name, f"{name}.gz", *spec.downloads]
        paths = (by_name(folder, place) for place in places) if folder.is_dir() else ()
        path = next((path for path in paths if path is not None), None)
        where = f"{len(path)} files in `{folder}`" if isinstance(path, tuple) else f"`{path}`"
        steps.append(f"`{folder}` lacks `{name}`" if path is None else f"read `{name}` from {where}")
    return steps


def require_source(spec: DatasetSpec, source: Path) -> None:
    """UsageError unless there is something at `source`."""
    if not (source.is_dir() or source.is_file()):
        raise UsageError(f"there is no file or folder `{source}`", hint=_wanted(spec))


def pending(spec: DatasetSpec, *, refresh: bool = False) -> dict[str, Download]:
    """Downloads of `spec` that are not in the cache yet; with `refresh`, or that no checksum vouches for."""
    cache = cache_folder(spec.name)
    again = {path.name for path in unpublished(spec)} if refresh else set()
    wanted = [name for name in spec.downloads if name in again or not (cache / name).is_file()]
    return {name: spec.downloads[name] for name in wanted}


def unpublished(spec: DatasetSpec) -> list[Path]:
    """Downloads in the cache that no checksum vouches for."""
    cache = cache_folder(spec.name)
    known = {name: _published(spec, name) for name in spec.downloads}
    names = [name for name, published in known.items() if not (published.md5 or published.sha256)]
    return [cache / name for name in names if (cache / name).is_file()]


def _download_step(spec: DatasetSpec, name: str, *, fetched: bool) -> str:
    download, cached = spec.downloads[name], cache_folder(spec.name) / name
    if not fetched:
        return f"read `{cached}`, already downloaded"
    size = f" ({download.bytes / 1e6:,.1f} MB)" if download.bytes is not None else ""
    return f"download `{name}`{size} from {', else '.join(download.urls)}"


def _in_source(spec: DatasetSpec, source: Path, workspace: Path, checks: Checks) -> Found:
    if source.is_dir():
        return _in_folder(spec, source, workspace, checks)
    require_source(spec, source)
    if source.name not in spec.files and source.stat().st_size and is_archive(source):
        files, verified = checks.unpack(source.name, source, spec.files, workspace)
        _require_all(spec, files, source, [])
        return Found(dict(files), frozenset(files) if verified else frozenset())
    if len(spec.files) > 1:
        raise UsageError(f"dataset `{spec.name}` needs {len(spec.files)} files, not one", hint=_wanted(spec))
    (name,) = spec.files
    return Found({name: source})


def _folder_beside(spec: DatasetSpec, recipe_dir: Path) -> Path:
    """Where files that nothing fetches belong: beside the recipe, unless it ships with us."""
    mine = spec.instructions is None or any((recipe_dir / name).is_file() for name in spec.files)
    return recipe_dir if mine else cache_folder(spec.name)


def _beside(spec: DatasetSpec, recipe_dir: Path, workspace: Path, checks: Checks) -> Found:
    folder = _folder_beside(spec, recipe_dir)
    if not folder.is_dir():
        if spec.license is not None and spec.license.name == NOT_PUBLIC:
            raise UsageError(f"nobody can fetch dataset `{spec.name}`", hint=spec.instructions)
        raise _lacking(spec, f"dataset `{spec.name}` has to be fetched by hand", spec.files)
    return _in_folder(spec, folder, workspace, checks)


def _in_folder(spec: DatasetSpec, folder: Path, workspace: Path, checks: Checks) -> Found:
    """Files by name in `folder` or below it; then in archives there; then, unverified, the only file."""
    files: dict[str, Place] = {
        name: place for name in spec.files if (place := by_name(folder, name)) is not None
    }
    vouched: set[str] = set()
    for archive in [*spec.downloads, *(f"{name}.gz" for name in spec.files)]:
        missing = [name for name in spec.files if name not in files]
        path = by_name(folder, archive) if missing and archive not in spec.files else None
        if isinstance(path, Path):
            unpacked, verified = checks.unpack(archive, path, missing, workspace)
            files |= unpacked
            vouched |= set(unpacked) if verified else set()
    there = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    there = [path for path in there if path.suffix not in RECIPES]
    substitute = there[0] if not files and len(spec.files) == len(there) == 1 else None
    if substitute is not None and not checks.verify:
        (name,) = spec.files
        return Found({name: substitute}, liberties=(f"`{substitute.name}` was read in place of `{name}`",))
    _require_all(spec, files, folder, [path.name for path in there], substitute)
    return Found(files, frozenset(vouched))


def by_name(folder: Path, name: str) -> Place | None:
    """`folder/name`, or the one file of that base name below `folder`; all files, where `name` is a pattern.

    Raises UsageError if several files below have the one name.
    """
    if (folder / name).is_file():
        return folder / name
    if is_pattern(name):
        here = name if not Path(name).is_absolute() else str(Path(name).relative_to("/"))
        root = folder if here == name else Path("/")
        found = sorted(path for path in root.glob(here) if path.is_file())
        deeper = here if root == folder else Path(name).name
        found = found or sorted(path for path in folder.rglob(deeper) if path.is_file())
        return tuple(found) or None
    below = [path for path in sorted(folder.rglob(Path(name).name)) if path.is_file()]
    if len(below) > 1:
        places = ", ".join(f"`{path.relative_to(folder)}`" for path in below[:LISTED])
        raise UsageError(f"`{folder}` holds several files named `{name}`: {places}")
    return below[0] if below else None


def _downloaded(spec: DatasetSpec, workspace: Path, checks: Checks, *, refresh: bool) -> Found:
    """Raw files offered as such are fetched; then archives, until nothing is missing."""
    cache, again = cache_folder(spec.name), pending(spec, refresh=refresh)
    files: dict[str, Place] = {}
    vouched: set[str] = set()
    for name, download in sorted(spec.downloads.items(), key=lambda item: _file_of(spec, item[0]) is None):
        missing = [wanted for wanted in spec.files if wanted not in files]
        file = _file_of(spec, name)
        if file is None and not missing:
            break
        path = fetch(
            download, cache / name, verify=checks.verify, refresh=name in again, report=checks.report
        )
        if file == name:
            files[name] = path
        elif file is not None:
            there = files.get(file, ())
            files[file] = (*(there if isinstance(there, tuple) else ()), path)
        else:
            unpacked, verified = checks.unpack(name, path, missing, workspace)
            files |= unpacked
            vouched |= set(unpacked) if verified else set()
    _require_all(
        spec, files, cache, sorted(path.name for path in cache.iterdir() if path.name in spec.downloads)
    )
    return Found(files, frozenset(vouched))


def _file_of(spec: DatasetSpec, name: str) -> str | None:
    """The entry of `files` that a download is, by its name or a pattern; None for an archive of them."""
    if name in spec.files:
        return name
    return next((file for file in spec.files if is_pattern(file) and fnmatchcase(name, file)), None)


def _require_all(
    spec: DatasetSpec, files: Iterable[str], place: Path, there: list[str], substitute: Path | None = None
) -> None:
    missing = [name for name in spec.files if name not in set(files)]
    if not missing:
        return
    listed = ", ".join(f"`{name}`" for name in there[:LISTED])
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    holds = f"; it holds {listed}{more}" if there else ""
    names = ", ".join(f"`{name}`" for name in missing)
    error = _lacking(spec, f"`{place}` lacks {names}{holds}", missing)
    if substitute is not None:
        error.hint = f"{error.hint}; or add `--no-verify` to read `{substitute.name}` in its place"
    raise error


def _lacking(spec: DatasetSpec, message: str, missing: Iterable[str]) -> UsageError:
    """With what is published of each missing file, to tell the right one from others."""
    error = UsageError(message, hint=_wanted(spec))
    known = {name: spec.files[name] for name in missing} | {
        name: download for name, download in spec.downloads.items() if _file_of(spec, name) is None
    }
    described = {name: raw.described() for name, raw in known.items()}
    error.problems = tuple(Problem(text, file=name) for name, text in described.items() if text)
    return error


def _wanted(spec: DatasetSpec) -> str:
    """What to put where, in one line."""
    names = ", ".join(f"`{name}`" for name in spec.files)
    archives = [f"`{name}`" for name in spec.downloads if _file_of(spec, name) is None]
    alternative = f" (or {' or '.join(archives)})" if archives else ""
    steps = f"put {names}{alternative} in one folder and give it with `--source`"
    if spec.instructions is None:
        return steps
    return f"{spec.instructions.strip()}; {steps}, or in `{cache_folder(spec.name)}`"
