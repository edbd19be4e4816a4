"""Gates, calibration and settings of `scale-report`, from the command line."""

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qsl

import click
import numpy as np
import pytest

from tests.cli.conftest import Wukong
from tests.laws.ladders import ladder
from tests.laws.test_run_points import run_folder
from wukongctl.cli.scale_report import scale_report
from wukongctl.config.report import FormName
from wukongctl.laws.points import Point
from wukongctl.report.index import TITLE

pytestmark = pytest.mark.usefixtures("no_plots")


def write(path: Path, points: Sequence[Point]) -> Path:
    rows = [f"{p.curve},{p.x},{p.loss},{p.seed},{p.examples}" for p in points]
    path.write_text("\n".join(["model,gflop_per_example,logloss,seed,examples", *rows]) + "\n")
    return path


@pytest.fixture
def base(wukong: Wukong, tmp_path: Path) -> Path:
    assert wukong("scale-report", "--points", write(tmp_path / "b.csv", ladder(np.random.default_rng(1))),
                  "--out", "base").code == 0  # fmt: skip
    return tmp_path / "base" / "report.json"


def test_unchanged_runs_pass_and_a_regression_exits_with_3(
    wukong: Wukong, tmp_path: Path, base: Path
) -> None:
    same = write(tmp_path / "same.csv", ladder(np.random.default_rng(2)))
    result = wukong("scale-report", "--points", same, "--baseline", base, "--json")
    assert result.code == 0
    assert result.json["verdict"] == "pass"
    assert {gate["gate"] for gate in result.json["gates"]} == {"G0 validity", "G1 cost", "G2 quality"}
    worse = write(tmp_path / "worse.csv", ladder(np.random.default_rng(2), worse={1: 0.004}))
    result = wukong("scale-report", "--points", worse, "--baseline", base, "--json")
    assert (result.code, result.json["verdict"]) == (3, "fail")
    assert result.error["exit_code"] == 3
    (problem,) = result.error["problems"]
    assert problem["message"].startswith("G2 quality, wukong at 2.512 GFLOP: mean difference +0.00")
    human = wukong("scale-report", "--points", worse, "--baseline", base)
    assert human.code == 3
    assert "error: 1 gate item failed" in human.err
    assert "gates: fail" in human.out


def test_check_takes_a_baseline(wukong: Wukong, tmp_path: Path, base: Path) -> None:
    same = write(tmp_path / "same.csv", ladder(np.random.default_rng(2)))
    worse = write(tmp_path / "worse.csv", ladder(np.random.default_rng(2), worse={1: 0.004}))
    for given in (base, base.parent):
        assert wukong("scale-report", "--points", same, "--check", given).code == 0
        assert wukong("scale-report", "--points", worse, "--check", given).code == 3
    both = wukong("scale-report", "--points", same, "--check", base, "--baseline", base)
    assert both.code == 2
    assert "is a baseline, and `--baseline" in both.err


def test_annotations_under_github_actions(
    wukong: Wukong, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    worse = write(tmp_path / "worse.csv", ladder(np.random.default_rng(2), worse={1: 0.004}))
    result = wukong("scale-report", "--points", worse, "--baseline", base)
    (line,) = [line for line in result.err.splitlines() if line.startswith("::")]
    assert line.startswith("::error::G2 quality, wukong at 2.512 GFLOP")
    open_one = wukong(
        "scale-report", "--points", worse, "--set", "gates={prediction: true}", "--baseline", base
    )
    assert open_one.code == 0
    (line,) = [line for line in open_one.err.splitlines() if line.startswith("::")]
    assert line.startswith("::warning::G5 prediction, wukong: no size beyond")


def test_inconclusive_is_4_only_when_strict(wukong: Wukong, tmp_path: Path, base: Path) -> None:
    one = write(tmp_path / "one.csv", ladder(np.random.default_rng(2), seeds=(7,)))
    arguments = ("scale-report", "--points", one, "--baseline", base, "--set", "gates={prediction: true}")
    assert wukong(*arguments).code == 0
    assert wukong(*arguments, "--strict").code == 4
    two = tmp_path / "two.csv"
    two.write_text("model,gflop_per_example,logloss\na,1,.5\na,2,.4\n")
    assert wukong("scale-report", "--points", two).code == 0
    assert wukong("scale-report", "--points", two, "--strict").code == 4


def test_calibration_writes_a_check_file(wukong: Wukong, tmp_path: Path, base: Path) -> None:
    a = write(tmp_path / "a.csv", ladder(np.random.default_rng(3)))
    b = write(tmp_path / "b2.csv", ladder(np.random.default_rng(4), seeds=(3, 4, 5)))
    result = wukong("scale-report", "--calibrate", a, b, "--out", "aa", "--json")
    assert result.code == 0
    assert result.json["file"] == "aa/check.yaml"
    human = wukong("scale-report", "--calibrate", a, b, "--out", "aa")
    assert (human.code, "warning: the two sets have different seeds" in human.err) == (0, True)
    same = write(tmp_path / "b3.csv", ladder(np.random.default_rng(4)))
    assert "warning" not in wukong("scale-report", "--calibrate", a, same, "--out", "aa").err
    assert "in pairs of the same seed" in (tmp_path / "aa/check.yaml").read_text()
    new = write(tmp_path / "new.csv", ladder(np.random.default_rng(5)))
    gated = wukong("scale-report", "--points", new, "--baseline", base, "--check", "aa/check.yaml", "--json")
    assert (gated.code, gated.json["verdict"]) == (0, "pass")
    assert wukong("scale-report", "--calibrate", a).code == 2


def test_problems_in_a_check_file_have_positions(wukong: Wukong, tmp_path: Path) -> None:
    page = tmp_path / "check.yaml"
    page.write_text("gates:\n  qualty: {}\n  curve: {margin: 0.1}\nlevel: 2\n")
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    result = wukong("scale-report", "--points", points, "--check", page)
    assert result.code == 2
    assert f"{page}:2:3: unknown key `qualty` (did you mean `quality`?)" in result.err
    assert f"{page}:3:10: missing key `at`" in result.err
    assert f"{page}:4:8: " in result.err
    result = wukong("scale-report", "--points", points, "--set", "gates={cost: true}")
    assert result.code == 2
    assert "hint: add `--baseline`" in result.err


def test_the_step_summary_is_appended(
    wukong: Wukong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    assert wukong("scale-report", "--points", points).code == 0
    text = summary.read_text()
    assert text.startswith("before\n# Scaling report")
    assert "```mermaid" in text
    assert "](scaling.svg)" not in text


def test_the_paper_is_redrawn_by_one_command(wukong: Wukong) -> None:
    report = wukong("scale-report", "--points", "paper/table5", "--json").json
    wukongs = next(curve for curve in report["curves"] if curve["model"] == "Wukong")
    pure = next(law for law in wukongs["alternatives"] if law["form"] == "power0")["parameters"]
    assert pure["A"] == pytest.approx(99.560, abs=5e-4)
    assert pure["c"] == pytest.approx(0.000707, abs=5e-7)
    (stated,) = report["stated"]
    assert (stated["rmse"], stated["fitted_rmse"]) == pytest.approx((0.0294, 0.0134), abs=5e-5)
    matches = {(m["reference"], m["model"]): m["ratio"] for m in report["comparisons"]["compute_to_match"]}
    assert matches["Wukong", "DCNv2"] == pytest.approx(41.7, abs=0.05)
    reasons = sorted(run["reason"] for run in report["excluded"])
    assert reasons == ["diverged", "loss exploded", "the baseline itself"]
    assert {"svg", "parameters_svg"} <= set(report["files"])
    unknown = wukong("scale-report", "--points", "paper/table6")
    assert unknown.code == 2
    assert "did you mean `paper/table5`?" in unknown.err


def test_robust_fits_and_settings_files(wukong: Wukong, tmp_path: Path) -> None:
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    robust = wukong("scale-report", "--points", points, "--set", "loss=huber-log", "--json").json
    (curve,) = robust["curves"]
    assert (robust["loss"], robust["interval_method"]) == (
        "huber-log",
        "pairs bootstrap over runs, percentiles",
    )
    low, high = curve["intervals"]["c"]
    assert low < curve["parameters"]["c"] < high
    assert curve["extrapolation"][0]["sizes"][0]["interval"]
    assert wukong("scale-report", "--points", points, "--set", "metric=logloss").code == 2


def test_terminal_counts_excluded_runs(wukong: Wukong, tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    path.write_text(path.read_text() + "wukong,50,nan,9,1000\nwukong,60,diverged,9,1000\n")
    shown = wukong("scale-report", "--points", path)
    assert shown.code == 0
    assert "not fitted: 2 diverged" in shown.out


def test_study_of_data_sizes_shows_data_laws(wukong: Wukong, tmp_path: Path) -> None:
    rows = [
        f"{model},0.001,{0.4 + a * examples**-0.3},{seed},{examples}"
        for model, a in (("wukong", 2.0), ("dlrm", 3.0))
        for examples in (1000, 4000, 16000, 64000)
        for seed in range(2)
    ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["model,gflop_per_example,logloss,seed,examples", *rows]) + "\n")
    shown = wukong("scale-report", "--points", path)
    assert "1,000 to 64,000" in shown.out
    assert "0.3 (" in shown.out
    assert "and 64,000 examples." in shown.out
    assert "Both laws predicted the loss at the most data, held out." in shown.out  # four amounts
    markdown = (tmp_path / "scale-report" / "report.md").read_text()
    assert "## More data at a fixed size" in markdown
    assert "| dlrm at 1 MFLOP | 64,000 examples |" in markdown
    assert "Compute to match" not in markdown


def test_confirm_needs_gates_and_comparable_runs(wukong: Wukong, tmp_path: Path, base: Path) -> None:
    worse = write(tmp_path / "worse.csv", ladder(np.random.default_rng(2), worse={1: 0.004}))
    idle = wukong("scale-report", "--points", worse, "--confirm", tmp_path)
    assert (idle.code, "and there are no gates" in idle.err) == (2, True)


def test_check_file_without_gates_warns(wukong: Wukong, tmp_path: Path) -> None:
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(2)))
    (tmp_path / "page.json").write_text("{}")
    shown = wukong("scale-report", "--points", points, "--check", tmp_path / "page.json")
    assert shown.code == 0
    assert "has no gates: nothing was checked" in shown.err


def test_form_option_lists_every_form() -> None:
    (form,) = [param for param in scale_report.params if param.name == "form"]
    assert isinstance(form.type, click.Choice)
    assert sorted(form.type.choices) == sorted(get_args(FormName))


def test_losses_are_predicted_at_any_compute(wukong: Wukong, tmp_path: Path) -> None:
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    asked = ("--predict", "50", "--predict", "1000")
    data = wukong("scale-report", "--points", points, *asked, "--json").json
    near, far = data["curves"][0]["predictions"]
    assert (near["gflop_per_example"], near["distance"]) == (50.0, 0.0)
    for one in (near, far):
        truth = 0.4 + 0.05 * one["gflop_per_example"] ** -0.3
        assert one["interval"][0] < truth < one["interval"][1]
    assert far["interval"][1] - far["interval"][0] > near["interval"][1] - near["interval"][0]
    assert {form["name"] for form in data["curves"][0]["rivals"]["forms"]} >= {"power", "power0", "loglin"}
    shown = wukong("scale-report", "--points", points, *asked).out
    assert "beyond" in shown
    assert "50 %" in shown  # a decade beyond two decades
    assert wukong("scale-report", "--points", points, "--predict", "0").code == 2
    refused = wukong("scale-report", "--points", points, "--predict", "nan")
    assert (refused.code, "finite numbers" in refused.err) == (2, True)


@pytest.mark.usefixtures("no_plots")
def test_a_curve_without_a_prediction_says_so(wukong: Wukong, tmp_path: Path) -> None:
    points = tmp_path / "two.csv"
    points.write_text("model,params,loss\nnew,1e6,.5\nnew,1e7,.4\n")
    said = wukong("scale-report", "--points", points, "--predict", "1e8", "--out", tmp_path / "out").out
    assert "No prediction for `new`: it takes four sizes with losses above zero." in said
    assert "descriptive only: A law worth extrapolating needs at least 5 sizes" in said


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("form", ["power", "loglin"])
def test_losses_of_zero_make_a_report_without_warnings(wukong: Wukong, tmp_path: Path, form: str) -> None:
    points = tmp_path / "zero.csv"
    points.write_text("model,params,loss\n" + "".join(f"m,{10**i},0\n" for i in range(1, 9)))
    arguments = ("scale-report", "--points", points, "--out", tmp_path / "out", "--form", form)
    shown = wukong(*arguments)
    assert (shown.code, "Warning" in shown.err) == (0, False)
    refused = wukong(*arguments, "--set", "loss=huber-log")
    assert (refused.code, "takes logarithms, and the lowest loss is 0" in refused.err) == (2, True)


def test_a_table_wrong_in_every_row_does_not_fill_the_screen(wukong: Wukong, tmp_path: Path) -> None:
    points = tmp_path / "comma.csv"
    points.write_text("model;params;loss\n" + "m;1000;0,5\n" * 50)
    refused = wukong("scale-report", "--points", points, "--out", tmp_path / "out")
    assert len(refused.err.splitlines()) == 23
    assert "and 30 more\nerror: 50 problems" in refused.err


@pytest.fixture
def two_datasets(tmp_path: Path) -> Path:
    """Four sizes on each of two datasets, and one run without FLOPs."""
    for dataset in ("avazu", "cri/teo"):
        data = {"dataset": dataset, "fingerprint": dataset, "bayes_logloss": None}
        for gflop in (0, 1, 2, 4, 8):
            flops = {"convention": "6 x MAC", "gflop_per_example": gflop}
            loss = {"metrics": {"test": {"logloss": 0.5 - 0.01 * gflop}}}
            run_folder(tmp_path / "runs", f"{dataset[:3]}-{gflop}", data=data, flops=flops, result=loss)
    return tmp_path / "runs"


def test_every_dataset_has_a_report_and_an_index_links_them(
    wukong: Wukong, two_datasets: Path, tmp_path: Path
) -> None:
    found = wukong("scale-report", two_datasets, "--json").json
    assert list(found["reports"]) == ["avazu", "cri/teo"]
    assert [len(report["curves"][0]["points"]) for report in found["reports"].values()] == [4, 4]
    page = tmp_path / found["files"]["html"]
    assert TITLE in page.read_text()
    for link in ("avazu/report.html", "cri-teo/report.html"):
        assert f'href="{link}"' in page.read_text()
        assert (tmp_path / "scale-report" / link).is_file()
    shown = wukong("scale-report", two_datasets)
    assert shown.err.count("which has no FLOPs") == 2
    assert (
        shown.out.count("report: scale-report/"),
        "all reports: scale-report/index.html" in shown.out,
    ) == (2, True)
    page.write_text("mine")
    assert wukong("scale-report", two_datasets).code == 2
    one = wukong("scale-report", two_datasets, "--dataset", "cri/teo", "--out", "one", "--json").json
    assert (one["dataset"], (tmp_path / "one" / "report.html").is_file()) == ("cri/teo", True)


def test_runs_link_to_their_dashboard(wukong: Wukong, two_datasets: Path, tmp_path: Path) -> None:
    """Every link of every page names runs that the dashboard beside it has."""
    found = wukong("scale-report", two_datasets, "--json").json
    page = tmp_path / found["files"]["dashboard"]
    content = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text())
    assert content
    known = {run["name"] for run in json.loads(content[1])["runs"]}
    assert len(known) == 10
    for dataset, names in (("avazu", "ava"), ("cri-teo", "cri")):
        report = page.parent / dataset / "report.html"
        links = re.findall(r'href="([^"#]+)#(run=[^"]+)"', report.read_text())
        assert {(report.parent / to).resolve() for to, _ in links} == {page}
        named = [name for _, runs in links for key, name in parse_qsl(html.unescape(runs))]
        assert set(named) <= known
        assert {name for name in named if name.startswith(names)} == set(named)
        assert len(links) == 5  # the curve, and each of its sizes
        assert (
            "[Runs and their learning curves](../dashboard.html)" in (report.parent / "report.md").read_text()
        )
    assert 'href="dashboard.html"' in (page.parent / "index.html").read_text()
    shown = wukong("scale-report", two_datasets, "--dataset", "avazu", "--out", "one")
    assert "runs and learning curves: one/dashboard.html" in shown.out
    assert 'href="dashboard.html#run=ava-1"' in (tmp_path / "one" / "report.html").read_text()


def test_only_a_dashboard_is_replaced(wukong: Wukong, two_datasets: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    mine = tmp_path / "one" / "dashboard.html"
    mine.write_text("mine")
    arguments = ("scale-report", two_datasets, "--dataset", "avazu", "--out", "one")
    refused = wukong(*arguments)
    assert (refused.code, list(mine.parent.iterdir())) == (2, [mine])
    assert "`one/dashboard.html` exists and is not a dashboard" in refused.err
    assert wukong(*arguments, "--force").code == 0
    assert wukong(*arguments).code == 0
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    mine.write_text("mine")
    assert wukong("scale-report", "--points", points, "--out", "one").code == 0
    assert mine.read_text() == "mine"
    assert "dashboard" not in (mine.parent / "report.html").read_text()


def test_gates_and_tables_are_of_one_dataset(wukong: Wukong, two_datasets: Path, tmp_path: Path) -> None:
    gated = wukong("scale-report", two_datasets, "--set", "gates={monotone: true}")
    assert (gated.code, "hint: add `--dataset avazu`" in gated.err) == (2, True)
    assert (
        wukong("scale-report", two_datasets, "--dataset", "avazu", "--set", "gates={monotone: true}").code
        == 0
    )
    points = write(tmp_path / "p.csv", ladder(np.random.default_rng(1)))
    assert wukong("scale-report", "--points", points, "--dataset", "avazu").code == 2
    assert wukong("scale-report", two_datasets, "--x", "params").code == 2


def test_columns_are_named_by_options(wukong: Wukong, tmp_path: Path) -> None:
    path = tmp_path / "widths.jsonl"
    path.write_text(
        "".join(f'{{"width": {w}, "score": {1 - 1 / w}, "who": "a"}}\n' for w in (4, 8, 16, 32, 64))
    )
    options = ("--x", "width", "--y", "score", "--curve", "who", "--larger-is-better")
    shown = wukong("scale-report", "--points", path, *options)
    assert shown.code == 0
    assert "x is `width`" in shown.err
    assert "single_seed: Some values of width have a single seed" in shown.out
    assert "Lowest 1 − score: 0.01562, at 64 width." in shown.out
    unknown = wukong("scale-report", "--points", path, "--y", "score")
    assert (unknown.code, "hint: name it with `--x COLUMN`" in unknown.err) == (2, True)
