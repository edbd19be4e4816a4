"""Output paths: what a command made itself is replaced, what it did not make only with `--force`."""

import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Wukong
from tests.cli.test_scale_report import write
from tests.laws.ladders import ladder
from wukongctl.cli import targets
from wukongctl.errors import UsageError
from wukongctl.report.coordinate_plot import draw
from wukongctl.training.coordinates import LayerScales

pytestmark = pytest.mark.usefixtures("no_plots")
MINE = "a file that took a week\n"


@pytest.fixture
def points(tmp_path: Path) -> str:
    write(tmp_path / "points.csv", ladder(np.random.default_rng(1)))
    write(tmp_path / "again.csv", ladder(np.random.default_rng(2)))
    return "points.csv"


REPORT = ("scale-report", "--points", "points.csv")
CALIBRATION = ("scale-report", "--calibrate", "points.csv", "again.csv")


@pytest.mark.parametrize(
    ("command", "made"),
    [(REPORT, "report.html"), (CALIBRATION, "check.yaml")],
)
def test_a_report_replaces_only_a_report(
    command: Sequence[str], made: str, points: str, wukong: Wukong, tmp_path: Path
) -> None:
    assert points
    target = tmp_path / "out" / made
    target.parent.mkdir()
    target.write_text(MINE)
    refused = wukong(*command, "--out", "out")
    assert refused.code == 2
    assert f"`out/{made}` exists and is not" in refused.err
    assert "add `--force`" in refused.err
    assert [path.name for path in target.parent.iterdir()] == [made]
    assert target.read_text() == MINE
    assert wukong(*command, "--out", "out", "--force").code == 0
    assert target.read_text() != MINE
    assert wukong(*command, "--out", "out").code == 0


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"curves": []}', '{"format_version": 1, "curves": 1}', "\xff"]
)
def test_another_json_is_no_report(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="not from an earlier report"):
        targets.require_report_folder(tmp_path, ["report.html", "report.json"], force=False)
    targets.require_report_folder(tmp_path, ["report.html"], force=False)


def test_a_folder_with_other_files_takes_a_report(points: str, wukong: Wukong, tmp_path: Path) -> None:
    assert points
    (tmp_path / "notes.txt").write_text(MINE)
    shutil.copy(tmp_path / "points.csv", tmp_path / "mine.csv")
    (tmp_path / "points.csv").unlink()
    assert wukong("scale-report", "--points", "mine.csv", "--out", ".").code == 0
    assert (tmp_path / "notes.txt").read_text() == MINE


def test_quickstart_refuses_before_it_prepares(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "quickstart/report").mkdir(parents=True)
    (tmp_path / "quickstart/report/report.md").write_text(MINE)
    refused = wukong("quickstart")
    assert (refused.code, "not from an earlier report" in refused.err) == (2, True)
    assert [path.name for path in (tmp_path / "quickstart").iterdir()] == ["report"]


@pytest.mark.parametrize("command", [("coord-check", "--plot", "c.png"), ("bench", "--trace", "t.json")])
def test_a_picture_or_trace_replaces_only_its_like(
    command: tuple[str, str, str], wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    name, option, made = command
    (tmp_path / made).write_text(json.dumps({"schema": MINE}))
    refused = wukong(name, recipe, option, made)
    assert (refused.code, f"`{made}` exists and is not a" in refused.err) == (2, True)
    assert MINE.strip() in (tmp_path / made).read_text()
    for force in (True, False):
        with pytest.raises(UsageError) if not force else nullcontext():
            targets.require_own(tmp_path / made, option, "a thing", targets.PLOT, force=force)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots_are_marked(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"c.{suffix}"
    draw(path, "a run", (4, 8), [LayerScales("head", (1.0, 1.0), (0.1, 0.1), 0.0, 0.0)])
    targets.require_own(path, "--plot", "a plot", targets.PLOT, force=False)


def test_predictions_of_evaluate_belong_to_a_run(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    """As those of `predict`."""
    run = wukong("train", recipe, "--json").json["run"]
    other = shutil.copytree(run, "runs/other")
    (tmp_path / "p.parquet").write_text(MINE)
    refused = wukong("evaluate", run, "--predictions", "p.parquet")
    assert (refused.code, "is not a file of predictions" in refused.err) == (2, True)
    assert (tmp_path / "p.parquet").read_text() == MINE
    assert wukong("evaluate", run, "--predictions", "p.parquet", "--force").code == 0
    assert wukong("evaluate", run, "--predictions", "p.parquet").code == 0
    recipe_file = tmp_path / run / "recipe.yaml"
    recipe_file.write_text(recipe_file.read_text().replace("epochs: ", "epochs: 1"))
    edited = wukong("evaluate", run)  # the weights are still those of before
    assert (edited.code, "was edited after training (`epochs`)" in edited.err) == (0, True)
    refused = wukong("evaluate", other, "--predictions", "p.parquet")
    assert (refused.code, "predictions of another run" in refused.err) == (2, True)
    assert "name another file with `--predictions`" in refused.err


def test_a_copied_recipe_replaces_a_file_only_if_told(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    refused = wukong("recipes", "cp", "quickstart/wukong-1", "mine.yaml")
    assert (refused.code, "add `--force`" in refused.err) == (2, True)
    assert (tmp_path / "mine.yaml").read_text() == MINE
    assert wukong("recipes", "cp", "quickstart/wukong-1", "mine.yaml", "--force").code == 0
    assert wukong("recipes", "check", "mine.yaml").code == 0
