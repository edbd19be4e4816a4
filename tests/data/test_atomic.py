from pathlib import Path

import pytest

from wukongctl.data.atomic import write_atomic
from wukongctl.errors import RunFailed


def test_a_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail(file) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFailed, match="no space left"):
        write_atomic(target, fail)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_files_have_default_permissions(tmp_path: Path) -> None:
    write_atomic(tmp_path / "atomic", lambda file: file.write(b"x"))
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
