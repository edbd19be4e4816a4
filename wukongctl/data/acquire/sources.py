"""Where the raw files of a dataset are, and whether they are the published ones.

Looked for in `--source`; else downloaded; else beside the recipe, or, for datasets whose owner wants a login
first, in the download cache. A name such as `day_*.csv` stands for all files that fit it.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.dataset import DatasetSpec, RawFile, is_pattern
from wukongctl.data.acquire import cache, patterns
from wukongctl.data.acquire.checks import Checks, LocalChecks
from wukongctl.data.acquire.download import fetch
from wukongctl.data.acquire.extract import is_archive
from wukongctl.data.manifest import SourceFile
from wukongctl.data.options import Options
from wukongctl.errors import Problem, UsageError

NOT_PUBLIC = "not public"
"""The licence of data that only its owner has."""
RECIPES = (".yaml", ".yml")
"""Endings of what stands beside raw files and is none."""
LISTED = 8
"""How many names of a folder an error shows."""


FilePaths = Path | tuple[Path, ...]
"""Of a raw file; of several under a name that is a pattern."""


class Resolved(NamedTuple):
    """Raw file name → path, what was read, and checks that failed but were passed over."""

    paths: Mapping[str, FilePaths]
    sources: tuple[SourceFile, ...]
    problems: tuple[str, ...]


class Found(NamedTuple):
    """Raw file name → path, which of them came out of a verified archive, and liberties that were taken."""

    files: dict[str, FilePaths]
    vouched: frozenset[str] = frozenset()
    liberties: tuple[str, ...] = ()


def resolve(spec: DatasetSpec, options: Options, *, workspace: Path) -> Resolved:
    """Find, fetch, unpack (into `workspace`) and verify the raw files of `spec`.

    Raises CheckFailed naming every file that is not the published one, UsageError for missing files,
    RunFailed for files that cannot be fetched or read.
    """
    if not spec.files:
        return Resolved({}, (), ())
    checks = Checks(spec, options.verify, options.report)
    if options.source is None and spec.downloads:
        found = _downloaded(spec, workspace, checks, refresh=options.refresh)
    else:
        found = _at_hand(spec, options, workspace, checks)
    _read(spec, found, checks)
    passed = (*found.liberties, *(str(problem) for problem in checks.problems))
    return Resolved(found.files, tuple(checks.sources), passed)


def check_local(spec: DatasetSpec, options: Options) -> None:
    """Raise what `resolve` would of the files at hand; nothing is fetched, unpacked or removed."""
    if not spec.files:
        return
    checks = LocalChecks(spec, options.verify, options.report)
    if options.source is not None or not spec.downloads:
        _read(spec, _at_hand(spec, options, options.recipe_dir, checks), checks)
        return
    for name in spec.downloads.keys() - cache.pending(spec, refresh=options.refresh).keys():
        checks.read_raw(name, cache.folder(spec.name) / name, cache.published(spec, name))
    checks.require()


def _at_hand(spec: DatasetSpec, options: Options, workspace: Path, checks: Checks) -> Found:
    """Files that are here already, in `source` or where a person was told to put them."""
    if options.source is not None:
        return _in_source(spec, options.source, workspace, checks)
    return _beside(spec, options.recipe_dir, workspace, checks)


def _read(spec: DatasetSpec, found: Found, checks: Checks) -> None:
    """Check every file; CheckFailed with all that are not the published ones."""
    for name in spec.files:
        place = found.files[name]
        if isinstance(place, Path):
            checks.read_raw(name, place, cache.published(spec, name), vouched=name in found.vouched)
        for path in place if isinstance(place, tuple) else ():
            checks.read_raw(path.name, path, spec.downloads.get(path.name, RawFile()))
    checks.require()


def plan(spec: DatasetSpec, options: Options) -> list[str]:
    """One line per raw file: where `resolve` would take it from."""
    source = options.source
    if source is None and spec.downloads:
        fetched = cache.pending(spec, refresh=options.refresh)
        return [_download_step(spec, name, fetched=name in fetched) for name in spec.downloads]
    folder = source if source is not None else _folder_beside(spec, options.recipe_dir)
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


def _download_step(spec: DatasetSpec, name: str, *, fetched: bool) -> str:
    download, cached = spec.downloads[name], cache.folder(spec.name) / name
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
    return recipe_dir if mine else cache.folder(spec.name)


def _beside(spec: DatasetSpec, recipe_dir: Path, workspace: Path, checks: Checks) -> Found:
    folder = _folder_beside(spec, recipe_dir)
    if not folder.is_dir():
        if spec.license is not None and spec.license.name == NOT_PUBLIC:
            raise UsageError(f"nobody can fetch dataset `{spec.name}`", hint=spec.instructions)
        raise _lacking(spec, f"dataset `{spec.name}` has to be fetched by hand", spec.files)
    return _in_folder(spec, folder, workspace, checks)


def _in_folder(spec: DatasetSpec, folder: Path, workspace: Path, checks: Checks) -> Found:
    """Files by name in `folder` or below it; then in archives there; then, unverified, the only file."""
    files: dict[str, FilePaths] = {
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


def by_name(folder: Path, name: str) -> FilePaths | None:
    """`folder/name`, or the one file of that base name below `folder`; all files, where `name` is a pattern.

    Raises UsageError if several files below have the one name, or a pattern takes files of several kinds.
    """
    if (folder / name).is_file():
        return folder / name
    if is_pattern(name):
        here = name if not Path(name).is_absolute() else str(Path(name).relative_to("/"))
        root = folder if here == name else Path("/")
        found = sorted(path for path in root.glob(here) if path.is_file())
        deeper = here if root == folder else Path(name).name
        found = found or sorted(path for path in folder.rglob(deeper) if path.is_file())
        return tuple(patterns.own(found, name)) or None
    below = [path for path in sorted(folder.rglob(Path(name).name)) if path.is_file()]
    if len(below) > 1:
        places = ", ".join(f"`{path.relative_to(folder)}`" for path in below[:LISTED])
        raise UsageError(f"`{folder}` holds several files named `{name}`: {places}")
    return below[0] if below else None


def _downloaded(spec: DatasetSpec, workspace: Path, checks: Checks, *, refresh: bool) -> Found:
    """Raw files offered as such are fetched; then archives, until nothing is missing."""
    kept, again = cache.folder(spec.name), cache.pending(spec, refresh=refresh)
    files: dict[str, FilePaths] = {}
    vouched: set[str] = set()
    for name, download in sorted(spec.downloads.items(), key=lambda item: _file_of(spec, item[0]) is None):
        missing = [wanted for wanted in spec.files if wanted not in files]
        file = _file_of(spec, name)
        if file is None and not missing:
            break
        path = fetch(download, kept / name, verify=checks.verify, refresh=name in again, report=checks.report)
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
        spec, files, kept, sorted(path.name for path in kept.iterdir() if path.name in spec.downloads)
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
    return f"{spec.instructions.strip()}; {steps}, or in `{cache.folder(spec.name)}`"
