"""Files of a user's own rows as DuckDB reads them: Parquet as it is, CSV and TSV by their header.

The header is read here rather than guessed by DuckDB, whose sniffer takes a row of data for the header of a
file with a ragged line, and quietly renames a column that is there twice.
"""

import csv
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from wukongctl.data.query import sql
from wukongctl.errors import RunFailed, UsageError

DELIMITERS = {".csv": ",;|\t", ".tsv": "\t"}
COMPRESSION = (".gz", ".zst")
MAX_HEADER_BYTES = 1 << 22


def reader(path: Path, wanted: Collection[str]) -> str:
    """The table function that reads `path`, which stands in for `'{rows}'`.

    Raises UsageError for a file that is missing, of another kind, or whose header has one of the `wanted`
    columns twice, RunFailed for one that cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSION else (suffixes or [""])[-1]
    if kind == ".parquet":
        return "read_parquet('{rows}')"
    if kind not in DELIMITERS:
        raise UsageError(f"cannot tell what `{path}` holds", hint="name it `.parquet`, `.csv` or `.tsv`")
    line = _first_line(path)
    delimiter = max(DELIMITERS[kind], key=line.count)
    names = _names(path, next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), []), wanted)
    newline = "\\r\\n" if line.endswith("\r\n") else "\\n"
    # Texts stay texts: `007` and `7` are two values, whichever a column begins with.
    columns = ", ".join(f"{sql.literal(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv('{{rows}}', auto_detect = false, header = true, delim = {sql.literal(delimiter)}, "
        f"new_line = '{newline}', quote = '\"', escape = '\"', columns = {{ {columns} }})"
    )


def _first_line(path: Path) -> str:
    try:
        with pa.input_stream(str(path)) as file:  # decompresses by the name
            start = bytes(file.read(MAX_HEADER_BYTES))
    except (OSError, pa.ArrowException) as error:
        raise RunFailed(f"cannot read `{path}`: {str(error).splitlines()[0]}") from None
    line, end, _ = start.decode("utf-8-sig", "replace").partition("\n")
    if not line.strip():
        raise UsageError(f"`{path}:1`: the first line must name the columns")
    return line + end


def _names(path: Path, cells: list[str], wanted: Collection[str]) -> list[str]:
    """The columns by the header's `cells`; those without a name, or with one used before, get a number."""
    keys = [cell.strip().lower() for cell in cells]
    times = Counter(keys)
    for name in wanted:
        if times[name.lower()] > 1:
            raise UsageError(f"`{path}:1`: the header has `{name}` {times[name.lower()]} times")
    return [
        cell.strip() if key and times[key] == 1 else f"column {number} {cell.strip()}".strip()
        for number, (cell, key) in enumerate(zip(cells, keys, strict=True))
    ]
