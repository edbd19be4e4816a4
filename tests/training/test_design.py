"""The columns that trees see, against loops over rows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.training.design import FREQUENT, Design

FEATURES = [
    {"name": "a", "type": "categorical", "rows": 5, "table": 0},
    {"name": "b b", "type": "categorical", "rows": 4, "table": 1, "vectors": "v/b.npy", "vector_dim": 3},
    {"name": "x", "type": "numeric", "mean": 3.0, "std": 2.0},
    {"name": "s", "type": "sequence", "rows": 40, "table": 2, "max_len": 4, "padding": "post"},
    {"name": "t", "type": "sequence", "rows": 5, "table": 0, "max_len": 3, "padding": "pre"},
    {"name": "v", "type": "sequence", "rows": 4, "table": 1, "max_len": 2, "padding": "post",
     "vectors": "v/b.npy", "vector_dim": 3},
]  # fmt: skip
VECTORS = {1: torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 2, 3], [5, 4, 9]])}
IDS = [
    # a, b, s s s s, t t t, v v
    [0, 2, 7, 9, 7, 0, 0, 0, 0, 2, 3],
    [1, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0],
    [4, 3, 2, 33, 34, 1, 3, 3, 3, 3, 0],
]


def manifest(**recipe: str) -> Manifest:
    nothing = {"dataset": "d", "description": "", "recipe_digest": "", "sql_sha256": "", "fingerprint": ""}
    versions = {"wukongctl": "", "duckdb": "", "pyarrow": ""}
    more = {"recipe": recipe, "features": FEATURES, "splits": {}, "sources": [], "verified": None}
    return Manifest.model_validate_json(json.dumps({**nothing, **more, "versions": versions}))


def batch() -> Batch:
    return Batch(
        torch.tensor(IDS, dtype=torch.int32), torch.tensor([[0.5], [float("nan")], [-2.0]]), torch.zeros(3)
    )


def matrix(design: Design, rows: Batch) -> NDArray[np.floating]:
    made = design.empty(len(rows.labels))
    design.fill(made, rows)
    return made


def by_hand(first: int) -> list[list[float]]:
    """Row by row."""
    nan, vectors = float("nan"), VECTORS[1].tolist()
    rows = []
    for ids, dense in zip(IDS, batch().dense.tolist(), strict=True):
        row = [ids[0] or nan, *vectors[ids[1]], dense[0] * 2 + 3]
        for items, rows_of_table in ((ids[2:6], 40), (ids[6:9], 5)):
            there = [item for item in items if item]
            end = rows_of_table - (1 if first == 1 else 0)
            row += [len(there), there[-1] if there else nan]
            row += [there.count(value) for value in range(first, min(first + FREQUENT, end))]
        there = [item for item in ids[9:] if item]
        row += [len(there), *(sum(vectors[item][k] for item in there) / max(len(there), 1) for k in range(3))]
        rows.append(row)
    return rows


@pytest.mark.parametrize(("recipe", "first"), [({}, 2), ({"compat": "bars"}, 1)])
def test_columns_equal_a_loop_over_rows(recipe: dict[str, str], first: int) -> None:
    design = Design(manifest(**recipe), VECTORS)
    np.testing.assert_allclose(matrix(design, batch()), by_hand(first), rtol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(258.3, 259.2), (1e-4, 3e-5), (-7e8, 1e6)])
def test_numbers_are_in_their_original_unit(mean: float, std: float) -> None:
    page = manifest().to_dict() | {"features": [FEATURES[2] | {"mean": mean, "std": std}]}
    values = np.array([0, mean, mean + std, 5 * std, std / 1000])
    encoded = torch.tensor((values - mean) / std, dtype=torch.float32)[:, None]
    rows = Batch(torch.zeros(5, 0, dtype=torch.int32), encoded, torch.zeros(5))
    made = matrix(Design(Manifest.from_dict(page), {}), rows)[:, 0]
    np.testing.assert_allclose(made, values, rtol=1e-5, atol=1e-6 * (abs(mean) + std))
    assert made[0] == 0


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_missing_number_is_missing_where_the_dataset_has_some(share: float) -> None:
    page = manifest().to_dict() | {"features": [FEATURES[2]]}
    page["statistics"] = {"label_rate": {}, "features": {"x": {"missing": {"train": share, "test": 0.0}}}}
    rows = Batch(torch.zeros(2, 0, dtype=torch.int32), torch.tensor([[0.0], [0.5]]), torch.zeros(2))
    made = matrix(Design(Manifest.from_dict(page), {}), rows)[:, 0]
    np.testing.assert_array_equal(made, [np.nan if share else 3.0, 4.0])


def test_columns_have_valid_names() -> None:
    design = Design(manifest(), VECTORS)
    assert design.names[:7] == ["a", "b_b.0", "b_b.1", "b_b.2", "x", "s.length", "s.last"]
    assert len(set(design.names)) == len(design.names) == design.empty(0).shape[1]
    assert [design.names[place] for place in design.categorical] == ["a", "s.last", "t.last"]


def test_colliding_names_are_made_unique() -> None:
    features = [{"name": name, "type": "numeric"} for name in ("a b", "a:b", "a_b", "é,")]
    page = manifest().to_dict() | {"features": features}
    assert Design(Manifest.from_dict(page), {}).names == ["a_b", "a_b_2", "a_b_3", "é_"]


def test_ids_beyond_float32_stay_distinct(tmp_path: Path) -> None:
    rows = (1 << 24) + 8
    page = manifest().to_dict() | {"features": [FEATURES[0] | {"rows": rows}]}
    ids = torch.tensor([[rows - 1], [rows - 2]], dtype=torch.int32)
    made = matrix(Design(Manifest.from_dict(page), {}), Batch(ids, torch.zeros(2, 0), torch.zeros(2)))
    assert made.ravel().tolist() == [rows - 1, rows - 2]


def test_bins_and_positions_are_numbers_that_may_be_missing() -> None:
    features = [
        {"name": "a", "type": "categorical", "rows": 5, "table": 0},
        {"name": "x", "type": "numeric", "encoding": "bins"},
        {"name": "y", "type": "numeric", "encoding": "piecewise"},
        {"name": "z", "type": "numeric", "encoding": "scalar+bins"},
        {"name": "x_bin", "type": "bin", "of": "x", "edges": [0.5, 2.0], "rows": 5, "table": 1},
        {"name": "y_ple", "type": "piecewise", "of": "y", "edges": [0.0, 1.0, 9.0]},
        {"name": "z_bin", "type": "bin", "of": "z", "edges": [], "rows": 3, "table": 2},
    ]
    design = Design(Manifest.from_dict(manifest().to_dict() | {"features": features}), {})
    assert design.names == ["a", "x_bin", "z_bin", "z", "y_ple"]
    assert design.categorical == [0]
    ids = torch.tensor([[2, 0, 2], [0, 4, 0]], dtype=torch.int32)
    rows = Batch(ids, torch.tensor([[0.0, -1.0], [-1.0, 1.5]]), torch.zeros(2))
    nan = float("nan")
    np.testing.assert_array_equal(matrix(design, rows), [[2, nan, 2, 0, nan], [nan, 4, nan, -1, 1.5]])
