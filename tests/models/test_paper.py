"""Our counts against Tables 3 and 5 of the paper, and the page that shows them side by side."""

from pathlib import Path

import pytest
import torch

from tests.models.paper import LAYOUTS, TABLE_5, TABLES, Internal, columns, public_rows, table_3, table_5
from wukongctl.config.training import TrainingSpec
from wukongctl.models import build
from wukongctl.models.counts import count

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "models.md"
PUBLISHED = {(data, model): (params, mflop) for data, model, params, mflop in public_rows()}


@pytest.mark.parametrize("row", LAYOUTS, ids=" ".join)
def test_a_row_of_table_3(row: tuple[str, str]) -> None:
    """Parameters exactly (Criteo: 384 less, unexplained), MFLOP to 0.1 % or 0.01.

    The 4.62 of Criteo's DLRM leaves out the gradient of the 13 numeric inputs, which nobody needs.
    """
    params, mflop = LAYOUTS[row].ours()
    published_params, published_mflop = PUBLISHED[row]
    assert params == published_params + (384 if row[0] == "Criteo" else 0)
    if row[1] == "xDeepFM":
        n, rows = (10, 5399) if row[0] == "Frappe" else (3, 90_242)
        assert mflop == pytest.approx(6e-6 * (10 * (n * n * 16 + 2 * n * 16 * 16) + 48), rel=1e-12)
        assert params == rows * 11 + (n * n * 16 + 2 * n * 16 * 16 + 48) + 49
    else:
        input_gradient = 2e-6 * 13 * 512 if row[0] == "Criteo" else 0
        assert mflop - input_gradient == pytest.approx(published_mflop, rel=1e-3, abs=0.01)


def internal(model: str) -> list[Internal]:
    return [row for row in TABLE_5 if row.model == model]


def test_dcn_rows_of_table_5() -> None:
    """3.1, 2.6, 1.6, 1.1 and 0.9 % below the paper from the smallest row to the largest."""
    ours = [row.ours() for row in internal("DCN")]
    below = [100 * (1 - gflop / row.gflop) for row, (gflop, _) in zip(internal("DCN"), ours, strict=True)]
    assert below == pytest.approx([3.1, 2.6, 1.6, 1.1, 0.9], abs=0.06)
    for row, (_, params) in zip(internal("DCN"), ours, strict=True):
        assert params == pytest.approx(row.params - TABLES, abs=0.11)


def test_the_formula_fitted_to_the_dlrm_rows_of_table_5() -> None:
    """0.561 + 6 (261,026 h + (L - 1) h²) / 1e9 GFLOP to 1 %, and our layout below it by up to 6 %."""
    for row in internal("DLRM"):
        widths = row.keys["top"]
        layers, h = len(widths), widths[0]
        assert 0.561 + 6e-9 * (261_026 * h + (layers - 1) * h * h) == pytest.approx(row.gflop, rel=0.01)
        assert row.params - TABLES == pytest.approx((260_907 * h + (layers - 1) * h * h) / 2**30, abs=0.013)
        assert 0.94 < row.ours()[0] / row.gflop < 1


@pytest.mark.parametrize(
    "row", [row for row in TABLE_5 if row.model != "Wukong"], ids=lambda row: f"{row.model} {row.name}"
)
def test_a_row_of_table_5(row: Internal) -> None:
    """Our layouts lack the dense part of the inputs, so they are up to 6 % low."""
    gflop, params = row.ours()
    if row.name == "DNN 4x4096 AFN 4x2048 nlog 1024":
        assert gflop / row.gflop < 0.8  # as printed; 4x6144 explains GFLOP and parameters
        row = Internal(row.model, row.name, row.gflop, row.params, {**row.keys, "hidden": [6144] * 4})
        gflop, params = row.ours()
    assert 0.94 < gflop / row.gflop < 1.01
    assert params == pytest.approx(row.params - TABLES, rel=0.03, abs=0.02)


def test_wukong_rows_of_table_5() -> None:
    """722 embeddings, static Y, one 2048-wide layer in the head and a fitted 0.29 GFLOP: rows 2-7 to 20 %."""
    for row in internal("Wukong")[1:]:
        with torch.device("meta"):
            spec = TrainingSpec.from_dict({"data": "paper", "model": {**row.keys, "width": 160}})
            gflop = count(build(spec.model, columns(722, 722), sparse=False)).gflop
        assert gflop + 0.29 == pytest.approx(row.gflop, rel=0.2)


def test_the_page_shows_these_tables() -> None:
    """After a change: `python -m tests.models.paper` prints what belongs there."""
    text = PAGE.read_text(encoding="utf-8")
    for table in (table_3(), table_5()):
        assert "\n".join(table) in text
    assert f"{len(LAYOUTS)} of the {len(PUBLISHED)} rows" in text
