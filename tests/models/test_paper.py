"""Our counts against Tables 3 and 5 of the paper, and the page that shows them side by side."""

from pathlib import Path

import pytest
import torch

from tests.models.paper import (
    COLUMNS,
    INTERNAL,
    INTERNAL_ROWS,
    PUBLIC_ROWS,
    TABLES,
    Internal,
    Public,
    counted,
    table_3,
    table_5,
)
from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.config.model import DLRMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import schema_from_recipe
from wukongctl.models import build
from wukongctl.models.counts import count

PAGE = Path(__file__).parents[2] / "docs" / "results" / "2026-11-paper-tables.md"
OTHERS = {
    "Frappe": {"Wukong"},
    "MicroVideo": {"AutoInt+", "DCNv2", "FinalMLP", "xDeepFM", "Wukong"},
    "MovieLens": {"Wukong"},
    "KuaiVideo": {"FinalMLP", "xDeepFM", "Wukong"},
    "TaobaoAds": {"FinalMLP", "xDeepFM", "Wukong"},
    "Criteo": {"AutoInt+", "FinalMLP", "xDeepFM", "Wukong"},
}
"""Rows of Table 3 whose parameters no known layout reproduces."""
EXACT = [row for row in PUBLIC_ROWS if row.model not in OTHERS[row.data]]


@pytest.mark.parametrize("row", EXACT, ids=lambda row: f"{row.data} {row.model}")
def test_a_row_of_table_3(row: Public) -> None:
    """Parameters exactly (Criteo: 384 less, unexplained), MFLOP to 0.1 % or 0.01.

    The 4.62 of Criteo's DLRM leaves out the gradient of the 13 numeric inputs, which nobody needs.
    """
    params, mflop = row.ours()
    assert params == row.params + (384 if row.data == "Criteo" else 0)
    if row.model == "xDeepFM":
        n, rows = (10, 5399) if row.data == "Frappe" else (3, 90_242)
        assert mflop == pytest.approx(6e-6 * (10 * (n * n * 16 + 2 * n * 16 * 16) + 48), rel=1e-12)
        assert params == rows * 11 + (n * n * 16 + 2 * n * 16 * 16 + 48) + 49
    else:
        input_gradient = 2e-6 * 13 * 512 if row.data == "Criteo" else 0
        assert mflop - input_gradient == pytest.approx(row.mflop, rel=1e-3, abs=0.01)


def test_criteos_autoint_costs_what_the_paper_says_with_128_parameters_less() -> None:
    (row,) = [row for row in PUBLIC_ROWS if (row.data, row.model) == ("Criteo", "AutoInt+")]
    params, mflop = row.ours()
    assert params == row.params - 128
    assert mflop == pytest.approx(row.mflop, abs=0.02)


@pytest.mark.parametrize(
    "row", [row for row in PUBLIC_ROWS if row.model == "Wukong"], ids=lambda row: row.data
)
def test_wukong_on_public_data_has_the_cost_of_table_3(row: Public) -> None:
    params, mflop = row.ours()
    schema = COLUMNS[row.recipe.split("/")[1]]
    spec = load(library.find(f"paper/{row.recipe}"), TrainingSpec)
    tables = schema.embedding_rows * spec.model.width
    assert params - tables == pytest.approx(row.params - tables, rel=0.01)
    assert mflop == pytest.approx(row.mflop, rel=0.01)


@pytest.mark.parametrize(("data", "published"), [("kuaivideo", 42_648_897), ("microvideo", 2_041_473)])
def test_bars_runs_behind_frozen_vectors(data: str, published: int) -> None:
    """The parameters of BARS' DCNv2, exactly, from its tuned settings and the dataset recipe.

    Its runs have a 64 x 64 matrix behind every feature with frozen vectors: three and two of them.
    """
    schema = schema_from_recipe(load(library.find(data, "datasets"), DatasetSpec))
    counts = counted(f"table2/{data}/dcnv2", schema)
    assert counts.dense_params + counts.embedding_params == published
    (frozen,) = (rows for rows, dim in zip(schema.table_rows, schema.vector_dims, strict=True) if dim)
    assert counts.frozen_values == frozen * 64


@pytest.mark.parametrize(
    ("model", "published", "extra"),
    [
        ("afn", 4_482_205, 200),
        ("autoint", 622_180, 100),
        ("dcnv2", 458_391, 100),
        ("deepfm", 423_280, 110),
        ("dlrm", 417_891, 100),
        ("finalmlp", 253_392, 0),
        ("fm", 59_280, 110),
        ("masknet", 571_691, 100),
        ("xdeepfm", 429_809, 110),
    ],
)
def test_the_tuned_settings_of_bars_on_frappe(model: str, published: int, extra: int) -> None:
    """The parameters that BARS logged, with one more special row in each of the ten tables.

    FinalMLP's run already had that row, and its user and item are looked up twice.
    """
    spec = load(library.find(f"frappe/bars/{model}"), TrainingSpec)
    with torch.device("meta"):
        counts = count(build(spec.model, COLUMNS["frappe"], sparse=False))
    frappe = COLUMNS["frappe"].embedding_rows
    assert frappe == 5399
    assert counts.dense_params + counts.embedding_params == published + extra


def internal(model: str) -> list[Internal]:
    return [row for row in INTERNAL_ROWS if row.name.startswith(model)]


def test_dcn_rows_of_table_5() -> None:
    """3.1, 2.6, 1.6, 1.1 and 0.9 % below the paper from the smallest row to the largest."""
    ours = [row.ours() for row in internal("dcn")]
    below = [100 * (1 - gflop / row.gflop) for row, (gflop, _) in zip(internal("dcn"), ours, strict=True)]
    assert below == pytest.approx([3.1, 2.6, 1.6, 1.1, 0.9], abs=0.06)
    for row, (_, params) in zip(internal("dcn"), ours, strict=True):
        assert params == pytest.approx(row.params - TABLES, abs=0.11)


def test_the_formula_fitted_to_the_dlrm_rows_of_table_5() -> None:
    """0.561 + 6 (261,026 h + (L - 1) h²) / 1e9 GFLOP to 1 %, and our layout below it by up to 6 %."""
    for row in internal("dlrm"):
        spec = load(library.find(f"paper/{row.recipe}"), TrainingSpec).model
        assert isinstance(spec, DLRMSpec)
        layers, h = len(spec.top), spec.top[0]
        assert 0.561 + 6e-9 * (261_026 * h + (layers - 1) * h * h) == pytest.approx(row.gflop, rel=0.01)
        assert row.params - TABLES == pytest.approx((260_907 * h + (layers - 1) * h * h) / 2**30, abs=0.013)
        assert 0.94 < row.ours()[0] / row.gflop < 1


MISPRINT = "afn-2"
"""As printed it costs 22 % less than the paper says; 4x6144 explains GFLOP and parameters."""


@pytest.mark.parametrize(
    "row",
    [row for row in INTERNAL_ROWS if not row.name.startswith("wukong") and row.name != MISPRINT],
    ids=lambda row: row.name,
)
def test_a_row_of_table_5(row: Internal) -> None:
    """Our layouts lack the dense part of the inputs, so they are up to 6 % low."""
    gflop, params = row.ours()
    assert 0.94 < gflop / row.gflop < 1.01
    assert params == pytest.approx(row.params - TABLES, rel=0.03, abs=0.02)


def test_misprinted_row_of_table_5() -> None:
    (row,) = internal(MISPRINT)
    assert row.ours()[0] / row.gflop < 0.8
    spec = load(library.find(f"paper/{row.recipe}"), TrainingSpec, ["model.hidden=[6144, 6144, 6144, 6144]"])
    with torch.device("meta"):
        counts = count(build(spec.model, INTERNAL, sparse=False))
    assert counts.gflop == pytest.approx(row.gflop, rel=0.02)
    assert counts.dense_params / 2**30 == pytest.approx(row.params - TABLES, abs=0.02)


def test_wukong_rows_of_table_5() -> None:
    """All seven to 7 %, parameters to 10 %, with one interpretation of what the paper leaves open."""
    for row in internal("wukong"):
        gflop, params = row.ours()
        assert gflop == pytest.approx(row.gflop, rel=0.07)
        assert params == pytest.approx(row.params - TABLES, rel=0.1, abs=0.02)


@pytest.mark.parametrize("row", INTERNAL_ROWS, ids=lambda row: row.name)
def test_the_header_of_an_internal_recipe_gives_both_numbers(row: Internal) -> None:
    gflop, params = row.ours()
    header = library.find(f"paper/{row.recipe}").read_text(encoding="utf-8")
    assert f"# The paper: {row.gflop:g} GFLOP per example, {row.params:g} x 2^30 parameters" in header
    assert f"# Ours: {gflop:.2f} GFLOP, {params:.2f} x 2^30 dense parameters" in header


def test_recipes_and_rows_correspond() -> None:
    rows = [row.recipe for row in (*PUBLIC_ROWS, *INTERNAL_ROWS)]
    points = ["table5"]  # the published points and their report recipe, for `scale-report`
    assert sorted(rows + points) == library.names("paper")


def test_documentation_has_these_tables() -> None:
    """After a change: `python -m tests.models.paper` prints what belongs there."""
    text = PAGE.read_text(encoding="utf-8")
    for table in (table_3(), table_5()):
        assert "\n".join(table) in text
    assert f"{len(EXACT)} of the {len(PUBLIC_ROWS)} rows" in text
