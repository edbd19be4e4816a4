"""Compression, encoding and line endings of a text file.

DuckDB reads UTF-8, Latin-1 and little-endian UTF-16. For other encodings an error gives the command that
converts the file: a wrong guess among hundreds would corrupt values silently.
"""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wukongctl.data.query import lines
from wukongctl.errors import RunFailed

MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16LE"),
    (b"\xfe\xff", "UTF-16BE"),
)
LATIN, UTF_16 = "latin-1", "utf-16"
CONTROLS = re.compile(rb"[\x80-\x9f]")
"""Printable in Windows-1252, undefined in Latin-1."""
SAMPLE, CHECKED = 1 << 16, 1 << 26
"""Bytes from which the encoding is detected, and that are searched for invalid UTF-8."""
SHOWN = 60
FEW = 1000
"""Up to so many lines of another encoding may be errors that can be skipped."""


class Survey(NamedTuple):
    """Lines of a file beyond ASCII: how many are UTF-8 and how many are not, and the first that is not."""

    utf8: int = 0
    other: int = 0
    first: int = 0
    text: bytes = b""
    controls: bool = False


def options(path: Path) -> str:
    """Arguments of `read_csv` for the encoding and compression of a file, each after a comma.

    Raises RunFailed for an encoding that DuckDB cannot read.
    """
    start = lines.start_of(path, SAMPLE)
    kind = of_start(start)
    if kind is not None and kind != "UTF-16LE":
        raise unreadable(path, kind, kind)
    encoding = f", encoding='{UTF_16}'" if kind is not None else ""
    ended = ", new_line='\\r'" if kind is None and lines.ends_with_return(start) else ""
    return f"{_compression(path)}{encoding}{ended}"


def is_utf8(path: Path) -> bool:
    """Whether the beginning of a file is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with lines.decompressed(path) as file:
        for _ in range(0, CHECKED, SAMPLE):
            chunk = file.read(SAMPLE)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                return False
            if not chunk:
                break
    return True


def of_start(start: bytes) -> str | None:
    """The encoding of a byte-order mark, or of text with every other byte zero."""
    marked = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if marked is not None:
        return marked
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if max(even, odd) * 4 < len(start):
        return None
    return "UTF-16LE" if odd > even else "UTF-16BE"


def survey(path: Path) -> Survey:
    """Survey the lines of a whole file."""
    utf8 = other = first = 0
    text, controls = b"", False
    with lines.opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                utf8 += 1
            except UnicodeDecodeError:
                if not other:
                    first, text = number, line
                other += 1
                controls = controls or CONTROLS.search(line) is not None
    return Survey(utf8, other, first, text, controls)


def fallback(path: Path) -> tuple[str, str]:
    """Arguments of `read_csv` for a file that is not UTF-8, and a remark.

    Raises RunFailed, with the command that fixes it, for a file that is UTF-8 except for some bytes, and for
    one in an encoding that DuckDB cannot read.
    """
    found = survey(path)
    location = f"{path.name}:{found.first}"
    if found.utf8:
        rows = "1 line is" if found.other == 1 else f"{found.other:,} lines are"
        raise RunFailed(
            f"`{location}`: {rows} not UTF-8, but {found.utf8:,} others are",
            hint=_repair(path),
        )
    if found.controls:
        raise unreadable(path, "neither UTF-8 nor Latin-1", "WINDOWS-1252", location)
    shown = found.text.decode(LATIN).strip()[:SHOWN]
    return (
        f", encoding='{LATIN}'",
        f"not UTF-8, so read as Latin-1: line {found.first:,} is `{shown}`; if that looks wrong, convert the "
        f"file from its real encoding, for example Cyrillic: {_converted(path, 'WINDOWS-1251')}",
    )


def advice(path: Path, *, whole: bool) -> str | None:
    """What to do with a file that DuckDB could not decode; None where the encoding is not the problem.

    Unless `whole`, only its first bytes are checked.
    """
    try:
        kind = of_start(lines.start_of(path, SAMPLE))
        if kind == "UTF-16LE":
            return f"read it with `encoding='{UTF_16}'`"
        if kind is not None:
            return f"convert it: {_converted(path, kind)}"
        if compression := _compression(path):
            return f"read it with `{compression.removeprefix(', ')}`"
        found = survey(path) if whole else Survey()
    except lines.UNREADABLE:
        return None
    if not found.other:
        return None
    if found.utf8:
        hint = (
            f"re-encode the bad lines as UTF-8, or drop the invalid bytes: {_converted(path, 'UTF-8', '-c ')}"
        )
    elif found.controls:
        hint = f"if it is Windows-1252, convert it: {_converted(path, 'WINDOWS-1252')}"
    else:
        hint = f"read it with `encoding='{LATIN}'`, or convert it: {_converted(path, 'LATIN1')}"
    return f"{hint}; or {lines.SKIP_ROWS}" if found.other <= FEW else hint


def unreadable(path: Path, what: str, kind: str, location: str | None = None) -> RunFailed:
    """The error for an encoding that DuckDB cannot read."""
    condition = "if it is Windows-1252 (Western European), " if kind == "WINDOWS-1252" else ""
    return RunFailed(
        f"`{location or path.name}`: {what}, which DuckDB cannot read",
        hint=f"{condition}convert it: {_converted(path, kind)}",
    )


def _repair(path: Path) -> str:
    drop = _converted(path, "UTF-8", "-c ")
    return f"re-encode the bad lines as UTF-8, or drop the invalid bytes: {drop}"


def _converted(path: Path, kind: str, flags: str = "") -> str:
    """A command that writes the file as UTF-8."""
    unpacked = {".gz": "gzip -dc", ".zst": "zstd -dc"}.get(path.suffix)
    name = path.with_suffix("").name if unpacked else path.name
    target = f"{Path(name).stem}.utf8{Path(name).suffix}"
    iconv = f"iconv {flags}-f {kind} -t UTF-8"
    convert = f"{unpacked} {path.name} | {iconv}" if unpacked else f"{iconv} {path.name}"
    return f"`{convert} > {target}`"


def _compression(path: Path) -> str:
    """The compression, where the name of the file does not show it."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, ending, name in ((lines.GZIP, ".gz", "gzip"), (lines.ZSTD, ".zst", "zstd")):
        if start.startswith(mark) and path.suffix != ending:
            return f", compression='{name}'"
    return ""


def title(rows: Sequence[list[str]]) -> int:
    """How many of the first rows are titles, comments or blank lines above the header.

    A row that begins with `#` is a comment, unless a name follows and it has all columns, as the header
    `#chrom,start` does.
    """
    width = max(map(len, rows), default=0)
    for number, row in enumerate(rows):
        single = len(row) < 2 or (width > 2 and not any(cell.strip() for cell in row[1:]))
        comment = not single and (row[0].startswith(("# ", "##")) or (row[0][:1] == "#" and len(row) < width))
        if width > 1 and not single and not comment:
            return number if len(row) == width else 0
    return 0
