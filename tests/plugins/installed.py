"""Packages that are installed for one test: what pip writes beside their code, on `sys.path`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

FWFM = Path(__file__).parent / "fwfm"


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    models: Mapping[str, str],
    code: Path | None = None,
) -> None:
    """Install `package` 1.0 with entry points for models; its code is in `code`, else in `folder`."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in models.items()]
    (info / "entry_points.txt").write_text("\n".join(["[wukongctl.models]", *lines, ""]))
    for path in (folder, code or folder):
        monkeypatch.syspath_prepend(path)


def install_fwfm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package of the guide, as its pyproject.toml says."""
    project = tomllib.loads((FWFM / "pyproject.toml").read_text())["project"]
    install(folder, monkeypatch, project["name"], project["entry-points"]["wukongctl.models"], FWFM)
