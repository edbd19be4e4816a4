"""How the bytes of a text file are to be taken: compressed or not, UTF-8 or something else, which line ends.

DuckDB reads UTF-8, Latin-1 and little-endian UTF-16. For other encodings an error gives the command that
converts the file: a guess among hundreds would be read wrongly without a word.
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
"""Letters and signs in Windows-1252, nothing in Latin-1."""
SAMPLE, CHECKED = 1 << 16, 1 << 26
"""Bytes that tell the encoding, and that are looked through for others than UTF-8."""
SHOWN = 60
FEW = 1000
"""Lines of another encoding that may be mistakes."""


class Survey(NamedTuple):
    """What the lines of a file are that are not plain ASCII: counts, and the first that is not UTF-8."""

    utf8: int = 0
    other: int = 0
    first: int = 0
    text: bytes = b""
    controls: bool = False


def options(path: Path) -> str:
    """Arguments of `read_csv` that the first bytes of a file call for, each after a comma.

    Raises RunFailed for an encoding that DuckDB does not read.
    """
    start = _start(path)
    kind = of_start(start)
    if kind is not None and kind != "UTF-16LE":
        raise unreadable(path, kind, kind)
    encoding = f", encoding='{UTF_16}'" if kind is not None else ""
    ended = ", new_line='\\r'" if kind is None and lines.ends_with_return(start) else ""
    return f"{_compression(path)}{encoding}{ended}"


def _start(path: Path) -> bytes:
    with lines.decompressed(path) as file:
        return file.read(SAMPLE)


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
    """The encoding that the first bytes of a file tell by a mark, or by every other one being zero."""
    marked = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if marked is not None:
        return marked
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if max(even, odd) * 4 < len(start):
        return None
    return "UTF-16LE" if odd > even else "UTF-16BE"


def survey(path: Path) -> Survey:
    """Look through a whole file that is not UTF-8."""
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
    """For a file that is not UTF-8: arguments of `read_csv` to read it with, and a remark.

    Raises RunFailed, with the command that fixes it, for a file that is UTF-8 but for some bytes, and for
    one in an encoding that DuckDB does not read.
    """
    found = survey(path)
    place = f"{path.name}:{found.first}"
    if found.utf8:
        rows = "1 line is" if found.other == 1 else f"{found.other:,} lines are"
        raise RunFailed(
            f"`{place}`: {rows} not UTF-8, {found.utf8:,} others are",
            hint=f"write the line again as UTF-8; or drop the bytes: {_converted(path, 'UTF-8', '-c ')}",
        )
    if found.controls:
        raise unreadable(path, "neither UTF-8 nor Latin-1", "WINDOWS-1252", place)
    shown = found.text.decode(LATIN).strip()[:SHOWN]
    return (
        f", encoding='{LATIN}'",
        f"not UTF-8, so read as Latin-1: line {found.first:,} is `{shown}`; if that looks wrong, convert the "
        f"file from its encoding, as {_converted(path, 'WINDOWS-1251')} does from that of Cyrillic",
    )


def advice(path: Path, *, whole: bool) -> str | None:
    """What to do with a file that DuckDB could not read for its bytes; None where these are not to blame.

    Unless `whole`, only its beginning is looked at.
    """
    try:
        kind = of_start(_start(path))
        if kind == "UTF-16LE":
            return f"read it with `encoding='{UTF_16}'`"
        if kind is not None:
            return _converted(path, kind)
        if compression := _compression(path):
            return f"read it with `{compression.removeprefix(', ')}`"
        found = survey(path) if whole else Survey()
    except (OSError, EOFError):
        return None
    if not found.other:
        return None
    if found.utf8:
        advised = f"write the line again as UTF-8, or drop the bytes: {_converted(path, 'UTF-8', '-c ')}"
    elif found.controls:
        advised = f"convert it, if it is Windows-1252: {_converted(path, 'WINDOWS-1252')}"
    else:
        advised = f"read it with `encoding='{LATIN}'`, or convert it: {_converted(path, 'LATIN1')}"
    return f"{advised}; or {lines.LEAVE_OUT}" if found.other <= FEW else advised


def unreadable(path: Path, what: str, kind: str, place: str | None = None) -> RunFailed:
    """The error for an encoding that DuckDB does not read."""
    doubt = "if it is Windows-1252, as files of Western Europe are, " if kind == "WINDOWS-1252" else ""
    return RunFailed(
        f"`{place or path.name}`: {what}, which DuckDB does not read",
        hint=f"{doubt}convert it: {_converted(path, kind)}",
    )


def _converted(path: Path, kind: str, flags: str = "") -> str:
    """A command that writes the file as UTF-8."""
    unpacked = {".gz": "gzip -dc", ".zst": "zstd -dc"}.get(path.suffix)
    name = path.with_suffix("").name if unpacked else path.name
    target = f"{Path(name).stem}.utf8{Path(name).suffix}"
    made = f"iconv {flags}-f {kind} -t UTF-8"
    return f"`{unpacked} {path.name} | {made} > {target}`" if unpacked else f"`{made} {path.name} > {target}`"


def _compression(path: Path) -> str:
    """What the file's name does not say of its compression."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, ending, name in ((lines.GZIP, ".gz", "gzip"), (lines.ZSTD, ".zst", "zstd")):
        if start.startswith(mark) and path.suffix != ending:
            return f", compression='{name}'"
    return ""


def title(rows: Sequence[list[str]]) -> int:
    """How many of the first rows are a title or remarks above the header: of one value, or none.

    A row that begins with `#` is a remark, unless a name follows and it is as wide as the table, as the
    header `#chrom,start` is.
    """
    width = max(map(len, rows), default=0)
    for number, row in enumerate(rows):
        alone = len(row) < 2 or (width > 2 and not any(cell.strip() for cell in row[1:]))
        remark = not alone and (row[0].startswith(("# ", "##")) or (row[0][:1] == "#" and len(row) < width))
        if width > 1 and not alone and not remark:
            return number if len(row) == width else 0
    return 0
