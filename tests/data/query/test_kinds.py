"""Files that are no tables are named before their lines are blamed."""

from pathlib import Path

import pytest

from tests.data.test_prepare import own, run
from wukongctl.data.query import kinds
from wukongctl.errors import UsageError


def test_a_picture_named_csv_is_called_a_picture(tmp_path: Path) -> None:
    noise = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 9
    (tmp_path / "clicks.csv").write_bytes(noise)
    with pytest.raises(UsageError) as refused:
        run(own(), tmp_path, tmp_path / "out")
    assert str(refused.value) == "`clicks.csv` is a PNG image, not a table (dataset `own`)"
    assert refused.value.hint == kinds.SAVE


@pytest.mark.parametrize("header", [b"ORCID,label\n", b"ORC\tx\n", b"GIF8,y\n", b"BZh,y\n", b"ARROW1;y\n"])
def test_a_header_may_begin_like_another_kind(header: bytes) -> None:
    assert kinds.of_start(header + b"1,0\n2,1\n") is None
    assert kinds.of_start(header[:4] + b"\x00\x01\x05") is not None or header.startswith(b"ARROW1")
