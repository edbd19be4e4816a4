"""Valid, damaged and hostile archives."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from wukongctl.data.acquire import extract as module
from wukongctl.data.acquire.extract import extract, extract_once, is_archive
from wukongctl.errors import RunFailed

TEXT = b"1,2\r\n3,4\r\n" * 1000


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes | None], mode: str = "w:gz") -> Path:
    """A member of content None is a symbolic link to /etc/passwd."""
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar", "tar.xz"])
def test_wanted_files_are_found_by_base_name(tmp_path: Path, kind: str) -> None:
    members = {"set/deep/train.csv": TEXT, "set/readme.txt": b"no", "test.csv": b"x"}
    archive = tmp_path / f"set.{kind}"
    if kind == "zip":
        zipped(archive, members)
    else:
        tarred(archive, dict(members), {"tar.gz": "w:gz", "tar": "w", "tar.xz": "w:xz"}[kind])
    assert is_archive(archive)
    found = extract(archive, ["train.csv", "test.csv", "valid.csv"], tmp_path / "out")
    assert {name: path.read_bytes() for name, path in found.items()} == {"train.csv": TEXT, "test.csv": b"x"}
    assert names(tmp_path / "out") == ["test.csv", "train.csv"]


@pytest.mark.parametrize("name", ["train.txt.gz", "whatever.gz"])
def test_gzip_of_one_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(TEXT))
    found = extract(tmp_path / name, ["train.txt"], tmp_path / "out")
    assert found["train.txt"].read_bytes() == TEXT


def test_text_is_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    assert not is_archive(tmp_path / "a.csv")


@pytest.mark.parametrize("member", ["../../train.csv", "/train.csv", "a/../../../train.csv"])
def test_paths_of_members_are_never_followed(tmp_path: Path, member: str) -> None:
    into = tmp_path / "deep" / "out"
    for archive in (
        zipped(tmp_path / "a.zip", {member: TEXT}),
        tarred(tmp_path / "a.tar.gz", {member: TEXT}),
    ):
        found = extract(archive, ["train.csv"], into)
        assert found == {"train.csv": into / "train.csv"}
        (into / "train.csv").unlink()
    assert names(tmp_path) == ["a.tar.gz", "a.zip", "deep", "deep/out"]


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="not a regular file"):
        extract(tarred(tmp_path / "a.tar.gz", {"train.csv": None}), ["train.csv"], tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("train.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(RunFailed, match="not a regular file"):
        extract(tmp_path / "a.zip", ["train.csv"], tmp_path / "out")


def test_a_link_under_another_name_is_ignored(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", {"link": None, "train.csv": TEXT})
    assert extract(archive, ["train.csv"], tmp_path / "out")["train.csv"].read_bytes() == TEXT


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"one/train.csv": b"1", "two/train.csv": b"2"})
    with pytest.raises(RunFailed, match=r"two files named `train.csv`"):
        extract(archive, ["train.csv"], tmp_path / "out")


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_LIMIT", 1 << 20)
    archive = zipped(tmp_path / "a.zip", {"train.csv": bytes(50 << 20)})
    with pytest.raises(RunFailed, match="unpacks to more than"):
        extract(archive, ["train.csv"], tmp_path / "out")
    assert (tmp_path / "out/train.csv").stat().st_size < 10 << 20


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_damaged_archives_are_errors(tmp_path: Path, kind: str) -> None:
    noise = bytes(i * i * 7 % 251 ^ (i >> 5) & 255 for i in range(300_000))
    archive = tmp_path / f"train.csv.{kind}"
    if kind == "zip":
        zipped(archive, {"train.csv": noise})
    elif kind == "tar.gz":
        tarred(archive, {"train.csv": noise})
    else:
        archive.write_bytes(gzip.compress(noise))
    data = bytearray(archive.read_bytes())
    if kind == "zip":  # a truncated zip is not recognized as one, so damage its content
        data[len(data) // 2] ^= 0xFF
    else:
        del data[len(data) // 2 :]
    archive.write_bytes(data)
    with pytest.raises(RunFailed, match="is damaged"):
        extract(archive, ["train.csv"], tmp_path / "out")


def test_a_truncated_zip_is_reported_as_one(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"train.csv": TEXT})
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(RunFailed, match="is damaged: it is a truncated zip"):
        extract(archive, ["train.csv"], tmp_path / "out")


def test_too_little_space_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10})())
    with pytest.raises(RunFailed, match="has 10 bytes free and needs"):
        extract(zipped(tmp_path / "a.zip", {"train.csv": TEXT}), ["train.csv"], tmp_path / "out")


@pytest.mark.parametrize(("flags", "method", "words"), [(1, 8, "encrypted"), (0, 9, "compression")])
def test_zips_that_python_cannot_unpack_are_errors(
    tmp_path: Path, flags: int, method: int, words: str
) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", {"train.csv": TEXT}).read_bytes())
    for header, flag_at, method_at in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        start = data.index(header)
        data[start + flag_at] |= flags
        data[start + method_at] = method
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(RunFailed, match=f"cannot be unpacked: .*{words}") as failure:
        extract(tmp_path / "a.zip", ["train.csv"], tmp_path / "out")
    assert "--source" in str(failure.value.hint)


def test_devices_and_hard_links_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as file:
            info = tarfile.TarInfo("train.csv")
            info.type, info.linkname = kind, "../secret"
            file.addfile(info)
        with pytest.raises(RunFailed, match="not a regular file"):
            extract(tmp_path / "a.tar", ["train.csv"], tmp_path / "out")


def test_an_archive_is_unpacked_once_unless_interrupted(tmp_path: Path) -> None:
    archive, own = zipped(tmp_path / "a.zip", {"train.csv": TEXT}), tmp_path / "raw/0"
    own.mkdir(parents=True)
    (own / "train.csv").write_bytes(TEXT[:3])  # left by a killed run
    assert extract_once(archive, ["train.csv"], own)["train.csv"].read_bytes() == TEXT
    archive.unlink()
    assert extract_once(archive, ["train.csv"], own) == {"train.csv": own / "train.csv"}
