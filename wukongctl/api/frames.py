"""Tables in and out. Inside, all are Arrow's; pandas and polars are imported only on request."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.errors import UsageError, WukongError
from wukongctl.extras import is_installed

FrameKind: TypeAlias = Literal["arrow", "pandas", "polars"]
Frame: TypeAlias = Any
"""A table: one of Arrow's, pandas' or polars', a mapping of columns, or a list of rows as mappings."""


def converted(table: pa.Table, to: FrameKind) -> Frame:
    """`table` as a frame of another library; raises UsageError if that is not installed."""
    if to == "arrow":
        return table
    if to not in ("pandas", "polars"):
        raise UsageError(f'`to="{to}"` is not a kind of table', hint="write `arrow`, `pandas` or `polars`")
    if not is_installed(to):
        raise UsageError(
            f'`to="{to}"` needs {to}, which is not installed',
            hint=f"run `pip install {to}`, or leave out `to`",
        )
    return table.to_pandas() if to == "pandas" else import_module("polars").from_arrow(table)


def to_arrow(frame: Frame) -> pa.Table:
    """Any table as one of Arrow's; raises UsageError for anything else, and for columns Arrow has no type
    for."""
    try:
        if isinstance(frame, pa.Table):
            table = frame
        elif isinstance(frame, list) and all(isinstance(row, Mapping) for row in frame):
            names = list(dict.fromkeys(name for row in frame for name in row))
            table = pa.table({name: [row.get(name) for row in frame] for name in names})
        elif isinstance(frame, Mapping):
            table = pa.table(dict(frame))
        elif hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__dataframe__"):
            table = pa.table(frame)
        else:
            raise UsageError(
                f"`{type(frame).__name__}` is not a table",
                hint="pass a table of pyarrow, pandas or polars, a mapping of columns, or a list of mappings",
            )
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"the table cannot be read: {str(error).splitlines()[0]}") from error
    return _with_plain_text(table)


@contextmanager
def as_file(frame: Frame) -> Iterator[Path]:
    """A table as a Parquet file within the context; errors that name the file are about the table."""
    table = to_arrow(frame)
    with TemporaryDirectory(prefix="wukongctl-") as folder:
        file = Path(folder) / "table.parquet"
        try:
            pq.write_table(table, file)
        except pa.ArrowException as error:
            raise UsageError(f"the table cannot be read: {str(error).splitlines()[0]}") from error
        try:
            yield file
        except WukongError as error:
            error.message = _about_the_table(error.message, file)
            error.args = (error.message,)
            error.problems = tuple(
                replace(
                    each, file=_about_the_table(each.file, file), message=_about_the_table(each.message, file)
                )
                for each in error.problems
            )
            raise


def _about_the_table(text: str, file: Path) -> str:
    return text.replace(f"`{file}`", "the table").replace(str(file), "the table")


def _with_plain_text(table: pa.Table) -> pa.Table:
    """Text that polars keeps as views, as the type that Parquet has."""
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(views.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields)) if any(field.type in views for field in table.schema) else table
