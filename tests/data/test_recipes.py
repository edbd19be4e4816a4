"""Every shipped dataset, downloaded in its exact raw format and encoded as by plain Python."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.data import fixtures, oracle, test_rows
from tests.data.fixtures.bars import derive
from tests.data.fixtures.common import Splits, packed, write_csv
from tests.data.fixtures.kuairand import LOG
from tests.data.server import Server, serving
from tests.data.test_prepare import assert_same, columns
from wukongctl.config import library, loading
from wukongctl.config.dataset import DatasetSpec, ExpectedCounts, RawFile
from wukongctl.data.acquire.digests import digests
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.pipeline import splits
from wukongctl.data.prepare import prepare
from wukongctl.errors import CheckFailed, UsageError

TWO_SPLITS = ("kuaivideo", "microvideo", "taobao-ads")
"""Datasets without a validation split."""
SIBLINGS = {"kuairand-1k": "kuairand-pure", "yambda-500m": "yambda-50m", "yambda-5b": "yambda-50m"}
"""Sizes of a dataset whose recipe differs from another one in names and numbers alone."""


def load(name: str, *overrides: str) -> DatasetSpec:
    return loading.load(library.find(name, "datasets"), DatasetSpec, overrides)


NAMES = [
    name
    for name in library.names("datasets")
    if load(name).generator is None and name != "paper-internal"  # not public
]


def published(spec: DatasetSpec, folder: Path, rows: Splits) -> DatasetSpec:
    """The recipe with the checksums and counts of the fixture instead of the real ones."""
    files = {
        name: RawFile(md5=digests(folder / name).md5) if file.md5 or file.sha256 else file
        for name, file in spec.files.items()
    }
    counts = splits.published_counts(spec, {name: len(part) for name, part in rows.items()})  # pyrefly: ignore
    positives = splits.published_counts(
        spec, {n: sum(row["label"] for row in part) for n, part in rows.items()}
    )
    expect = {name: ExpectedCounts(rows=counts[name], positives=positives[name]) for name in spec.expect}
    return spec.model_copy(update={"files": files, "expect": expect})


def served(spec: DatasetSpec, folder: Path, server: Server) -> DatasetSpec:
    """The recipe with its URLs redirected to `server`."""
    downloads = {}
    for name, download in spec.downloads.items():
        content = (folder / name).read_bytes() if name in spec.files else packed(folder, name, spec.files)
        urls = []
        for url in download.urls:
            parts = urlsplit(url)
            server.files[parts.path.rpartition("/")[2]] = content
            urls.append(server.url(f"{parts.netloc}{parts.path}?{parts.query}"))
        downloads[name] = download.model_copy(
            update={"urls": tuple(urls), "bytes": None, "md5": None, "sha256": None}
        )
    return spec.model_copy(update={"downloads": downloads})


def check_vectors(spec: DatasetSpec, prepared: Manifest, raw: Path, folder: Path) -> None:
    """Each frozen table has the vector of a value at its id, and zeros elsewhere."""
    for feature in prepared.features:
        if feature.vectors is None:
            continue
        (name, vectors) = next(
            (n, g.pretrained)
            for n, g in spec.columns
            if getattr(g, "pretrained", None) and feature.vectors == f"vectors/{n}.npy"
        )
        with h5py.File(raw / vectors.file) as file:
            wanted = dict(zip(map(str, file["key"][:]), file["value"][:], strict=True))
        table = np.load(folder / feature.vectors)
        assert table.dtype == np.float32
        assert table.shape == (feature.rows, feature.vector_dim) == (feature.rows, 64)
        known = pq.read_table(folder / f"vocab/{name}.parquet").to_pydict()
        assert set(wanted) <= set(known["value"])
        for value, id_ in zip(known["value"], known["id"], strict=True):
            assert (table[id_] == wanted.get(value, np.zeros(64))).all()
        others = sorted(set(range(len(table))) - set(known["id"]))
        assert len(others) == 2
        assert not table[others].any()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(b"") as running:
        yield running


def test_every_dataset_has_a_fixture() -> None:
    assert sorted(fixtures.WRITERS) == NAMES


@pytest.mark.parametrize(
    ("name", "bars"),
    [
        *(pytest.param(name, False, marks=[pytest.mark.slow] * (name in SIBLINGS)) for name in NAMES),
        *((name, True) for name in TWO_SPLITS),
    ],
)
def test_encoding_matches_plain_python(name: str, bars: bool, tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = fixtures.WRITERS[name](folder, bars=bars)
    spec = published(load(name, *(["compat=bars"] if bars else [])), folder, rows)
    spec = served(spec, folder, server)
    source = None if spec.downloads else folder
    prepared = prepare(spec, Options(tmp_path, out=tmp_path / "out", source=source))
    keys = {}
    for file in folder.glob("*.h5"):
        with h5py.File(file) as vectors:
            keys[file.name] = [str(key) for key in vectors["key"][:]]
    assert_same(columns(tmp_path / "out", prepared), oracle.encode(spec, rows, keys))
    assert prepared.verified
    assert all(rows.values())
    check_vectors(spec, prepared, folder, tmp_path / "out" / name)
    assert bool(server.requests) == bool(spec.downloads)
    assert bars == any("as in BARS" in problem for problem in prepared.problems)


@pytest.mark.parametrize(("name", "other"), SIBLINGS.items())
def test_sizes_of_a_dataset_are_read_alike(name: str, other: str) -> None:
    one, two = load(name), load(other)
    renamed = str(one.rows).replace(name.partition("-")[2], other.partition("-")[2])
    assert renamed == two.rows
    assert (one.split, one.label, one.features) == (two.split, two.label, two.features)
    assert one.license == two.license
    assert {file.replace("_1k", "_pure") for file in one.files} == set(two.files)


def test_the_random_log_of_kuairand_is_scored_like_the_standard_ones(tmp_path: Path) -> None:
    rows = fixtures.WRITERS["kuairand-pure"](tmp_path, bars=False)
    spec = published(load("kuairand-pure"), tmp_path, rows)
    prepare(spec, Options(tmp_path, out=tmp_path / "out", source=tmp_path))
    write_csv(tmp_path / "random.csv", rows["test"], LOG)
    dataset = tmp_path / "out" / spec.name
    scored = test_rows.read(dataset, tmp_path / "random.csv", "raw")
    assert len(scored["user_id"]) == len(rows["test"]) > 0
    assert scored == test_rows.columns([pq.read_table(dataset / "test")])


@pytest.mark.parametrize("name", [name for name in NAMES if not load(name).downloads])
def test_gated_datasets_say_what_to_download(name: str, tmp_path: Path) -> None:
    path = library.find(name, "datasets")
    with pytest.raises(UsageError, match=f"`{name}` must be downloaded by hand") as failure:
        prepare(load(name), Options(path.parent, out=tmp_path))
    assert "--source" in str(failure.value.hint)
    assert "http" in str(failure.value.hint) or "hf download" in str(failure.value.hint)


def test_a_dataset_that_is_not_public_is_an_error(tmp_path: Path) -> None:
    path = library.find("paper-internal", "datasets")
    with pytest.raises(UsageError, match="dataset `paper-internal` is not public") as failure:
        prepare(load("paper-internal"), Options(path.parent, out=tmp_path))
    assert str(failure.value.hint).startswith("this log is not public")


def test_the_gz_file_of_kaggle_is_a_source(tmp_path: Path) -> None:
    rows = fixtures.WRITERS["avazu-kaggle"](tmp_path, bars=False)
    archive = tmp_path / "train.gz"
    archive.write_bytes(gzip.compress((tmp_path / "train.csv").read_bytes()))
    spec = published(load("avazu-kaggle"), tmp_path, rows)
    prepared = prepare(spec, Options(tmp_path, out=tmp_path / "out", source=archive))
    assert_same(columns(tmp_path / "out", prepared), oracle.encode(spec, rows))


# --- real files from WUKONGCTL_REAL_DATA -----------------------------------------------------------------


def counts(prepared: Manifest) -> dict[str, tuple[int, int]]:
    return {name: (split.rows, split.positives) for name, split in prepared.splits.items()}


@pytest.mark.realdata
def test_real_frappe_has_the_published_counts(real_data: Path, tmp_path: Path) -> None:
    source, spec = real_data / "frappe", load("frappe")
    with pytest.raises(CheckFailed) as failure:
        prepare(spec, Options(tmp_path, out=tmp_path, source=source))
    assert [problem.file for problem in failure.value.problems] == ["train.csv"]  # the rebuilt one
    prepared = prepare(spec, Options(tmp_path, out=tmp_path, source=source, verify=False))
    assert counts(prepared) == {
        "train": (202_027, 67_604),
        "valid": (57_722, 19_063),
        "test": (28_860, 9_536),
    }
    verified = {source.file: source.verified for source in prepared.sources}
    assert verified == {"train.csv": False, "valid.csv": True, "test.csv": True}
    assert {f.name: f.rows for f in prepared.features} == spec.cardinalities


@pytest.mark.realdata
def test_real_ml_100k_is_verified(real_data: Path, tmp_path: Path) -> None:
    spec = load("ml-100k")
    prepared = prepare(spec, Options(tmp_path, out=tmp_path, source=real_data / "ml-100k"))
    assert prepared.verified
    assert all(source.verified for source in prepared.sources)
    assert sum(rows for rows, _ in counts(prepared).values()) == 100_000
    assert {f.name: f.rows for f in prepared.features if f.rows} == spec.cardinalities


@pytest.mark.realdata
def test_real_criteo_encoding_matches_plain_python(real_data: Path, tmp_path: Path) -> None:
    source, spec = real_data / "criteo", load("criteo")
    prepared = prepare(spec, Options(tmp_path, out=tmp_path, source=source, verify=False))
    assert "`criteo_kaggle_10001.tsv` was read in place of `train.txt`" in prepared.problems
    names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    lines = (source / "criteo_kaggle_10001.tsv").read_text().splitlines()
    rows: list[oracle.Row] = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    assert (len(rows), sum(row["label"] == "1" for row in rows)) == (10_001, 2_182)
    parts = {"train": rows[:8573], "valid": rows[8573:9287], "test": rows[9287:]}
    assert_same(columns(tmp_path, prepared), oracle.encode(spec, parts))


@pytest.mark.realdata
def test_real_avazu_encoding_matches_plain_python(real_data: Path, tmp_path: Path) -> None:
    source, spec = real_data / "avazu", load("avazu-kaggle")
    prepared = prepare(spec, Options(tmp_path, out=tmp_path, source=source, verify=False))
    assert "`avazu_8087.csv` was read in place of `train.csv`" in prepared.problems
    with (source / "avazu_8087.csv").open(newline="") as file:
        rows: list[oracle.Row] = list(csv.DictReader(file))
    for row in rows:
        derive(row)
    assert (len(rows), sum(row["click"] == "1" for row in rows)) == (8_087, 1_397)
    parts = {"train": rows[:6470], "valid": rows[6470:7279], "test": rows[7279:]}
    assert_same(columns(tmp_path, prepared), oracle.encode(spec, parts))
