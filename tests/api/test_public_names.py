"""The public names: lazily imported, typed, documented, and imported by nothing heavy."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import wukongctl as wk
from tests.api.reference import page

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "numpy",
    "pyarrow",
    "duckdb",
    "scipy",
    "matplotlib",
    "pydantic",
    "click",
    "pandas",
    "polars",
}
IMPORTED = f"""
import json, sys
import wukongctl as wk
bare = [name for name in sys.modules if name.partition('.')[0] in {HEAVY!r} or name.startswith('wukongctl.')]
dir(wk)
wk.__version__
listed = [name for name in sys.modules if name.startswith('wukongctl.')]
wk.fit_law
law = sorted({{name.partition('.')[0] for name in sys.modules}} & {HEAVY!r})
print(json.dumps([bare, listed, law]))
"""


def test_importing_the_package_imports_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    bare, listed, law = json.loads(done.stdout)
    assert bare == listed == []
    assert "scipy" in law, "nothing would be found"
    assert not {"torch", "duckdb", "matplotlib", "pandas", "polars"} & set(law)


def test_every_name_exists_and_type_checkers_see_the_same() -> None:
    assert sorted(wk.__all__) == wk.__all__ == sorted(wk._MODULES)
    assert {*wk.__all__, "__version__"} <= set(dir(wk))
    stub = ast.parse((ROOT / "wukongctl" / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == {name: f"wukongctl.api.{module}" for name, module in wk._MODULES.items()}
    listed = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert [ast.literal_eval(value) for value in listed] == [wk.__all__]
    for name in wk.__all__:
        assert getattr(wk, name).__name__ == name


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="module 'wukongctl' has no attribute 'lode'"):
        wk.lode  # noqa: B018


def test_the_reference_is_current() -> None:
    """Regenerate with `python -m tests.api.reference > docs/reference/python.md`."""
    assert (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8") == page()
