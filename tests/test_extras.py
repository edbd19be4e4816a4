"""A missing extra is one error, whose hint installs what this package asks for."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

from wukongctl import extras
from wukongctl.errors import UsageError

ROOT = Path(__file__).parents[1]
METADATA = [
    "click<9,>=8.2",
    "onnxscript<0.8,>=0.5; extra == 'onnx'",
    'onnxruntime<2,>=1.20; extra == "onnx"',
    "fbgemm-gpu-cpu==1.8.0; sys_platform == 'linux' and extra == 'distributed'",
    "fbgemm-gpu==1.8.0; extra == 'distributed-gpu'",
]


def test_the_hint_installs_the_requirements_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "requires", lambda _: METADATA)
    assert extras.install("onnx") == "run `pip install 'onnxscript<0.8,>=0.5' 'onnxruntime<2,>=1.20'`"
    then = "pip install --no-deps torchrec==1.8.0"
    assert extras.install("distributed") == f"run `pip install 'fbgemm-gpu-cpu==1.8.0' && {then}`"
    assert extras.install("distributed-gpu") == "run `pip install 'fbgemm-gpu==1.8.0'`"


def test_without_metadata_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", absent)
    assert extras.install("ray") == "run `pip install 'wukongctl[ray]'`"


def test_modules_are_found_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    extras.require("`--zen`", "zen", "json", "this")
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.module", "hidden"])
def test_the_missing_module_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "hidden", None)
    with pytest.raises(UsageError, match=f"^`--zen` needs the extra `zen`: `{name}` is not installed$"):
        extras.require("`--zen`", "zen", "json", name)


def test_one_build_of_fbgemm_per_extra() -> None:
    """Both unpack into one folder; TorchRec itself requires the build for CUDA."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {name: {re.split(r"[<>=;\[ ]", one)[0] for one in extra[name]} for name in extra}
    assert {"fbgemm-gpu", "torchrec"} <= names["distributed-gpu"]
    assert "fbgemm-gpu-cpu" in names["distributed"]
    assert not {"fbgemm-gpu", "torchrec"} & names["distributed"]
    assert not {"fbgemm-gpu-cpu"} & names["distributed-gpu"]
    completed = extras.COMPLETED_BY["distributed"].rpartition(" ")[2]
    assert completed in extra["distributed-gpu"]
