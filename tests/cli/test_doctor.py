"""`doctor` tells what an issue needs."""

import importlib.metadata
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Wukong
from tests.plugins.installed import install, install_fwfm
from wukongctl import extras
from wukongctl.machine import cores
from wukongctl.training import diagnosis

KEYS = {
    "versions", "platform", "torch", "cores", "memory", "disk", "cache", "gpus", "precisions", "speed",
    "extras", "models",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "COPIED_BYTES", 1 << 20)


def test_json_is_of_this_machine(wukong: Wukong) -> None:
    found = wukong("doctor", "--json").json
    assert set(found) == KEYS
    assert found["versions"]["torch"] == importlib.metadata.version("torch") == torch.__version__
    assert found["cores"]["usable"] == cores()
    assert found["memory"]["total"] > 1 << 28
    assert found["disk"]["free"] > 0
    assert found["speed"]["matmul_gflops_per_second"] > 0.1
    assert found["gpus"] == []
    assert found["precisions"][0] == "float32"


def test_missing_extras_come_with_the_line_that_installs_them(
    wukong: Wukong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module == "optuna")
    shown = wukong("doctor").out
    assert "extras      tune\n" in shown
    assert f"onnx is missing: {extras.install('onnx')}" in shown
    assert "GPU         none that torch finds" in shown


def test_the_cache_and_a_missing_package_are_told(
    wukong: Wukong, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    (cache / "downloads").mkdir()
    (cache / "downloads" / "file").write_bytes(bytes(1234))
    monkeypatch.setenv("WUKONGCTL_CACHE", str(cache))
    monkeypatch.setattr(diagnosis, "PACKAGES", ("absent-package",))
    found = wukong("doctor", "--json").json
    assert found["cache"] == {"folder": str(cache), "bytes": 1234}
    assert found["versions"]["absent-package"] is None


def test_models_of_other_packages_are_listed_with_what_is_wrong(
    wukong: Wukong, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_fwfm(tmp_path / "site", monkeypatch)
    install(tmp_path / "more", monkeypatch, "broken-models", {"bad": "nowhere:Spec"})
    shown = wukong("doctor").out
    assert "model       fwfm: wukongctl-fwfm 1.0\n" in shown
    assert "model       bad: model `bad` of the package `broken-models` 1.0 does not work: Modu" in shown
