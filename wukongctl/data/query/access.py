"""What SQL may read. SQL is code: `read_text('/etc/passwd')` is as valid as `read_csv('clicks.csv')`.

DuckDB checks every path itself, links followed. This module makes the list of what it may open, locks it, and
words the error for a path that is not on it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb

from wukongctl.data.query import sql
from wukongctl.errors import UsageError

EXTENSIONS = {
    **dict.fromkeys(["http", "https", "hf", "s3", "s3a", "s3n", "gs", "gcs", "r2"], "httpfs"),
    **dict.fromkeys(["az", "azure", "abfss"], "azure"),
}
"""Scheme of an address → the DuckDB extension that reads it."""
REFUSED = re.compile(r'Cannot access (?:file|directory) "(.*?)" - file system operations are disabled', re.S)
WILDCARD = re.compile(r"[*?\[]")


class Refused(UsageError):
    """The SQL reads `path`, which it may not."""

    def __init__(self, path: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.path = path


def confine(
    connection: duckdb.DuckDBPyConnection, search: Path, files: Iterable[Path], allow: Iterable[str]
) -> None:
    """Let `connection` open `files`, what is in the folder `search`, and what `allow` names, for good.

    Entries of `allow` are files, folders and addresses; relative ones start at `search`. Raises duckdb.Error
    if an address needs an extension that is not installed.
    """
    addresses = [entry for entry in allow if "://" in entry]
    paths = [search / entry for entry in allow if "://" not in entry]
    folders = [path for path in paths if path.is_dir()]
    for extension in sorted({EXTENSIONS.get(entry.partition("://")[0], "") for entry in addresses} - {""}):
        connection.execute(f"LOAD {extension}")
    if addresses:
        connection.execute("FROM duckdb_secrets()")  # loads them while their folder is still open
    allowed = [path.absolute() for path in (*files, *(path for path in paths if path not in folders))]
    for name, value in {
        "autoload_known_extensions": "false",
        "allowed_directories": sql.files([search.absolute(), *(p.absolute() for p in folders), *addresses]),
        "allowed_paths": sql.files([*allowed, *addresses]),
        "enable_external_access": "false",
        "lock_configuration": "true",
    }.items():
        connection.execute(f"SET GLOBAL {name} = {value}")


def require_one(connection: duckdb.DuckDBPyConnection, text: str, dataset: str) -> str:
    """`text` if it is one statement, so that SQL nested in it cannot end it and begin another."""
    if len(connection.extract_statements(text)) != 1:
        raise UsageError(
            f"the SQL of dataset `{dataset}` is more than one statement",
            hint="write a single SELECT, without `;`",
        )
    return text


def refusal(text: str, dataset: str, search: Path) -> Refused | None:
    """The error for DuckDB's message `text`; None if it is about something else."""
    found = REFUSED.search(text)
    if found is None:
        return None
    path = found[1]
    shown = path.partition("?")[0] if "://" in path else path
    message = (
        f"the SQL of dataset `{dataset}` may not read `{shown}`: "
        "it is not among its `files`, nor in the folder of the recipe"
    )
    is_built = not ("://" in path or os.path.lexists(path)) and (search / path).exists()
    if is_built and not Path(path).is_absolute():  # a path that only runs of the query compute
        hint = "write the path as one text after `FROM` or as the first argument, or list it under `files`"
    else:
        hint = f"if it should, add `allow_read: [{json.dumps(_entry(path, search))}]` to the recipe"
    return Refused(path, message, hint)


def mentions(query: str, refused: Refused) -> bool:
    """Whether the path refused stands in the text of `query`."""
    return any(refused.path.endswith(text) for text in _texts(query) if text)


def _texts(query: str) -> Iterator[str]:
    return (text.replace("''", "'").removeprefix("./") for text in sql.FILE.findall(query))


def _entry(path: str, search: Path) -> str:
    """What `allow_read` has to name: the file, or the folder of a pattern or of a signed address."""
    if "://" in path:
        return path if "?" not in path else path.partition("?")[0].rpartition("/")[0] + "/"
    fixed = WILDCARD.split(path)[0]
    if fixed != path:
        path = fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else ".")
    return path if Path(path).is_absolute() else os.path.relpath(path, search)
