"""The raw files of a dataset, located and verified.

They come from `--source`; else from a download; else from the folder of the recipe or, for datasets that
require a login, from the download cache. A name such as `day_*.csv` stands for all files that match it.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.dataset import DatasetSpec, RawFile, is_pattern
from wukongctl.data.acquire import cache, patterns
from wukongctl.data.acquire.checks import Checks, DryRunChecks
from wukongctl.data.acquire.download import fetch
from wukongctl.data.acquire.extract import is_archive
from wukongctl.data.manifest import SourceFile
from wukongctl.data.options import Options
from wukongctl.errors import Problem, UsageError

NOT_PUBLIC = "not public"
"""License of data that nobody but its owner has."""
RECIPES = (".yaml", ".yml")
"""Suffixes of recipes, which are no raw files."""
LISTED = 8
"""File names that an error lists at most."""

FilePaths = Path | tuple[Path, ...]
"""The path of a raw file, or the paths that match a pattern."""


class Resolved(NamedTuple):
    """Raw file name → path, the files that were read, and problems ignored by `--no-verify`."""

    paths: Mapping[str, FilePaths]
    sources: tuple[SourceFile, ...]
    problems: tuple[str, ...]


class Located(NamedTuple):
    """Raw file name → path, the names unpacked from verified archives, and substitutions of other files."""

    files: dict[str, FilePaths]
    from_verified: frozenset[str] = frozenset()
    substitutions: tuple[str, ...] = ()


def resolve(spec: DatasetSpec, options: Options, *, workspace: Path) -> Resolved:
    """Locate, download, unpack (into `workspace`) and verify the raw files of `spec`.

    Raises CheckFailed naming every file that differs from the published one, UsageError for missing files,
    RunFailed for files that cannot be downloaded or read.
    """
    if not spec.files:
        return Resolved({}, (), ())
    checks = Checks(spec, options.verify, options.report)
    if options.source is None and spec.downloads:
        found = _downloaded(spec, workspace, checks, refresh=options.refresh)
    else:
        found = _local(spec, options, workspace, checks)
    _check(spec, found, checks)
    problems = (*found.substitutions, *map(str, checks.problems))
    return Resolved(found.files, tuple(checks.sources), problems)


def check_local(spec: DatasetSpec, options: Options) -> None:
    """Raise what `resolve` would for local files, without downloading, unpacking or removing any."""
    if not spec.files:
        return
    checks = DryRunChecks(spec, options.verify, options.report)
    if options.source is not None or not spec.downloads:
        _check(spec, _local(spec, options, options.recipe_dir, checks), checks)
        return
    for name in spec.downloads.keys() - cache.pending(spec, refresh=options.refresh).keys():
        checks.check_raw(name, cache.folder(spec.name) / name, cache.published(spec, name))
    checks.require()


def _local(spec: DatasetSpec, options: Options, workspace: Path, checks: Checks) -> Located:
    """The files in `source`, or where the recipe says to put them."""
    if options.source is not None:
        return _in_source(spec, options.source, workspace, checks)
    return _beside(spec, options.recipe_dir, workspace, checks)


def _check(spec: DatasetSpec, found: Located, checks: Checks) -> None:
    """Check every file; CheckFailed with all that differ from the published ones."""
    for name in spec.files:
        paths, from_verified = found.files[name], name in found.from_verified
        if isinstance(paths, Path):
            checks.check_raw(name, paths, cache.published(spec, name), from_verified=from_verified)
        for path in paths if isinstance(paths, tuple) else ():
            checks.check_raw(path.name, path, spec.downloads.get(path.name, RawFile()))
    checks.require()


def plan(spec: DatasetSpec, options: Options) -> list[str]:
    """One line per raw file: where `resolve` would take it from."""
    source = options.source
    if source is None and spec.downloads:
        pending = cache.pending(spec, refresh=options.refresh)
        return [_download_step(spec, name, is_pending=name in pending) for name in spec.downloads]
    folder = source if source is not None else _folder_beside(spec, options.recipe_dir)
    if folder.is_file() or not spec.files:
        return [f"read `{folder}`"] if spec.files else []
    steps = []
    for name in spec.files:
        candidates = [name, f"{name}.gz", *spec.downloads]
        paths = (by_name(folder, candidate) for candidate in candidates) if folder.is_dir() else ()
        path = next((path for path in paths if path is not None), None)
        where = f"{len(path)} files in `{folder}`" if isinstance(path, tuple) else f"`{path}`"
        steps.append(
            f"`{name}` is missing from `{folder}`" if path is None else f"read `{name}` from {where}"
        )
    return steps


def _download_step(spec: DatasetSpec, name: str, *, is_pending: bool) -> str:
    download, cached = spec.downloads[name], cache.folder(spec.name) / name
    if not is_pending:
        return f"read `{cached}`, already downloaded"
    size = f" ({download.bytes / 1e6:,.1f} MB)" if download.bytes is not None else ""
    return f"download `{name}`{size} from {', else '.join(download.urls)}"


def _in_source(spec: DatasetSpec, source: Path, workspace: Path, checks: Checks) -> Located:
    if source.is_dir():
        return _in_folder(spec, source, workspace, checks)
    if not source.is_file():
        raise UsageError(f"there is no file or folder `{source}`", hint=_instructions(spec))
    if source.name not in spec.files and source.stat().st_size and is_archive(source):
        files, verified = checks.unpack(source.name, source, spec.files, workspace)
        _require_all(spec, files, source, [])
        return Located(dict(files), frozenset(files) if verified else frozenset())
    if len(spec.files) > 1:
        raise UsageError(
            f"dataset `{spec.name}` needs {len(spec.files)} files, not one", hint=_instructions(spec)
        )
    (name,) = spec.files
    return Located({name: source})


def _folder_beside(spec: DatasetSpec, recipe_dir: Path) -> Path:
    """The folder for files without a download: the recipe's, or the cache for a shipped recipe."""
    own = spec.instructions is None or any((recipe_dir / name).is_file() for name in spec.files)
    return recipe_dir if own else cache.folder(spec.name)


def _beside(spec: DatasetSpec, recipe_dir: Path, workspace: Path, checks: Checks) -> Located:
    folder = _folder_beside(spec, recipe_dir)
    if not folder.is_dir():
        if spec.license is not None and spec.license.name == NOT_PUBLIC:
            raise UsageError(f"dataset `{spec.name}` is not public", hint=spec.instructions)
        raise _missing(spec, f"dataset `{spec.name}` must be downloaded by hand", spec.files)
    return _in_folder(spec, folder, workspace, checks)


def _in_folder(spec: DatasetSpec, folder: Path, workspace: Path, checks: Checks) -> Located:
    """Files by name in or below `folder`, then from archives there; without verification, the only file."""
    files: dict[str, FilePaths] = {
        name: paths for name in spec.files if (paths := by_name(folder, name)) is not None
    }
    from_verified: set[str] = set()
    for archive in [*spec.downloads, *(f"{name}.gz" for name in spec.files)]:
        missing = [name for name in spec.files if name not in files]
        path = by_name(folder, archive) if missing and archive not in spec.files else None
        if isinstance(path, Path):
            unpacked, verified = checks.unpack(archive, path, missing, workspace)
            files |= unpacked
            from_verified |= set(unpacked) if verified else set()
    there = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.suffix not in RECIPES
    )
    substitute = there[0] if not files and len(spec.files) == len(there) == 1 else None
    if substitute is not None and not checks.verify:
        (name,) = spec.files
        return Located(
            {name: substitute}, substitutions=(f"`{substitute.name}` was read in place of `{name}`",)
        )
    _require_all(spec, files, folder, [path.name for path in there], substitute)
    return Located(files, frozenset(from_verified))


def by_name(folder: Path, name: str) -> FilePaths | None:
    """`folder/name`, or the one file of that name below `folder`; all matching files if `name` is a pattern.

    Raises UsageError if several files below have that name, or a pattern matches files of several kinds.
    """
    if (folder / name).is_file():
        return folder / name
    if is_pattern(name):
        here = name if not Path(name).is_absolute() else str(Path(name).relative_to("/"))
        root = folder if here == name else Path("/")
        found = sorted(path for path in root.glob(here) if path.is_file())
        deeper = here if root == folder else Path(name).name
        found = found or sorted(path for path in folder.rglob(deeper) if path.is_file())
        return tuple(patterns.table_files(found, name)) or None
    below = [path for path in sorted(folder.rglob(Path(name).name)) if path.is_file()]
    if len(below) > 1:
        listed = ", ".join(f"`{path.relative_to(folder)}`" for path in below[:LISTED])
        raise UsageError(f"`{folder}` contains several files named `{name}`: {listed}")
    return below[0] if below else None


def _downloaded(spec: DatasetSpec, workspace: Path, checks: Checks, *, refresh: bool) -> Located:
    """Download raw files, then archives until no raw file is missing."""
    cached, pending = cache.folder(spec.name), cache.pending(spec, refresh=refresh)
    files: dict[str, FilePaths] = {}
    from_verified: set[str] = set()
    for name, download in sorted(spec.downloads.items(), key=lambda item: _file_of(spec, item[0]) is None):
        missing = [wanted for wanted in spec.files if wanted not in files]
        file = _file_of(spec, name)
        if file is None and not missing:
            break
        path = fetch(
            download, cached / name, verify=checks.verify, refresh=name in pending, report=checks.report
        )
        if file == name:
            files[name] = path
        elif file is not None:
            others = files.get(file, ())
            files[file] = (*(others if isinstance(others, tuple) else ()), path)
        else:
            unpacked, verified = checks.unpack(name, path, missing, workspace)
            files |= unpacked
            from_verified |= set(unpacked) if verified else set()
    there = sorted(path.name for path in cached.iterdir() if path.name in spec.downloads)
    _require_all(spec, files, cached, there)
    return Located(files, frozenset(from_verified))


def _file_of(spec: DatasetSpec, name: str) -> str | None:
    """The entry of `files` for a download, by name or pattern; None for an archive."""
    if name in spec.files:
        return name
    return next((file for file in spec.files if is_pattern(file) and fnmatchcase(name, file)), None)


def _require_all(
    spec: DatasetSpec, files: Iterable[str], folder: Path, there: list[str], substitute: Path | None = None
) -> None:
    missing = [name for name in spec.files if name not in set(files)]
    if not missing:
        return
    listed = ", ".join(f"`{name}`" for name in there[:LISTED])
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    contents = f", which contains {listed}{more}" if there else ""
    names = ", ".join(f"`{name}`" for name in missing)
    error = _missing(spec, f"{names} not found in `{folder}`{contents}", missing)
    if substitute is not None:
        error.hint = f"{error.hint}; or use `{substitute.name}` instead with `--no-verify`"
    raise error


def _missing(spec: DatasetSpec, message: str, missing: Iterable[str]) -> UsageError:
    """With the published size and checksum of each missing file."""
    error = UsageError(message, hint=_instructions(spec))
    known = {name: spec.files[name] for name in missing} | {
        name: download for name, download in spec.downloads.items() if _file_of(spec, name) is None
    }
    described = {name: raw.described() for name, raw in known.items()}
    error.problems = tuple(Problem(text, file=name) for name, text in described.items() if text)
    return error


def _instructions(spec: DatasetSpec) -> str:
    """Where to get the files and where to put them."""
    names = ", ".join(f"`{name}`" for name in spec.files)
    archives = [f"`{name}`" for name in spec.downloads if _file_of(spec, name) is None]
    alternative = f" (or {' or '.join(archives)})" if archives else ""
    if spec.instructions is None:
        return f"put {names}{alternative} in a folder and give it with `--source`"
    folder = cache.folder(spec.name)
    return (
        f"{spec.instructions.strip().rstrip('.')}; put {names}{alternative} in `{folder}`, "
        "or in a folder given with `--source`"
    )
