"""Exported programs reproduce the scores of `evaluate`, with only the files in their folder."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Wukong

# Runs without wukongctl: the folder must suffice.
SCORE = """
import json, sys, numpy, torch
sys.modules["wukongctl"] = None
import warnings; warnings.simplefilter("ignore")
folder, split, out = sys.argv[1:]
import pyarrow.parquet as pq
signature = json.load(open(f"{folder}/signature.json"))
table = pq.read_table(split)
ids = numpy.stack([table[name].to_numpy() for name in signature["inputs"]["ids"]], 1)
dense = numpy.zeros((len(ids), 0), numpy.float32)
program = torch.export.load(f"{folder}/model.pt2").module()
logit, prediction = program(torch.from_numpy(ids), torch.from_numpy(dense))
json.dump(logit.tolist(), open(out, "w"))
"""


def test_exported_model_scores_without_wukongctl(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    found = wukong("export", run, "--json").json
    assert found["largest_difference"]["model.pt2"] <= 1e-6
    assert found["checked_rows"] == 200
    folder = tmp_path / found["path"]
    assert {"model.pt2", "signature.json", "vocab/c0.parquet"} <= set(found["files"])
    signature = json.loads((folder / "signature.json").read_text())
    manifest = json.loads((tmp_path / "data/tiny/manifest.json").read_text())
    assert signature["select"] == (manifest["raw"] or {}).get("select", manifest["recipe"].get("rows"))
    split = next((tmp_path / "data/tiny/test").glob("*.parquet"))
    subprocess.run(
        [sys.executable, "-c", SCORE, str(folder), str(split), "scores.json"], cwd=tmp_path, check=True
    )
    assert wukong("evaluate", run, "--predictions", "p.parquet").code == 0
    expected = pq.read_table("p.parquet")["logit"].to_pylist()
    assert json.loads((tmp_path / "scores.json").read_text()) == pytest.approx(expected, abs=1e-5)


def test_force_replaces_exports_only(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    assert wukong("export", run, "--out", "mine").code == 0
    assert "--force" in wukong("export", run, "--out", "mine").err
    assert wukong("export", run, "--out", "mine", "--force").code == 0
    refused = wukong("export", run, "--out", "data", "--force")
    assert refused.code == 2
    assert "is not an export" in refused.err
    assert (tmp_path / "data/tiny/manifest.json").is_file()


def test_export_of_a_bfloat16_run_reports_float32(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    found = wukong("export", run, "--out", "mine", "--json").json
    assert (found["precision"], found["trained_in"]) == ("float32", "float32")
    described = json.loads((tmp_path / run / "run.json").read_text())
    described["execution"]["precision"] = "bfloat16"
    (tmp_path / run / "run.json").write_text(json.dumps(described))
    shown = wukong("export", run).out
    assert "exported in float32; the run was trained in bfloat16" in shown


def test_missing_folders_are_usage_errors(wukong: Wukong, tmp_path: Path) -> None:
    for command in (
        ("evaluate", "run", "--predictions", "no/p.parquet"),
        ("export", "run", "--out", "no/mine"),
    ):
        refused = wukong(*command)
        assert refused.code == 2
        assert "there is no folder `no`" in refused.err
        assert command[2] in refused.err
    assert not (tmp_path / "no").exists()


def test_export_with_other_scores_is_not_written(
    wukong: Wukong, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    monkeypatch.setattr("wukongctl.training.export.TOLERANCE", -1.0)
    assert wukong("export", run, "--out", "mine").code == 3
    assert not (tmp_path / "mine").exists()


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="the extra is installed")
def test_onnx_without_the_extra_names_it(wukong: Wukong, recipe: Path) -> None:
    result = wukong("export", "absent", "--onnx")
    assert result.code == 2
    assert "error: `--onnx` needs the extra `onnx`" in result.err
    assert "hint: run `pip install " in result.err


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra `onnx`")
@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_scores(wukong: Wukong, recipe: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    found = wukong("export", run, "--onnx", "--json").json
    assert "model.onnx" in found["files"]
    assert found["largest_difference"]["model.onnx"] <= 1e-4


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra `onnx`")
@pytest.mark.filterwarnings("ignore")
def test_examples_of_the_serving_guide_give_the_same_scores(wukong: Wukong, recipe: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    assert wukong("export", run, "--onnx", "--out", "serving").code == 0
    page = Path(__file__).parents[2] / "docs/guides/serving.md"
    by_onnx, by_torch = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(by_onnx, found)
    scores = found["logit"].tolist()
    exec(by_torch, found)
    assert found["logit"].tolist() == pytest.approx(scores, abs=1e-5)
    assert len(set(scores)) == 2
