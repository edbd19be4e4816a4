"""The manifest: round trip, schema, and errors when it is missing, damaged or too new."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data import raw
from tests.data.test_prepare import own, run, shipped
from wukongctl.config.defaults import DatasetFacts
from wukongctl.data import manifest
from wukongctl.data.schema import Schema, SequenceColumn, schema_from_recipe
from wukongctl.errors import RunFailed, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clicks.csv").write_text("label,a,n,s\n1,x,1,p^q\n0,y,2,x\n1,x,3,\n")
    spec = own(
        features=[
            {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 4, "shares": "a"},
            {"type": "numeric", "columns": ["n"], "standardize": True, "transform": "log1p"},
            {"type": "categorical", "columns": ["a"]},
        ],
        license={"name": "mine"},
        citation="me",
    )
    run(spec, tmp_path, tmp_path)
    return tmp_path / "own"


def test_read_returns_what_was_written(folder: Path) -> None:
    prepared = manifest.read(folder)
    prepared.write(folder)
    assert manifest.read(folder) == prepared
    assert prepared.dataset == "own"
    assert prepared.license is not None
    assert prepared.license.name == "mine"
    assert prepared.recipe["citation"] == "me"
    assert len(prepared.fingerprint) == 64
    by_name = {feature.name: feature for feature in prepared.features}
    assert by_name["n"].mean == pytest.approx(0.895879735)  # mean of ln 2 and ln 3
    assert by_name["a"].rows == by_name["s"].rows == 2 + 4
    assert by_name["a"].table == by_name["s"].table == 0
    assert not (folder / "vocab/s.parquet").exists()


def test_schema_follows_the_features(folder: Path) -> None:
    assert manifest.read(folder).schema() == Schema(
        categorical=("a",), numeric=("n",), sequences=(SequenceColumn("s", 0, 4),), table_rows=(6,)
    )


def test_facts_for_defaults(folder: Path) -> None:
    """The sequence shares the embedding table of `a`."""
    prepared = manifest.read(folder)
    assert prepared.facts() == DatasetFacts(
        train_rows=prepared.splits["train"].rows,
        valid_rows=None,
        cardinalities=(6, 6),
        numeric=1,
        sequences=1,
        embedding_rows=6,
    )


@pytest.mark.parametrize("name", ["frappe", "ml-100k", "criteo"])
def test_schema_before_and_after_preparation_agree(tmp_path: Path, name: str) -> None:
    {"frappe": raw.frappe, "ml-100k": raw.ml_100k, "criteo": lambda to: raw.criteo(to / "train.txt")}[name](
        tmp_path
    )
    spec = shipped(name)
    prepared = run(spec, tmp_path, tmp_path / "out", verify=False)
    rows = {feature.name: feature.rows for feature in prepared.features if feature.rows}
    before = schema_from_recipe(spec.model_copy(update={"cardinalities": rows}))
    assert before == prepared.schema()


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as failure:
        manifest.read(tmp_path / "data/criteo")
    assert str(failure.value) == f"dataset `criteo` is not prepared in `{tmp_path / 'data'}`"
    assert failure.value.hint == f"run `wukongctl prepare criteo --out {tmp_path / 'data'}`"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', "\xff"])
def test_a_damaged_manifest_is_an_error(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFailed, match="is damaged"):
        manifest.read(folder)


def test_a_newer_format_is_an_error(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["format_version"] = 99
    content["something"] = "new"
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="has format 99"):
        manifest.read(folder)


def test_a_missing_data_file_is_an_error(folder: Path) -> None:
    (folder / "train/part-00000.parquet").unlink()
    with pytest.raises(RunFailed, match="is missing"):
        manifest.read(folder)


def test_parquet_files_have_the_documented_layout(folder: Path) -> None:
    file = pq.ParquetFile(folder / "train/part-00000.parquet")
    assert [(f.name, str(f.type)) for f in file.schema_arrow] == [
        ("label", "uint8"),
        ("s", "list<element: int32>"),
        ("n", "float"),
        ("a", "int32"),
    ]
    columns = [file.metadata.row_group(0).column(index) for index in range(4)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert all("RLE_DICTIONARY" in column.encodings for column in columns[:3])
    assert "BYTE_STREAM_SPLIT" in columns[3].encodings
