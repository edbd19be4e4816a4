"""`wukongctl flops --gpus N --gpu KIND`: the plan as text and as JSON."""

from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

KEYS = {
    "gpu", "gpus", "nodes", "examples_per_gpu", "precision", "dense", "embeddings", "memory", "fits",
    "communication", "seconds", "examples_per_second", "mfu", "assumptions", "fits_with", "host_memory",
}  # fmt: skip
SMALL = """\
data: synthetic
model: {name: wukong, width: 8, layers: 2, n_F: 4, n_L: 4, k: 4, hidden: [64], head: [16]}
optimizer: {embedding: {lr: 0.1}}
batch_size: 4096
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_json_and_its_sums(wukong: Wukong, small: Path) -> None:
    (report,) = wukong("flops", small, "--gpus", 16, "--gpu", "h200", "--examples", "1e9", "--json").json
    plan = report["cluster"]
    assert set(plan) == KEYS | {"days"}
    assert (plan["gpus"], plan["nodes"], plan["examples_per_gpu"]) == (16, 2, 256)
    parts = {name: size for name, size in plan["memory"].items() if name not in {"total", "usable"}}
    assert plan["memory"]["total"] == sum(parts.values()) <= plan["memory"]["usable"]
    times = {name: seconds for name, seconds in plan["seconds"].items() if name != "step"}
    assert plan["seconds"]["step"] == pytest.approx(sum(times.values()))
    assert plan["days"] == pytest.approx(1e9 / plan["examples_per_second"] / 86_400)
    assert plan["communication"][0]["network_bytes"] < plan["communication"][0]["bytes"]
    assert (plan["fits"], plan["fits_with"], plan["host_memory"]) == (True, [], None)
    assert plan["gpu"]["sources"]


def test_without_gpus_there_is_no_plan(wukong: Wukong, small: Path) -> None:
    (report,) = wukong("flops", small, "--json").json
    assert "cluster" not in report


def test_one_gpu_sends_nothing(wukong: Wukong, small: Path) -> None:
    shown = wukong("flops", small, "--gpu", "t4").out
    assert "on 1 × T4 16 GB: float32, 4,096 of 4,096 examples each" in shown
    assert "GB sent" not in shown
    assert "fits: " in shown
    assert "assumptions:\n- matrix products run at 60%" in shown


def test_the_table_fits_a_terminal_of_80_columns(
    wukong: Wukong, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    distributed = ("--set", "distributed.dense=fsdp", "--set", "distributed.embeddings=table_wise")
    shown = wukong("flops", small, "--gpu", "h100", "--gpus", 32, *distributed).out
    rows = {line.split("  ")[0].strip(): line for line in shown.splitlines()}
    assert len(rows["dense weights, all-gather again"]) <= 80
    assert "to other servers" in shown
    assert rows["ids"].split()[-1] == "nothing"


def test_what_is_proposed_fits_when_it_is_typed(wukong: Wukong, small: Path) -> None:
    """Tables of 1.6 TB on eight GPUs of 80 GB."""
    command = ("flops", small, "--gpu", "h100", "--embedding-params", "4e11")
    plan = wukong(*command, "--gpus", 8, "--json").json[0]["cluster"]
    assert not plan["fits"]
    assert plan["fits_with"]
    shown = wukong(*command, "--gpus", 8).out
    for remedy in plan["fits_with"]:
        other = wukong(*command, "--gpus", 8, *remedy["change"].split(), "--json").json[0]["cluster"]
        assert (other["fits"], other["memory"]["total"]) == (True, remedy["total"])
        assert f"fits with `{remedy['change']}`" in shown
    assert plan["host_memory"] > 1e12
    assert "GB of tables per GPU in host memory" in shown


def test_the_biggest_of_the_paper_can_be_planned(wukong: Wukong) -> None:
    """Table 5: 108 GFLOP and tables of 627.65 x 2^30 weights, on the 256 GPUs that section 8 names."""
    tables = 627.65 * 2**30
    command = (
        "flops", "paper/table5/wukong-7", "--gpus", 256, "--gpu", "h100", "--embedding-params", tables,
        "--set", "distributed.dense=fsdp", "--set", "distributed.embeddings=table_wise", "--json",
    )  # fmt: skip
    (report,) = wukong(*command).json
    assert report["params"]["embedding"] == pytest.approx(tables, rel=1e-6)
    plan = report["cluster"]
    assert plan["examples_per_gpu"] == 1024
    # 720 equal tables: 360 of width 160, and four lists of 60 to 100 of width 8, each from the first GPU on.
    rows = tables / (360 * 160 + 360 * 8)
    assert plan["memory"]["tables"] == pytest.approx(4 * rows * (2 * 160 + 4 * 8), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("frappe/wukong", "--gpus", "8"), "`--gpus` needs `--gpu`, one of a100-40", "flops --help"),
        (("frappe/wukong", "--gpus", "0", "--gpu", "h100"), "0 is not in the range", "flops --help"),
        (("frappe/wukong", "--gpu", "h300"), "'h300' is not one of", "flops --help"),
        (("criteo/wukong", "--gpu", "h100"), "does not tell how large its tables are", "--embedding-params"),
        (("frappe/wukong", "--embedding-params", "-1"), "is not a positive number", ""),
        (
            (
                "paper/table2/criteo-tb/dlrm", "--gpu", "h100", "--gpus", "3",
                "--set", "distributed.embeddings=column_wise",
            ),
            "rows of a multiple of 12 columns", "table_wise",
        ),
        (
            ("frappe/wukong", "--solve", "gflop=1", "--gpu", "h100"),
            "`--solve` cannot be used with `--gpu`", "leave one out",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_said(
    wukong: Wukong, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    refused = wukong("flops", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert hint in refused.err


def test_a_scaled_dataset_is_counted_without_gpus_too(wukong: Wukong) -> None:
    (report,) = wukong("flops", "criteo/wukong", "--embedding-params", "1e10", "--json").json
    assert report["params"]["embedding"] == pytest.approx(1e10, rel=1e-5)
