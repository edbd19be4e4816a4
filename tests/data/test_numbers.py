"""Encodings of numbers: edges come from train only, and apply wherever rows are encoded."""

import itertools
import json
import math
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.pipeline.test_bins import groups_of
from tests.data.test_prepare import columns, own, run
from tests.examples import examples
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.spec import Mistakes
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Feature, Manifest
from wukongctl.data.pipeline import bins, encode, parts
from wukongctl.data.rows import RowReader
from wukongctl.data.schema import Batch, schema_from_recipe
from wukongctl.errors import RunFailed

NAMES = {"s": "scalar", "b": "bins", "sb": "scalar+bins", "p": "piecewise", "l": "log2"}
CELLS = st.sampled_from(["", "nan", "0", "-0.0", "1", "1", "2", "-7", "1e30", "-1e30", "1e-310", "999"])
COLUMN = st.lists(CELLS | st.floats(-1e6, 1e6).map(repr), min_size=6, max_size=40)


def spec(most: int = 4, **changes: Any) -> DatasetSpec:
    """The same number in one column for each encoding."""
    features = [
        {"type": "numeric", "columns": [name], "encoding": encoding}
        | ({"bins": most} if encoding in ("bins", "scalar+bins", "piecewise") else {})
        for name, encoding in NAMES.items()
    ]
    return own(features=features, **changes)


def write(folder: Path, cells: list[str], name: str = "clicks.csv") -> None:
    lines = ["label," + ",".join(NAMES), *(f"{i % 2}," + ",".join([c] * 5) for i, c in enumerate(cells))]
    (folder / name).write_text("\n".join(lines) + "\n")


def edges(manifest: Manifest) -> dict[str, tuple[float, ...]]:
    return {feature.name: feature.edges for feature in manifest.features if feature.edges is not None}


def batch(out: Path, manifest: Manifest, split: str) -> Batch:
    reader = BatchReader(out / "own", manifest, split, batch_size=10_000, shuffle=False, seed=0)
    return next(iter(reader.epoch(0)))


@settings(
    max_examples=examples(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cells=COLUMN)
def test_encodings_depend_on_train_only(cells: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder, cells)
    prepared = run(spec(), folder, folder / "out")
    cut = -(-len(cells) * 2 // 3)
    numbers = [None if cell in ("", "nan") else float(cell) for cell in cells]
    known = [number for number in numbers[:cut] if number is not None]
    groups = groups_of(known, 4) if known else []
    assert len(edges(prepared)["b_bin"]) == max(len(groups) - 1, 0)
    assert edges(prepared)["b_bin"] == edges(prepared)["sb_bin"]
    written = columns(folder / "out", prepared)
    for name, numbered in (("train", numbers[:cut]), ("test", numbers[cut:])):
        table = written[name]
        for encoded in ("b", "sb", "l"):
            above = edges(prepared)[f"{encoded}_bin"]
            expected = [0 if x is None else 2 + bisect_left(above, x) for x in numbered]
            assert table[f"{encoded}_bin"] == expected
        assert [value is None for value in table["p_ple"]] == [x is None for x in numbered]
        for encoded in ("b", "sb", "l", "p"):
            filled = [value or 0.0 for value in table[encoded]]
            assert [value is None for value in table[encoded]] == [x is None for x in numbered]
            assert filled == table["s"]
    for number, group in enumerate(groups):
        assert {written["train"]["b_bin"][numbers.index(x)] for x in group} == {number + 2}


@settings(
    max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cells=COLUMN)
def test_new_rows_are_encoded_like_train(cells: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("new")
    write(folder, cells)
    prepared = run(spec(), folder, folder / "out")
    (whole,) = RowReader(folder / "out/own", prepared).batches(folder / "clicks.csv")
    start = 0
    for name, split in prepared.splits.items():
        expected, rows = batch(folder / "out", prepared, name), slice(start, start + split.rows)
        assert torch.equal(whole.ids[rows], expected.ids)
        assert torch.equal(whole.dense[rows], expected.dense)
        start += split.rows


def test_a_batch_holds_ids_then_numbers_then_positions(tmp_path: Path) -> None:
    write(tmp_path, ["1", "", "2", "4", "1", "3", "9", "", "0"])
    prepared = run(spec(), tmp_path, tmp_path / "out")
    schema = prepared.schema()
    assert schema.categorical == ("b_bin", "sb_bin", "l_bin")
    assert schema.dense == ("s", "sb", "p_ple")
    assert schema.pieces == (3,)
    assert schema.table_rows == (6, 6, 5)  # 3 and 4 are in one bucket
    train, test = batch(tmp_path / "out", prepared, "train"), batch(tmp_path / "out", prepared, "test")
    assert train.dense[:, 2].tolist() == [0, -1, 1, 3, 0, 2]
    assert test.dense[:, 2].tolist() == [3, -1, 0]
    assert train.ids[:, 0].tolist() == [2, 0, 3, 5, 2, 4]
    assert test.ids[:, 0].tolist() == [5, 0, 2]
    assert train.dense[1, :2].tolist() == [0, 0]


def test_the_manifest_describes_encoded_columns(tmp_path: Path) -> None:
    write(tmp_path, ["1", "", "2", "4", "1", "3", "9", "", "0"])
    prepared = run(spec(), tmp_path, tmp_path / "out")
    found = {feature.name: feature for feature in prepared.features}
    assert list(found) == [*NAMES, "b_bin", "sb_bin", "p_ple", "l_bin"]
    assert {name: found[name].encoding for name in NAMES} == NAMES
    assert all(found[name].mean == pytest.approx(2.2) for name in NAMES)
    assert found["b_bin"].edges == (1.5, 2.5, 3.5)
    assert found["p_ple"].edges == (1.0, 2.0, 3.0, 4.0)
    assert [(found[name].of, found[name].type) for name in ("b_bin", "p_ple")] == [
        ("b", "bin"),
        ("p", "piecewise"),
    ]
    assert Manifest.from_dict(json.loads((tmp_path / "out/own/manifest.json").read_text())) == prepared
    names = pq.read_schema(tmp_path / "out/own/train/part-00000.parquet").names
    assert names == ["label", *found]
    assert prepared.statistics is not None
    assert {name: prepared.statistics.features[name].missing["train"] for name in NAMES} == dict.fromkeys(
        NAMES, round(1 / 6, 9)
    )


def days(folder: Path, **changes: Any) -> DatasetSpec:
    """Five files of one table."""
    rng = np.random.default_rng(0)
    names = [f"day{day}.csv" for day in range(5)]
    for name, rows in zip(names, (400, 150, 1, 700, 90), strict=True):
        numbers = [*rng.exponential(9, rows).tolist(), *[0.0] * (rows // 3), *[math.nan] * (rows // 9)]
        rng.shuffle(numbers)
        write(folder, [repr(number) for number in numbers], name)
    listed = "[" + ", ".join(f"'{{{name}}}'" for name in names) + "]"
    read = f"FROM read_csv({listed}, header=true, all_varchar=true, delim=',')"
    return spec(16, files={name: {} for name in names}, rows=read, **changes)


@pytest.mark.parametrize("by", ["order", "hash", "shuffle"])
def test_edges_do_not_depend_on_parts_threads_or_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    ratio = {"ratio": {"train": 6, "test": 2}}
    key = {"key": "s"} if by == "hash" else {}
    shuffle = {"shuffle": {"seed": 1}} if by == "shuffle" else {}
    recipe = days(tmp_path, split={"by": "hash" if key else "order", **key, **ratio}, **shuffle)
    one = run(recipe, tmp_path, tmp_path / "one", threads=1)
    again = run(recipe, tmp_path, tmp_path / "two", threads=2, memory_limit="200MB")
    assert again.fingerprint == one.fingerprint
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    many = run(recipe, tmp_path, tmp_path / "many", threads=2)
    assert len(many.splits["train"].files) > 1 or shuffle
    assert many.features == one.features
    if not shuffle:
        assert columns(tmp_path / "one", one) == columns(tmp_path / "many", many)


def test_edges_of_a_sample_are_nearly_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = days(tmp_path)
    exact = run(recipe, tmp_path, tmp_path / "exact")
    monkeypatch.setattr(bins, "MAX_GROUPS", 200)
    grouped = run(recipe, tmp_path, tmp_path / "grouped")
    values = np.array([x for x in columns(tmp_path / "exact", exact)["train"]["b"] if x is not None])
    std = exact.features[1].std or 1.0
    for name in ("b_bin", "p_ple"):
        first, second = edges(exact)[name], edges(grouped)[name]
        assert len(first) == len(second)
        assert first != second
        mean = exact.features[1].mean or 0.0
        ranks = [np.searchsorted(np.sort(values), (np.array(each) - mean) / std) for each in (first, second)]
        assert np.abs(ranks[0] - ranks[1]).max() <= len(values) / 50


def test_a_resumed_preparation_has_the_same_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = days(tmp_path)
    expected = run(recipe, tmp_path, tmp_path / "whole")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(encode, "encode", killed)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path, tmp_path / "out")
    assert run(recipe, tmp_path, tmp_path / "out").fingerprint == expected.fingerprint


def test_the_fingerprint_covers_edges_and_where_values_are_missing(tmp_path: Path) -> None:
    prints = set()
    for number, cells in enumerate((["1", "2", "3"] * 3, ["1", "2", ""] * 3, ["1", "2", "4"] * 3)):
        write(tmp_path, cells)
        prints.add(run(spec(), tmp_path, tmp_path / str(number)).fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize("encoding", ["bins", "piecewise", "log2"])
def test_an_infinite_number_is_an_error_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "clicks.csv").write_text("label,a\n1,1\n0,2\n1,inf\n0,1\n")
    features = [{"type": "numeric", "columns": ["a"], "encoding": encoding}]
    with pytest.raises(RunFailed, match=r"^`clicks.csv:4`: `a` is infinite"):
        run(own(features=features), tmp_path, tmp_path / "out")


def test_a_column_without_numbers_in_train_has_one_bin_and_one_piece(tmp_path: Path) -> None:
    write(tmp_path, ["", "", "", "", "", "", "3", "", "5"])
    prepared = run(spec(), tmp_path, tmp_path / "out")
    assert edges(prepared) == {"b_bin": (), "sb_bin": (), "p_ple": (), "l_bin": ()}
    assert prepared.schema().table_rows == (3, 3, 3)
    assert prepared.schema().pieces == (1,)
    test = batch(tmp_path / "out", prepared, "test")
    assert test.ids[:, 0].tolist() == [2, 0, 2]
    assert test.dense[:, 2].tolist() == [0, -1, 0]


def test_the_schema_of_a_recipe_has_the_most_bins() -> None:
    schema = schema_from_recipe(spec(7))
    assert schema.categorical == ("b_bin", "sb_bin", "l_bin")
    assert schema.table_rows == (9, 9, 2)
    assert (schema.piecewise, schema.pieces) == (("p_ple",), (7,))
    told = schema_from_recipe(spec(7, cardinalities={"b": 5, "l": 30, "p": 3}))
    assert (told.table_rows, told.pieces) == ((5, 9, 30), (3,))


def test_tables_of_bins_follow_those_of_categories(tmp_path: Path) -> None:
    lines = ["label,a,s,n", *(f"{i % 2},v{i % 3},x|y,{i}" for i in range(30))]
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    features = [
        {"type": "sequence", "columns": ["s"], "separator": "|", "max_len": 2},
        {"type": "numeric", "columns": ["n"], "encoding": "bins", "bins": 5},
        {"type": "categorical", "columns": ["a"]},
    ]
    prepared = run(own(features=features), tmp_path, tmp_path / "out")
    assert prepared.schema().table_rows == (5, 7, 4)
    assert prepared.schema() == schema_from_recipe(own(features=features, cardinalities={"a": 5, "s": 4}))
    (rows,) = RowReader(tmp_path / "out/own", prepared).batches(tmp_path / "clicks.csv")
    assert torch.equal(rows.ids[:20], batch(tmp_path / "out", prepared, "train").ids)


# --- the recipe ------------------------------------------------------------------------------------------


def test_older_recipes_keep_their_digest() -> None:
    features = [{"type": "numeric", "columns": ["n"], "standardize": False}]
    digest = "4f35ed406a8c6ae91b7e97a786104d7fcf4a664949da302f637e0875216e3536"
    assert own(features=features).content_digest() == digest


def test_every_key_of_an_encoding_is_part_of_the_digest() -> None:
    keys = [{}, {"encoding": "bins"}, {"encoding": "bins", "bins": 9}, {"encoding": "piecewise"}]
    recipes = [own(features=[{"type": "numeric", "columns": ["n"], **each}]) for each in keys]
    assert len({each.content_digest() for each in recipes}) == 4
    for one, other in itertools.pairwise(recipes):
        assert one.content_digest() != other.content_digest()
    assert all(DatasetSpec.from_dict(each.to_dict()) == each for each in recipes)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"encoding": "log2", "transform": "log1p"}, "`encoding: log2` takes the logarithm itself"),
        ({"encoding": "log2", "bins": 9}, "has no quantile bins"),
        ({"bins": 9}, "`encoding: scalar` has no quantile bins"),
    ],
)
def test_incompatible_keys_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises((Mistakes, ValueError), match=message):
        own(features=[{"type": "numeric", "columns": ["n"], **keys}])


def test_no_feature_may_have_the_name_of_an_encoded_column() -> None:
    features = [
        {"type": "numeric", "columns": ["n"], "encoding": "bins"},
        {"type": "categorical", "columns": ["n_bin"]},
    ]
    with pytest.raises(ValueError, match="`n_bin` is the name of the column that encodes `n`"):
        own(features=features)
    assert Feature(name="x", type="numeric").encoding is None
