"""Tables of other libraries, which are not dependencies."""

import sys
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from wukongctl.api.frames import converted, to_arrow
from wukongctl.errors import UsageError

TABLE = pa.table({"n": [1, 2], "word": ["a", None]})


@pytest.mark.parametrize(
    "frame",
    [
        TABLE,
        {"n": [1, 2], "word": ["a", None]},
        [{"n": 1, "word": "a"}, {"n": 2}],
        TABLE.to_batches()[0],
        SimpleNamespace(__arrow_c_stream__=TABLE.__arrow_c_stream__),
    ],
    ids=["table", "columns", "rows", "batch", "stream"],
)
def test_many_things_are_tables(frame: Any) -> None:
    if isinstance(frame, SimpleNamespace):
        frame = type(
            "Stream", (), {"__arrow_c_stream__": lambda self, schema=None: TABLE.__arrow_c_stream__(schema)}
        )()
    assert to_arrow(frame).equals(TABLE)


def test_text_as_views_becomes_plain_text() -> None:
    views = TABLE.cast(pa.schema({"n": pa.int64(), "word": pa.string_view()}))
    assert to_arrow(views).schema.field("word").type == pa.large_string()


@pytest.mark.parametrize("frame", [3, "clicks", [1, 2], {"n": [1], "m": [1, 2]}, {"n": [1, "a"]}])
def test_anything_else_is_refused(frame: Any) -> None:
    with pytest.raises(UsageError, match=r"not a table|cannot be read"):
        to_arrow(frame)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_missing_library_is_one_error(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f'`to="{name}"` needs {name}, which is not installed') as error:
        converted(TABLE, name)
    assert error.value.hint == f"run `pip install {name}`, or leave out `to`"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match='`to="numpy"` is not a kind of table'):
        converted(TABLE, "numpy")  # type: ignore[arg-type]


def test_there_and_back_through_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = converted(TABLE, "polars")
    assert isinstance(frame, polars.DataFrame)
    assert to_arrow(frame).to_pydict() == TABLE.to_pydict()


def test_there_and_back_through_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = converted(TABLE, "pandas")
    assert isinstance(frame, pandas.DataFrame)
    assert to_arrow(frame).to_pydict() == TABLE.to_pydict()
