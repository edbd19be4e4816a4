"""What a package index shows: README.md, whose relative links it cannot follow."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RELATIVE = re.compile(r"\]\((?!https?:|#)")


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | None], str]:
    """The function of the build hook, without hatchling, which only a build installs."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.described


def test_the_description_has_no_link_that_leads_nowhere(described: Callable[[str, str | None], str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert RELATIVE.search(readme)
    plain = described(readme, None)
    assert not RELATIVE.search(plain)
    assert "![" not in plain
    assert "[Wukong](https://arxiv.org" in plain
    linked = described(readme, "https://example.org/a/b/")
    assert not RELATIVE.search(linked)
    assert "](https://example.org/a/b/raw/main/docs/quickstart.png)" in linked
    assert "](https://example.org/a/b/blob/main/docs/guides/own-data.md)" in linked
    assert linked.count("](") == readme.count("](")


def test_links_keep_their_anchors(described: Callable[[str, str | None], str]) -> None:
    text = "[a](docs/a.md#b) [c](#d) [e](https://f)"
    assert described(text, None) == "a [c](#d) [e](https://f)"
    assert "(https://s/blob/main/docs/a.md#b) [c](#d) [e](https://f)" in described(text, "https://s")


def test_the_build_uses_the_hook() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["readme"]
    assert "custom" in project["tool"]["hatch"]["metadata"]["hooks"]
    assert "/hatch_build.py" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
