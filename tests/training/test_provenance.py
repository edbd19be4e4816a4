"""The code digest of a run: which modules its numbers depend on, and that no edit of them goes unseen."""

import shutil
from pathlib import Path

import pytest

from wukongctl.training.provenance import PACKAGE, TRAINING, code_digest, imported_files


def test_the_digest_covers_what_training_imports_and_nothing_else() -> None:
    files = {path.relative_to(PACKAGE).as_posix() for path in imported_files(PACKAGE, TRAINING)}
    for name in ("loop", "gbdt", "update", "optimizers", "schedules", "metrics", "scoring"):
        assert f"training/{name}.py" in files
    assert files >= {f"models/{path.name}" for path in (PACKAGE / "models").glob("*.py")}
    assert files >= {"config/training.py", "config/wukong.py", "data/batches.py", "data/vectors.py"}
    for name in ("training/export.py", "training/predict.py", "training/evaluate.py", "data/prepare.py"):
        assert (PACKAGE / name).is_file()
        assert name not in files
    assert not any(name.startswith(("cli/", "data/pipeline/", "data/drafting/", "report/")) for name in files)


@pytest.mark.parametrize(("name", "counts"), [("models/wukong.py", True), ("training/export.py", False)])
def test_an_edit_counts_where_training_imports_it(tmp_path: Path, name: str, counts: bool) -> None:
    package = tmp_path / "wukongctl"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / name).open("a") as file:
        file.write("# edited\n")
    assert (code_digest(package) != code_digest()) == counts
