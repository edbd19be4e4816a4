"""The code digest of a run: the modules its numbers depend on, and that it detects every edit of them."""

import shutil
from pathlib import Path

import grimp
import pytest

from tests.plugins.installed import install
from wukongctl.config.training import TrainingSpec
from wukongctl.training import provenance
from wukongctl.training.provenance import PACKAGE, STEPS, code_digest, imported_files


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_code_digest_covers_exactly_what_the_steps_import() -> None:
    """By the graph that import-linter checks, plus the packages around each module."""
    graph = grimp.build_graph("wukongctl", exclude_type_checking_imports=True, cache_dir=None)
    wanted = set(STEPS).union(*(graph.find_upstream_modules(step) for step in STEPS))
    while parents := {name.rpartition(".")[0] for name in wanted} - wanted - {""}:
        for parent in parents:
            wanted |= {parent, *graph.find_upstream_modules(parent)}
    assert {dotted(path) for path in imported_files(PACKAGE, *STEPS)} == wanted
    for package in ("config", "data.pipeline", "data.query", "models", "training"):
        assert any(name.startswith(f"wukongctl.{package}.") for name in wanted)
    assert not any(
        name.startswith(("wukongctl.cli", "wukongctl.report", "wukongctl.data.drafting")) for name in wanted
    )


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("config/defaults.py", True),
        ("data/pipeline/encode.py", True),
        ("models/wukong.py", True),
        ("training/export.py", False),
        ("data/drafting/guess.py", False),
    ],
)
def test_edits_that_can_change_numbers_change_the_digest(tmp_path: Path, name: str, counts: bool) -> None:
    package = tmp_path / "wukongctl"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / name).open("a") as file:
        file.write("# edited\n")
    assert (code_digest(package) != code_digest()) == counts


SOLO = """
from typing import Literal
from wukongctl.config.model_section import ModelSpec
class SoloSpec(ModelSpec):
    name: Literal["solo"]
"""


def test_the_code_of_a_plugin_in_one_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "solo_model.py").write_text(SOLO)
    install(tmp_path, monkeypatch, "solo-models", {"solo": "solo_model:SoloSpec"})
    recipe = TrainingSpec.from_dict({"data": "d", "model": {"name": "solo"}})
    first = provenance.whole_digest("digest", recipe)
    assert provenance.packages(recipe)[-1] == "solo-models"
    (tmp_path / "solo_model.py").write_text(SOLO + "# changed")
    assert provenance.whole_digest("digest", recipe) != first
    own = TrainingSpec.from_dict({"data": "d", "model": {"name": "fm"}})
    assert provenance.whole_digest("digest", own) == "digest"
    assert provenance.packages(own) == provenance.PACKAGES
