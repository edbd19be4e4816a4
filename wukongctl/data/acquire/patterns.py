"""The table files that a pattern or a folder stands for: all of one kind, without marker files."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from wukongctl.errors import UsageError

KINDS = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
COMPRESSION = (".gz", ".zst")
SHOWN = 4


def table_files(found: Iterable[Path], pattern: str) -> list[Path]:
    """`found` without hidden and marker files (`_SUCCESS`, `.part-0.crc`), unless `pattern` asks for them.

    Raises UsageError if `pattern` ends in a star and matches files of several kinds.
    """
    last = PurePath(pattern).name
    files = [
        path
        for path in found
        if not (path.name.startswith((".", "_")) and not last.startswith((".", "_")))
        and not (path.name.endswith(".crc") and not last.endswith(".crc"))
    ]
    kinds = Counter(_uncompressed(kind(path)) for path in files)
    if last.endswith("*") and len(kinds) > 1:
        known = next((ending for ending, _ in kinds.most_common() if ending in KINDS), "")
        suffixes = {kind(path) for path in files if _uncompressed(kind(path)) == known}
        narrower = f"{pattern.rstrip('*')}*{suffixes.pop() if len(suffixes) == 1 else f'{known}*'}"
        examples = {_uncompressed(kind(path)): path.name for path in reversed(files)}
        listed = ", ".join(f"`{name}`" for name in sorted(examples.values())[:SHOWN])
        raise UsageError(
            f"`{pattern}` matches files of {len(kinds)} kinds: {listed}",
            hint=f'narrow the pattern, for example `"{narrower}"`',
        )
    return files


def of_folder(folder: Path) -> str:
    """The pattern of the table files in and below `folder`, prepared datasets aside.

    Raises UsageError if there are none, or files of several kinds.
    """
    found = table_files((path for path in sorted(folder.rglob("*")) if path.is_file()), "**/*.")
    prepared = {path.parent for path in found if path.name == "manifest.json"}
    tables = [
        path for path in found if _uncompressed(kind(path)) in KINDS and prepared.isdisjoint(path.parents)
    ]
    kinds = sorted({kind(path) for path in tables})
    patterns = [_pattern(folder, [path for path in tables if kind(path) == ending]) for ending in kinds]
    if len(patterns) == 1:
        return patterns[0]
    quoted = ", or ".join(f'`"{pattern}"`' for pattern in patterns) or f'`"{folder}/*.csv"`'
    raise UsageError(
        f"`{folder}` is a folder" + (f" with tables of {len(kinds)} kinds" if kinds else " without tables"),
        hint=f"give its files, for example {quoted}",
    )


def kind(path: PurePath) -> str:
    """The suffix of a file, with the one before it if it is compressed: `.csv.gz`."""
    if path.suffix in COMPRESSION:
        return path.with_suffix("").suffix + path.suffix
    return path.suffix


def _uncompressed(ending: str) -> str:
    return ending.removesuffix(".gz").removesuffix(".zst")


def _pattern(folder: Path, files: list[Path]) -> str:
    depths = {len(path.relative_to(folder).parts) for path in files}
    inner = "*/" * (depths.pop() - 1) if len(depths) == 1 else "**/"
    return f"{folder.as_posix()}/{inner}*{kind(files[0])}".removeprefix("./")
