"""The key of a split by hash does not read the label and is deterministic."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.config import library
from wukongctl.config.dataset import ByHash, DatasetSpec
from wukongctl.config.loading import load
from wukongctl.config.spec import Mismatch
from wukongctl.data.pipeline import keys

TABLE = "read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',', quote='\"')"


def keyed(key: str, rows: str = f"FROM {TABLE}", **changes: Any) -> DatasetSpec:
    split = {"by": "hash", "key": key, "ratio": {"train": 8, "valid": 1, "test": 1}}
    return own(rows=rows, split=split, **changes)


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("CAST(row(*COLUMNS(*)) AS VARCHAR)", {}, "reads `label`, which the label reads too"),
        ("row(*COLUMNS('.*'))", {}, "reads `label`"),
        ("#1", {}, "reads `label`"),
        ("concat(a, '-', LABEL)", {}, "reads `label`"),
        ("a, rating", {"label": "rating >= 4"}, "reads `rating`"),
        (
            "a, rating",
            {"rows": f"SELECT *, rating >= 4 AS label FROM {TABLE}"},
            "from which the SELECT derives",
        ),
        (
            "row(*COLUMNS(* EXCLUDE (label)))",
            {"rows": f"SELECT *, rating >= 4 AS label FROM {TABLE}"},
            "reads `rating`, from which the SELECT derives",
        ),
        ("random()", {}, "calls `random()`"),
        ("concat(a, uuid())", {}, "calls `uuid()`"),
        ("r", {"rows": f"SELECT *, random() AS r FROM {TABLE}"}, "calls `random()`"),
        ("concat(a, current_date)", {}, "depends on when it runs"),
        ("now()", {}, "depends on when it runs"),
        ("row_number() OVER ()", {}, "reads other rows"),
        ("lag(a) OVER (ORDER BY a)", {}, "reads other rows"),
    ],
)
def test_a_key_that_reads_the_label_or_is_volatile_is_refused(
    tmp_path: Path, key: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Mismatch, match="the key ") as caught:
        run(keyed(key, **changes), tmp_path, tmp_path / "out")
    assert message in str(caught.value)
    assert caught.value.mistakes[0].path == ("split", "key")


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("a", {}),
        ("a, b", {}),
        ("row(*COLUMNS(* EXCLUDE (label)))", {}),
        ("concat(a, 'label')", {}),
        ("md5(a)", {"label": "label = '1'"}),
        ("n", {"rows": f"SELECT *, row_number() OVER () AS n FROM {TABLE}"}),
        ("b", {"rows": f"SELECT label, a, a AS b FROM {TABLE}"}),
        ("user", {"rows": f"SELECT state = 'x' AS label, state_user AS state, user FROM {TABLE}"}),
        ("state", {"rows": f"SELECT state = 'x' AS label, state_user AS state, user FROM {TABLE}"}),
    ],
)
def test_other_keys_are_allowed(key: str, changes: dict[str, Any]) -> None:
    spec = keyed(key, **changes)
    keys.require(spec)
    assert not list(keys.notes(spec))


def test_a_key_derived_from_the_column_of_the_label_is_reported(tmp_path: Path) -> None:
    """This can be intended: the day of a click, and whether a sale followed within a week."""
    rows = [f"{i % 2},a{i % 7},{i % 28 + 1}" for i in range(200)]
    (tmp_path / "clicks.csv").write_text("\n".join(["bought,a,day", *rows]) + "\n")
    query = f"SELECT a, day::INT % 3 AS part, bought = '1' AND day <> '5' AS label FROM {TABLE}"
    spec = own(rows=query, split={"by": "hash", "key": "part", "ratio": {"train": 1}})
    prepared = run(spec, tmp_path, tmp_path / "out")
    assert [problem for problem in prepared.problems if "`split.key`" in problem]
    assert "`day`" in prepared.problems[0]


def test_suggested_keys_are_valid(tmp_path: Path) -> None:
    rows = [f"{i * 7 % 3 // 2},u{i % 97},{i % 24}" for i in range(400)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,user id,hour", *rows]) + "\n")
    features = [{"type": "categorical", "columns": ["user id", "hour"]}]
    with pytest.raises(Mismatch) as caught:
        keys.require(keyed("row(*COLUMNS(*))", features=features))
    hint = caught.value.hint or ""
    for key in ('row("user id", hour)', '"user id"'):
        assert f"`key: '{key}'`" in hint
        prepared = run(keyed(key, features=features), tmp_path, tmp_path / "out", force=True)
        users = [set(part["user id"]) for part in columns(tmp_path / "out", prepared).values()]
        assert (key == '"user id"') == (not users[0] & users[2] - {1})


def test_equal_features_stay_together(tmp_path: Path) -> None:
    """24 hours x 4 devices, each with both labels: each combination is in one split."""
    rows = [f"{i * 7 % 11 % 2},{i % 24},{i // 24 % 4}" for i in range(96 * 5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,hour,device", *rows]) + "\n")
    spec = keyed("row(hour, device)", features=[{"type": "categorical", "columns": ["hour", "device"]}])
    found = columns(tmp_path / "out", run(spec, tmp_path, tmp_path / "out"))
    pairs = [set(zip(part["hour"], part["device"], strict=True)) for part in found.values()]
    assert len(pairs) == 3
    assert not pairs[0] & pairs[1]
    assert not pairs[0] & pairs[2]


def test_keys_of_shipped_recipes_do_not_read_the_label() -> None:
    hashed = 0
    for name in library.names("datasets"):
        spec = load(library.find(name, "datasets"), DatasetSpec)
        keys.require(spec)
        assert not list(keys.notes(spec))
        hashed += isinstance(spec.split, ByHash)
    assert hashed >= 5
