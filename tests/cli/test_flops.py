"""`wukongctl flops`: tables, gates, budgets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wukong
from wukongctl.cli.flops import _short
from wukongctl.config import library
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.flops import analyze
from wukongctl.data.schema import Schema
from wukongctl.laws.table import PointTable

KEYS = {
    "recipe", "model", "convention", "gflop_per_example", "forward_gflop_per_example", "macs", "traced_macs",
    "params", "modules", "memory", "look_up_bytes_per_example", "flop_per_byte", "uncounted",
    "elementwise_flop_per_example",
}  # fmt: skip


def test_json_and_its_sums(wukong: Wukong) -> None:
    (report,) = wukong("flops", "quickstart/wukong-4", "--examples", "1e9", "--json").json
    assert set(report) == KEYS | {"examples", "pf_days"}
    assert report["gflop_per_example"] == pytest.approx(3 * report["forward_gflop_per_example"])
    assert report["pf_days"] == pytest.approx(report["gflop_per_example"] * 1e18 / 8.64e19)
    for key, total in (("macs", report["macs"]), ("params", sum(report["params"].values()))):
        assert sum(module[key] for module in report["modules"]) == total
    assert report["memory"]["weights"] == 4 * sum(report["params"].values())
    saved = sum(module["activation_bytes_per_example"] for module in report["modules"])
    assert saved == report["memory"]["activations"]


def test_the_table_fits_a_terminal_of_80_columns(wukong: Wukong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = wukong("flops", "paper/table5/wukong-3", "--by-module", "--examples", "1e9").out
    tables = [line for line in shown.splitlines() if not set(";:") & set(line)]
    assert max(len(line) for line in tables) <= 80
    (row,) = [line.split() for line in tables if "layers.0.residual" in line]
    assert row[2:] == ["4.1M", "8.19M", "24.6M", "1.2%", "25.6k", "0", "–"]
    (summary, published) = [line.split() for line in tables if line.startswith(" paper/table5/wukong-3")]
    assert summary[1:] == ["2,079.71", "323.3M", "unknown", "unknown", "0.02407"]
    assert published[1:] == ["2.08", "2.12", "-1.9%", "323.3M", "322M", "+0.4%"]
    assert "element-wise operations per example" in shown


def test_a_wide_table_has_every_digit(wukong: Wukong) -> None:
    assert "346,617,856" in wukong("flops", "paper/table5/wukong-3").out


@pytest.mark.parametrize(
    ("number", "text"), [(999, "999"), (999_499, "999k"), (999_960, "1M"), (1_000, "1k")]
)
def test_short_numbers_round_up_to_the_next_unit(number: int, text: str) -> None:
    assert _short(number) == text


def test_every_row_of_table_5_has_its_recipe_and_its_published_numbers(wukong: Wukong) -> None:
    names = [name for name in library.names() if name.startswith("paper/table5/")]
    rows = PointTable.read(library.find_points("paper/table5")).rows
    assert sorted(f"paper/table5/{row.cells['recipe']}" for row in rows) == names
    (report,) = wukong("flops", "paper/table5/dlrm-7", "--json").json
    assert report["published"] == {
        "source": "paper/table5", "gflop_per_example": 71.23, "dense_params": 11_779_000_000,
    }  # fmt: skip
    (changed,) = wukong("flops", "paper/table5/dlrm-7", "--json", "--set", "batch_size=1").json
    assert "published" not in changed


@pytest.mark.slow
def test_the_same_bytes_from_every_process() -> None:
    command = [sys.executable, "-m", "wukongctl", "flops", "quickstart/wukong-3", "--by-module", "--json"]
    first, second = (
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    )
    assert first.stdout == second.stdout


def test_max_gflop_compares_the_selected_mode(wukong: Wukong) -> None:
    gflop = wukong("flops", "quickstart/dlrm-1", "--json").json[0]["gflop_per_example"]
    assert wukong("flops", "quickstart/dlrm-1", "--max-gflop", gflop).code == 0
    assert wukong("flops", "quickstart/dlrm-1", "--max-gflop", gflop * 0.99).code == 3
    assert wukong("flops", "quickstart/dlrm-1", "--max-gflop", gflop * 0.34, "--mode", "forward").code == 0


@pytest.mark.parametrize("option", ["--examples", "--max-gflop"])
@pytest.mark.parametrize("value", ["-5", "0", "nan", "inf"])
def test_numbers_that_are_not_positive_are_usage_errors(wukong: Wukong, option: str, value: str) -> None:
    refused = wukong("flops", "quickstart/dlrm-1", option, value)
    assert (refused.code, refused.out) == (2, "")
    assert f"`{option} {value}` is not a positive number" in refused.err


def test_matrix_too_large_to_count_is_an_error(wukong: Wukong, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    sizes = ", ".join(f"{key}: {1 << 20}" for key in ("width", "n_F", "n_L", "k"))
    path.write_text(
        f"data: synthetic\nmodel: {{name: wukong, layers: 2, {sizes}, hidden: [{1 << 20}]}}\n"
        "optimizer: {dense: {lr: 1e-3}}\n"
    )
    result = wukong("flops", path)
    assert (result.code, "a matrix of this model has more than 2^63 bytes" in result.err) == (2, True)


@pytest.mark.parametrize("budget", ["gflop=0", "gflop=much", "flop=2"])
def test_solve_rejects_invalid_budgets(wukong: Wukong, budget: str) -> None:
    result = wukong("flops", "frappe/wukong", "--solve", budget)
    assert (result.code, f"`--solve {budget}` is not a positive budget" in result.err) == (2, True)


def test_solve_prints_a_recipe_that_runs(wukong: Wukong, tmp_path: Path) -> None:
    solved = wukong("flops", "quickstart/wukong-4", "--solve", "gflop=0.002")
    assert solved.code == 0
    (tmp_path / "solved.yaml").write_text(solved.out)
    assert wukong("recipes", "check", "solved.yaml").code == 0
    (report,) = wukong("flops", "solved.yaml", "--json").json
    assert 0.0019 < report["gflop_per_example"] <= 0.002
    for wrong in ("gflop", "gflop=0", "gflop=nan", "tflop=2"):
        assert wukong("flops", "quickstart/wukong-4", "--solve", wrong).code == 2


BIG = """\
data: synthetic
model: {name: wukong, width: 160, layers: 8, n_F: 192, n_L: 192, k: 192, hidden: [16384, 16384, 16384],
        head: [2048]}
"""
MEASURE = """\
import json, pathlib, re, sys, time
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.cost.flops import analyze
import torch._dynamo  # as the first operator on the meta device does
spec = validate(parse(sys.argv[1], "big.yaml"), TrainingSpec)
started = time.process_time()
report = analyze("big", spec, Schema(tuple(f"f{i}" for i in range(720)), (), (), (5_200_000,) * 720),
                 embedding_rows_known=True)
seconds = time.process_time() - started
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
print(json.dumps([report.to_dict(), seconds, int(peak[1]) / 2**20]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_a_hundred_gflop_wukong_counts_in_two_seconds_and_one_gib() -> None:
    """The same in every process, whatever the order of its sets."""
    # Not `ru_maxrss`: a child process inherits it from its parent, here the test session.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, BIG],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found, seconds, gib = json.loads(done.stdout)
    assert found["gflop_per_example"] > 108
    assert found["params"]["embedding"] > 590e9
    assert seconds < 2
    assert gib < 1
    spec = validate(parse(BIG, "big.yaml"), TrainingSpec)
    schema = Schema(tuple(f"f{i}" for i in range(720)), (), (), (5_200_000,) * 720)
    here = analyze("big", spec, schema, embedding_rows_known=True).to_dict()
    assert json.dumps(here) == json.dumps(found)


@pytest.mark.parametrize("command", [["flops"], ["train", "--dry-run"], ["train"]])
@pytest.mark.parametrize(
    ("model", "override", "places"),
    [
        (
            "name: wukong\n  embeddings_per_feature: {usr: 2}\n  groups: [{features: [itm, z*]}]\n",
            None,
            ["own.yaml:4:28: the model names `usr`", "own.yaml:5:24: ", "own.yaml:5:29: "],
        ),
        ("name: finalmlp\n  selection:\n    context2: [usr]\n", None, ["own.yaml:5:16: "]),
        (
            "name: wukong\n",
            "model.embeddings_per_feature.usr=2",
            ["--set model.embeddings_per_feature.usr=2: "],
        ),
    ],
)
def test_unknown_feature_has_a_position(
    wukong: Wukong, tmp_path: Path, command: list[str], model: str, override: str | None, places: list[str]
) -> None:
    (tmp_path / "data.yaml").write_text(
        "name: mine\ndescription: clicks\nfiles: {clicks.csv: {}}\nrows: FROM read_csv('{clicks.csv}')\n"
        "split: {by: order, ratio: {train: 8, valid: 1, test: 1}}\nlabel: clicked\n"
        "features: [{type: categorical, columns: [user, item]}]\n"
    )
    rows = "".join(f"{row % 2},u{row % 3},i{row % 5}\n" for row in range(100))
    (tmp_path / "clicks.csv").write_text(f"clicked,user,item\n{rows}")
    assert wukong("prepare", "./data.yaml").code == 0
    (tmp_path / "own.yaml").write_text(f"data: mine\nmodel:\n  {model}")
    result = wukong(*command, "./own.yaml", *(["--set", override] if override else []))
    assert result.code == 2
    for place in places:
        assert place in result.err
    assert "did you mean `user`?" in result.err
