"""Recognize files that are not tables by their first bytes."""

import re
from pathlib import Path
from typing import NamedTuple

SAVE = "save the data as CSV, TSV, JSON or Parquet"
NOT_TABLES = (
    (0, b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    (0, b"\x89HDF", "an HDF5 file", "convert it, for example with `pandas.read_hdf(…).to_parquet(…)`"),
    (0, b"\x89PNG", "a PNG image", SAVE),
    (0, b"\xff\xd8\xff", "a JPEG image", SAVE),
    (0, b"GIF8", "a GIF image", SAVE),
    (0, b"%PDF-", "a PDF document", "export its tables as CSV"),
    (0, b"\x7fELF", "an executable", SAVE),
    (
        0,
        b"SQLite format 3\0",
        "an SQLite database",
        "export the table as CSV, for example with `sqlite3 -csv`",
    ),
    (0, b"\x93NUMPY", "a NumPy array", "convert it, for example with `pandas.DataFrame(…).to_parquet(…)`"),
    (0, b"ARROW1", "an Arrow file", "convert it, for example with `pandas.read_feather(…).to_parquet(…)`"),
    (0, b"ORC", "an ORC file", "convert it, for example with `pandas.read_orc(…).to_parquet(…)`"),
    (0, b"BZh", "compressed with bzip2", "decompress it with `bunzip2`"),
    (0, b"\xfd7zXZ", "compressed with xz", "decompress it with `unxz`"),
    (0, b"<!", "an HTML page", "download the table itself"),
    (0, b"<html", "an HTML page", "download the table itself"),
    (0, b"<?xml", "XML", SAVE),
    (257, b"ustar", "a tar archive", "unpack it with `tar -xf`"),
)
"""Offset, magic bytes, kind of file, and what to do instead."""
CONTROLS = re.compile(rb"[\x00\x03-\x08\x0e-\x1a\x7f]")
"""Bytes that do not occur in text; some logs separate values by 1 or 2."""
START_BYTES = 512


class OtherKind(NamedTuple):
    """The kind of a file that is not a table, and what to do instead."""

    name: str
    advice: str


def of_start(start: bytes) -> OtherKind | None:
    """The kind of a file that begins with `start`; None if it may be a table."""
    for offset, mark, name, advice in NOT_TABLES:
        # A header may begin with a word such as ORC, but a table has no control characters.
        if start.startswith(mark, offset) and not (mark.isalnum() and not CONTROLS.search(start)):
            return OtherKind(name, advice)
    return None


def of(path: Path) -> OtherKind | None:
    """The kind of the file at `path`; None if it may be a table or cannot be read."""
    try:
        with path.open("rb") as file:
            return of_start(file.read(START_BYTES))
    except OSError:
        return None
