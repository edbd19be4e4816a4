"""Which files of a folder are a table's: not what programs leave beside them, and all of one kind."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from wukongctl.errors import UsageError

KINDS = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
COMPRESSION = (".gz", ".zst")
SHOWN = 4


def own(found: Iterable[Path], pattern: str) -> list[Path]:
    """The files of `found` but for hidden ones and those of Spark, such as `_SUCCESS` and `.part-0.crc`.

    A pattern that begins or ends as they do asks for them. Raises UsageError where `pattern` ends in a star
    and takes files of several kinds.
    """
    last = PurePath(pattern).name
    kept = [
        path
        for path in found
        if not (path.name.startswith((".", "_")) and not last.startswith((".", "_")))
        and not (path.name.endswith(".crc") and not last.endswith(".crc"))
    ]
    kinds = Counter(_bare(kind(path)) for path in kept)
    if last.endswith("*") and len(kinds) > 1:
        known = next((ending for ending, _ in kinds.most_common() if ending in KINDS), "")
        written = {kind(path) for path in kept if _bare(kind(path)) == known}
        better = f"{pattern.rstrip('*')}*{written.pop() if len(written) == 1 else f'{known}*'}"
        examples = {_bare(kind(path)): path.name for path in reversed(kept)}
        listed = ", ".join(f"`{name}`" for name in sorted(examples.values())[:SHOWN])
        raise UsageError(
            f"`{pattern}` takes files of {len(kinds)} kinds: {listed}", hint=f'say which, as in `"{better}"`'
        )
    return kept


def of_folder(folder: Path) -> str:
    """The pattern of the one kind of table files in `folder` and below.

    Raises UsageError where there are none, or several kinds. Datasets prepared there are none of them.
    """
    found = own((path for path in sorted(folder.rglob("*")) if path.is_file()), "**/*.")
    prepared = {path.parent for path in found if path.name == "manifest.json"}
    tables = [path for path in found if _bare(kind(path)) in KINDS and prepared.isdisjoint(path.parents)]
    kinds = sorted({kind(path) for path in tables})
    patterns = [_pattern(folder, [path for path in tables if kind(path) == ending]) for ending in kinds]
    if len(patterns) == 1:
        return patterns[0]
    quoted = ", or ".join(f'`"{pattern}"`' for pattern in patterns) or f'`"{folder}/*.csv"`'
    raise UsageError(
        f"`{folder}` is a folder"
        + (f" with tables of {len(kinds)} kinds" if kinds else " without a table in it"),
        hint=f"give its files, such as {quoted}",
    )


def kind(path: PurePath) -> str:
    """The ending of a file's name, that of a compression with the one before it."""
    if path.suffix in COMPRESSION:
        return path.with_suffix("").suffix + path.suffix
    return path.suffix


def _bare(ending: str) -> str:
    return ending.removesuffix(".gz").removesuffix(".zst")


def _pattern(folder: Path, files: list[Path]) -> str:
    depths = {len(path.relative_to(folder).parts) for path in files}
    inner = "*/" * (depths.pop() - 1) if len(depths) == 1 else "**/"
    return f"{folder.as_posix()}/{inner}*{kind(files[0])}".removeprefix("./")
