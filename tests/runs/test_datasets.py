from pathlib import Path

import pytest

from tests.laws.test_run_points import run_folder
from wukongctl.errors import UsageError
from wukongctl.runs.datasets import by_dataset
from wukongctl.runs.folders import RunRecord


def test_datasets_of_one_name_are_told_apart_by_their_fingerprints(tmp_path: Path) -> None:
    of = (("a", "f1" * 20), ("a", "f2" * 20), ("b", "f3" * 20), ("b", "f3" * 20))
    runs = [
        RunRecord.read(
            run_folder(tmp_path, f"r{i}", data={"dataset": name, "fingerprint": mark, "bayes_logloss": None})
        )
        for i, (name, mark) in enumerate(of)
    ]
    groups = by_dataset(runs)
    assert [(one.label, len(one.runs)) for one in groups] == [
        ("a f1f1f1f1f1f1", 1),
        ("a f2f2f2f2f2f2", 1),
        ("b", 2),
    ]
    assert [one.label for one in by_dataset(runs, "a")] == ["a f1f1f1f1f1f1", "a f2f2f2f2f2f2"]
    assert by_dataset(runs, "a f2f2f2f2f2f2") == [groups[1]]
    with pytest.raises(UsageError, match="no run is of dataset `c`"):
        by_dataset(runs, "c")
