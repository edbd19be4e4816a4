"""Locating raw files in folders, archives and the download cache, and errors when they are missing."""

import gzip
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.data import raw
from tests.data.server import serving
from tests.data.test_prepare import own, write_rows
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.acquire.sources import Resolved, check_local, plan, resolve
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.data.progress import silent
from wukongctl.errors import CheckFailed, RunFailed, UsageError

DATA = b"label,a\n1,x\n0,y\n1,z\n"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def find(spec: DatasetSpec, source: Path | None, tmp_path: Path, *, verify: bool = True) -> Resolved:
    return resolve(
        spec,
        Options(tmp_path, source=source, verify=verify, report=silent),
        workspace=tmp_path / "work",
    )


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


def test_files_are_found_in_subfolders(folder: Path, tmp_path: Path) -> None:
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/clicks.csv").write_bytes(DATA)
    spec = own(files={"clicks.csv": {"md5": md5(DATA), "bytes": len(DATA)}})
    found = find(spec, folder, tmp_path)
    assert found.paths == {"clicks.csv": folder / "deep/er/clicks.csv"}
    (source,) = found.sources
    assert source.verified
    assert source.sha256 == hashlib.sha256(DATA).hexdigest()


def test_files_of_one_name_in_subfolders_are_ambiguous(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "clicks.csv").write_bytes(DATA)
    with pytest.raises(UsageError, match=r"several files named `clicks.csv`: `a/clicks.csv`, `b/clicks.csv`"):
        find(own(), folder, tmp_path)
    (folder / "clicks.csv").write_bytes(DATA)
    assert find(own(), folder, tmp_path).paths["clicks.csv"] == folder / "clicks.csv"


def test_source_may_be_the_only_file(folder: Path, tmp_path: Path) -> None:
    path = folder / "anything.txt"
    path.write_bytes(DATA)
    assert find(own(), path, tmp_path).paths == {"clicks.csv": path}
    two = own(files={"clicks.csv": {}, "more.csv": {}})
    with pytest.raises(UsageError, match="needs 2 files, not one"):
        find(two, path, tmp_path)


def test_an_archive_is_verified_and_unpacked(folder: Path, tmp_path: Path) -> None:
    path = archive(folder / "set.zip", {"set/clicks.csv": DATA})
    good = {"urls": ["http://127.0.0.1:9/set.zip"], "md5": md5(path.read_bytes())}
    for source in (path, folder):
        found = find(own(downloads={"set.zip": good}), source, tmp_path)
        assert [(s.file, s.verified) for s in found.sources] == [("set.zip", True), ("clicks.csv", True)]
        found.paths["clicks.csv"].unlink()
    with pytest.raises(CheckFailed) as failure:
        find(own(downloads={"set.zip": good | {"md5": "0" * 32}}), folder, tmp_path)
    assert [problem.file for problem in failure.value.problems] == ["set.zip"]


def test_a_gzipped_raw_file_is_unpacked(folder: Path, tmp_path: Path) -> None:
    (folder / "clicks.csv.gz").write_bytes(gzip.compress(DATA))
    found = find(own(files={"clicks.csv": {"md5": md5(DATA)}}), folder, tmp_path)
    assert found.paths["clicks.csv"].read_bytes() == DATA
    assert {source.file: source.verified for source in found.sources}["clicks.csv"]


def test_missing_files_are_errors_that_list_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("?")
    (folder / "other.csv").write_text("?")
    spec = own(instructions="Log in at example.org and accept the terms")
    with pytest.raises(UsageError) as failure:
        find(spec, folder, tmp_path)
    assert (
        str(failure.value) == f"`clicks.csv` not found in `{folder}`, which contains `notes.txt`, `other.csv`"
    )
    assert str(failure.value.hint).startswith("Log in at example.org")
    assert "put `clicks.csv` in `" in str(failure.value.hint)
    with pytest.raises(UsageError, match="there is no file or folder"):
        find(spec, folder / "nowhere", tmp_path)


def test_without_verify_the_only_file_stands_in_for_a_missing_one(folder: Path, tmp_path: Path) -> None:
    (folder / "sample.csv").write_bytes(DATA)
    with pytest.raises(UsageError) as failure:
        find(own(), folder, tmp_path)
    assert "use `sample.csv` instead with `--no-verify`" in str(failure.value.hint)
    (folder / "sample.yaml").write_text("name: own\n")  # recipes are not candidates
    found = find(own(), folder, tmp_path, verify=False)
    assert found.paths == {"clicks.csv": folder / "sample.csv"}
    assert found.problems == ("`sample.csv` was read in place of `clicks.csv`",)


def test_every_mismatch_is_reported_with_both_values(folder: Path, tmp_path: Path) -> None:
    (folder / "clicks.csv").write_bytes(DATA)
    (folder / "more.csv").write_bytes(b"other")
    (folder / "good.csv").write_bytes(b"good")
    files = {
        "clicks.csv": {"md5": "0" * 32},
        "more.csv": {"bytes": 4, "sha256": "0" * 64},
        "good.csv": {"md5": md5(b"good")},
    }
    with pytest.raises(CheckFailed) as failure:
        find(own(files=files), folder, tmp_path)
    problems = [str(problem) for problem in failure.value.problems]
    assert problems[0] == f"clicks.csv: md5 is {md5(DATA)}, expected {'0' * 32}"
    assert problems[1] == "more.csv: size is 5, expected 4"
    assert [problem.file for problem in failure.value.problems] == ["clicks.csv", "more.csv", "more.csv"]
    assert failure.value.exit_code == 3
    assert find(own(files=files), folder, tmp_path, verify=False).problems == tuple(problems)


def test_a_table_is_found_beside_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_bytes(DATA)
    assert find(own(), None, tmp_path).paths["clicks.csv"] == tmp_path / "clicks.csv"
    assert plan(own(), Options(tmp_path)) == [f"read `clicks.csv` from `{tmp_path / 'clicks.csv'}`"]


def test_downloads_go_through_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = archive(tmp_path / "made.zip", {"in/clicks.csv": DATA}).read_bytes()
    with serving(content) as server:
        downloads = {"set.zip": {"urls": [server.url("set.zip")], "md5": md5(content)}}
        spec = own(downloads=downloads)
        assert plan(spec, Options(tmp_path)) == [f"download `set.zip` from {server.url('set.zip')}"]
        for _ in range(2):
            found = find(spec, None, tmp_path)
            found.paths["clicks.csv"].unlink()
        assert len(server.requests) == 1
        cached = tmp_path / "cache/downloads/own/set.zip"
        assert plan(spec, Options(tmp_path)) == [f"read `{cached}`, already downloaded"]
        # A file damaged in the cache is reported, removed, and downloaded again by the next run.
        cached.write_bytes(archive(tmp_path / "bad.zip", {"in/clicks.csv": DATA + b"0,q\n"}).read_bytes())
        with pytest.raises(CheckFailed):
            find(spec, None, tmp_path)
        find(spec, None, tmp_path)
        assert len(server.requests) == 2


def test_a_downloaded_raw_file_is_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(DATA) as server:
        spec = own(
            downloads={"clicks.csv": {"urls": [server.url("clicks.csv")]}},
            files={"clicks.csv": {"md5": md5(DATA)}},
        )
        assert find(spec, None, tmp_path).paths == {"clicks.csv": tmp_path / "cache/downloads/own/clicks.csv"}


def test_refresh_downloads_files_without_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`force` prepares again from the cached files; only `refresh` downloads them again."""
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    cached = tmp_path / "cache/downloads/own/clicks.csv"
    with serving(DATA) as server:
        spec = own(downloads={"clicks.csv": {"urls": [server.url("clicks.csv")]}})

        def again(**options: Any) -> int:
            prepared = prepare(spec, Options(tmp_path, out=tmp_path / "out", **options))
            return sum(split.rows for split in prepared.splits.values())

        assert (again(), again(refresh=True), len(server.requests)) == (3, 3, 2)
        server.replace(DATA + b"0,q\n")
        assert (again(), again(force=True), len(server.requests)) == (3, 3, 2)
        (step, *_) = plan(spec, Options(tmp_path, refresh=True))
        assert step == f"download `clicks.csv` from {server.url('clicks.csv')}"
        with pytest.raises(UsageError, match="was prepared from other raw files"):
            again(refresh=True)
        assert again(refresh=True, force=True) == 4
    with pytest.raises(RunFailed, match=r"`clicks\.csv` cannot be downloaded"):
        again(refresh=True)
    assert cached.read_bytes() == DATA + b"0,q\n"
    assert again(force=True) == 4


def test_refresh_keeps_files_with_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(DATA) as server:
        for where in ("downloads", "files"):
            beside: dict[str, dict[str, Any]] = {"downloads": {"urls": [server.url()]}, "files": {}}
            beside[where]["md5"] = md5(DATA)
            spec = own(**{key: {"clicks.csv": value} for key, value in beside.items()})
            for _ in range(2):
                prepare(spec, Options(tmp_path, out=tmp_path / where, refresh=True))
        assert len(server.requests) == 1


@pytest.mark.parametrize("archived", [False, True])
def test_a_dry_run_checks_cached_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, archived: bool
) -> None:
    """It fails as the run would, but leaves the bad file."""
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    name = "set.zip" if archived else "clicks.csv"
    cached = tmp_path / "cache/downloads/own" / name
    cached.parent.mkdir(parents=True)
    good = archive(tmp_path / "made.zip", {"clicks.csv": DATA}).read_bytes() if archived else DATA
    spec = own(downloads={name: {"urls": ["http://127.0.0.1:9/x"], "md5": md5(good)}})
    check_local(spec, Options(tmp_path))  # not downloaded yet
    cached.write_bytes(good)
    check_local(spec, Options(tmp_path))
    cached.write_bytes(b"<html>")
    check_local(spec, Options(tmp_path, verify=False, report=silent))
    with pytest.raises(CheckFailed) as planned:
        check_local(spec, Options(tmp_path))
    assert cached.is_file()
    with pytest.raises(CheckFailed) as failed:
        find(spec, None, tmp_path)
    assert planned.value.problems == failed.value.problems
    assert not cached.exists()


def test_frappe_is_downloaded_and_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "folder"
    folder.mkdir()
    raw.frappe(folder)
    contents = {
        f"Frappe_x1/{name}.csv": (folder / f"{name}.csv").read_bytes() for name in ("train", "valid", "test")
    }
    with serving(archive(tmp_path / "x.zip", contents).read_bytes()) as server:
        changes: dict[str, Any] = {
            "downloads": {"Frappe_x1.zip": {"urls": [server.url("Frappe_x1.zip?download=true")]}},
            "files": {Path(name).name: {"md5": md5(content)} for name, content in contents.items()},
            "expect": {"train": {"rows": 60}},
        }
        from tests.data.test_prepare import shipped

        spec = DatasetSpec.from_dict(shipped("frappe").to_dict() | changes)
        prepared = prepare(spec, Options(tmp_path, out=tmp_path / "data"))
    assert prepared.verified
    assert [source.file for source in prepared.sources] == [
        "Frappe_x1.zip",
        "train.csv",
        "valid.csv",
        "test.csv",
    ]
    assert prepared.splits["train"].rows == 60


def test_an_empty_raw_file_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "clicks.csv").write_bytes(b"")
    with pytest.raises(RunFailed, match="is empty"):
        find(own(), folder, tmp_path)


def test_a_pattern_stands_for_all_matching_files(folder: Path, tmp_path: Path) -> None:
    spec = own(
        files={"day=*/part.csv": {}},
        rows="FROM read_csv('{day=*/part.csv}', header=true, all_varchar=true, hive_partitioning=true)",
        features=[{"type": "categorical", "columns": ["a", "day"]}],
    )
    with pytest.raises(UsageError, match=r"^`day=\*/part.csv` not found in"):
        find(spec, folder, tmp_path)
    for day in (2, 1, 3):
        (folder / f"day={day}").mkdir()
        (folder / f"day={day}/part.csv").write_bytes(DATA)
    found = find(spec, folder, tmp_path)
    assert found.paths["day=*/part.csv"] == tuple(folder / f"day={day}/part.csv" for day in (1, 2, 3))
    assert [source.sha256 for source in found.sources] == [hashlib.sha256(DATA).hexdigest()] * 3
    assert {source.md5 for source in found.sources} == {None}, "none is published to compare with"
    assert plan(spec, Options(tmp_path, source=folder)) == [
        f"read `day=*/part.csv` from 3 files in `{folder}`"
    ]
    prepared = prepare(spec, Options(folder, out=tmp_path / "data"))
    assert sum(split.rows for split in prepared.splits.values()) == 9
    assert {feature.name: feature.rows for feature in prepared.features}["day"] == 4


def test_files_of_a_pattern_are_downloaded_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(DATA) as server:
        names = ["day_0.csv", "day_1.csv"]
        downloads = {name: {"urls": [server.url(name)], "md5": md5(DATA)} for name in names}
        spec = own(files={"day_*.csv": {}}, downloads=downloads, rows="FROM read_csv('{day_*.csv}')")
        found = find(spec, None, tmp_path)
        assert [path.name for path in found.paths["day_*.csv"]] == names  # type: ignore[union-attr]
        assert [(source.file, source.verified) for source in found.sources] == [(n, True) for n in names]


def test_a_pattern_cannot_have_a_checksum() -> None:
    with pytest.raises(ValueError, match="many files"):
        own(files={"clicks.csv": {}, "*.csv": {"md5": "0" * 32}})


def test_a_gated_dataset_has_instructions_and_a_checksum(tmp_path: Path) -> None:
    spec = own(instructions="Log in at example.org", files={"clicks.csv": {"md5": md5(DATA), "bytes": 20}})
    cache = tmp_path / "cache/downloads/own"
    recipes = tmp_path / "recipes"
    with pytest.raises(UsageError) as failure:
        resolve(
            spec,
            Options(recipes),
            workspace=tmp_path / "work",
        )
    assert str(failure.value) == "dataset `own` must be downloaded by hand"
    assert str(failure.value.hint) == (
        f"Log in at example.org; put `clicks.csv` in `{cache}`, or in a folder given with `--source`"
    )
    assert [str(problem) for problem in failure.value.problems] == [f"clicks.csv: 20 bytes, md5 {md5(DATA)}"]
    cache.mkdir(parents=True)
    (cache / "clicks.csv").write_bytes(DATA)
    assert find(spec, None, recipes).paths["clicks.csv"] == cache / "clicks.csv"
    (cache / "clicks.csv").write_bytes(b"another")
    with pytest.raises(CheckFailed):
        find(spec, None, recipes)
    assert (cache / "clicks.csv").exists()  # downloaded by hand, so never removed


def test_a_damaged_archive_is_removed_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = gzip.compress(DATA * 1000)
    with serving(content[: len(content) // 2]) as server:
        spec = own(downloads={"clicks.csv.gz": {"urls": [server.url()]}})
        with pytest.raises(RunFailed, match="is damaged"):
            find(spec, None, tmp_path)
        server.replace(content)
        assert find(spec, None, tmp_path).paths["clicks.csv"].read_bytes() == DATA * 1000


@pytest.mark.parametrize(
    "scheme", ["https://example.org/a.csv", "s3://bucket/a.csv", "hf://datasets/a/b/c.csv"]
)
def test_remote_tables_need_an_extension(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where DuckDB looks for its extensions
    spec = own(files={}, rows=f"FROM read_csv('{scheme}')", allow_read=[scheme])
    with pytest.raises(RunFailed, match="extension `httpfs`, which is not installed") as failure:
        prepare(spec, Options(tmp_path, out=tmp_path / "data"))
    assert "INSTALL httpfs" in str(failure.value.hint)


def test_the_checksum_of_a_download_applies_to_any_copy(tmp_path: Path) -> None:
    """In `--source` as in the cache."""
    write_rows(tmp_path, [{"label": i % 2, "a": i} for i in range(9)])
    content = (tmp_path / "clicks.csv").read_bytes()
    download = {"urls": ["http://127.0.0.1:9/clicks.csv"], "md5": md5(content)}
    spec = own(downloads={"clicks.csv": download})
    assert prepare(spec, Options(tmp_path, out=tmp_path / "a", source=tmp_path)).sources[0].verified
    (tmp_path / "clicks.csv").write_bytes(content.replace(b"8", b"7"))
    with pytest.raises(CheckFailed):
        prepare(spec, Options(tmp_path, out=tmp_path / "b", source=tmp_path))
