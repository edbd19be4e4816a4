"""Cut and corrupted files: `datasets init` drafts a recipe, or raises an error of ours.

Click takes an EOFError for Ctrl-D, so one that escapes looks like an interruption.
"""

import gzip
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wukongctl.data.drafting.draft import draft
from wukongctl.errors import WukongError

ROWS = "".join(f'u{row % 7},"{row % 5}, s",{row * 0.5},{row % 3 // 2}\n' for row in range(60))
CSV = ("user,site,price,clicked\n" + ROWS).encode()


def parquet(text: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.csv.read_csv(pa.py_buffer(text)), sink)
    return sink.getvalue().to_pybytes()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "t.csv": bytes,
    "t.csv.gz": lambda text: gzip.compress(text, mtime=0),
    "t.csv.zst": lambda text: pa.compress(text, codec="zstd", asbytes=True),
    "t.parquet": parquet,
    "t.json": lambda text: b'{"user": "a", "clicked": 0}\n{"user": "b", "clicked": 1}\n' * 30,
}


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_error_of_ours(name: str, data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(FORMS[name](CSV))
    cut = data.draw(st.integers(1, len(content)), label="cut")
    position = data.draw(st.integers(0, len(content) - 1), label="position")
    put = data.draw(st.sampled_from([b"", b'"', b"\r", b"\n\n", b",", b"\0", b"\xff", b"}"]), label="put")
    content[position : position + 1] = put
    path = tmp_path / name
    path.write_bytes(content[:cut])
    with suppress(WukongError):
        draft(str(path))


def test_a_quote_that_is_never_closed_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(CSV[:400] + b'\nu1,"b,1.0,0\n' + b"u1,b,1.0,0\n" * 20_000)
    with pytest.raises(WukongError, match=r"`t.csv:\d+`: unterminated quoted value"):
        draft(str(path))
