"""The table of published hardware is consistent, and documented."""

from pathlib import Path

import pytest

from wukongctl.cost.gpus import GPUS, Gpu

EACH = pytest.mark.parametrize("gpu", GPUS.values(), ids=list(GPUS))


@EACH
def test_numbers_are_of_the_right_magnitude_and_have_sources(gpu: Gpu) -> None:
    assert 10e9 < gpu.memory < 300e9
    assert 0.2e12 < gpu.bandwidth < 10e12
    assert gpu.sources
    assert all(gpu.sources)
    assert gpu.network is None or gpu.network < gpu.link
    dense = gpu.peaks["float32"], gpu.peaks.get("tf32"), gpu.peaks.get("bfloat16")
    present = [rate for rate in dense if rate is not None]
    assert present == sorted(present)


@EACH
def test_a_precision_without_instructions_falls_back(gpu: Gpu) -> None:
    assert gpu.precision("float32") == "float32"
    assert gpu.precision("bfloat16") == ("bfloat16" if "bfloat16" in gpu.peaks else "float32")


def test_rates_are_those_without_sparsity() -> None:
    """With sparsity the data sheets print 1,979 and 989 for Hopper, 624 and 312 for Ampere."""
    assert GPUS["h100"].peaks["bfloat16"] == 989.5e12
    assert GPUS["h200"].peaks == GPUS["h100"].peaks
    assert GPUS["a100-80"].peaks["bfloat16"] == 312e12
    for gpu in GPUS.values():
        if "tf32" in gpu.peaks:
            assert gpu.peaks["bfloat16"] / gpu.peaks["tf32"] == pytest.approx(2, rel=0.03)


def test_the_documented_table_is_this_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "concepts" / "flops.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    documented = {row.split("`")[1]: [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    for gpu in GPUS.values():
        peaks = [
            f"{gpu.peaks[p] / 1e12:g}" if p in gpu.peaks else "–" for p in ("bfloat16", "tf32", "float32")
        ]
        network = "–" if gpu.network is None else f"{gpu.network * 8 / 1e9:g}"
        sizes = [f"{gpu.memory / 1e9:g}", f"{gpu.bandwidth / 1e9:,.0f}"]
        last = [f"{gpu.link / 1e9:g}", network, f"{gpu.per_node} ({gpu.server})"]
        assert documented[gpu.name] == [*sizes, *peaks, *last]
