"""The result does not depend on parts, memory, batches or threads."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.test_prepare import columns, own, run
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.manifest import Manifest
from wukongctl.data.pipeline import lookup, parts, reading, shuffle
from wukongctl.data.progress import Progress
from wukongctl.data.query.engine import Engine

FEATURES = [
    {"type": "categorical", "columns": ["a"], "min_count": 2},
    {"type": "categorical", "columns": ["b"]},
    {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 3},
    {"type": "sequence", "columns": ["t"], "separator": "^", "max_len": 2, "shares": "b"},
    {"type": "numeric", "columns": ["n"], "standardize": True},
]
READ = "FROM read_csv({files}, header=true, all_varchar=true, delim=',')"
NAMES = [f"day{day}.csv" for day in range(5)]


def write_days(folder: Path) -> None:
    """Five files of different lengths, the third of them without rows."""
    rng = random.Random(1)
    for name, rows in zip(NAMES, (400, 150, 0, 700, 90), strict=True):
        lines = ["label,a,b,s,t,n"]
        for _ in range(rows):
            items = "^".join(str(rng.randint(0, 30)) for _ in range(rng.randint(0, 5)))
            more = "^".join(str(rng.randint(0, 300)) for _ in range(rng.randint(0, 3)))
            a, b = rng.choice(["", rng.randint(0, 400)]), rng.randint(0, 200)
            lines.append(f"{rng.randint(0, 1)},{a},{b},{items},{more},{rng.choice(['', rng.random()])}")
        (folder / name).write_text("\n".join(lines) + "\n")


def days(**changes: Any) -> DatasetSpec:
    listed = "[" + ", ".join(f"'{{{name}}}'" for name in NAMES) + "]"
    content = {
        "files": {name: {} for name in NAMES},
        "rows": READ.format(files=listed),
        "features": FEATURES,
    }
    return own(**(content | changes))


SPLITS = [
    {"by": "order", "ratio": {"train": 6, "valid": 1, "test": 1}},
    {"by": "hash", "key": "a", "ratio": {"train": 8, "test": 2}},
    {"by": "time", "column": "n", "ratio": {"train": 7, "test": 3}},
]


@pytest.mark.parametrize("split", SPLITS, ids=["order", "hash", "time"])
def test_many_parts_give_the_same_rows_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: dict[str, Any]
) -> None:
    write_days(tmp_path)
    read = str(days().rows).removeprefix("SELECT * ").strip()
    timed = f"SELECT * REPLACE (CAST(n AS DOUBLE) AS n) {read} WHERE n <> ''"
    spec = days(split=split, **({"rows": timed} if split["by"] == "time" else {}))
    one = run(spec, tmp_path, tmp_path / "one")
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    stages: list[str] = []
    many = run(spec, tmp_path, tmp_path / "many", report=lambda at: stages.append(at.stage))
    assert any("(part 3 of" in stage for stage in stages)
    assert columns(tmp_path / "one", one) == columns(tmp_path / "many", many)
    assert one.features == many.features
    assert one.statistics == many.statistics
    assert [file.path for file in many.splits["train"].files] == [
        f"train/part-{number:05d}.parquet" for number in range(len(many.splits["train"].files))
    ]


def test_parts_without_rows_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the first one, from which the rows come with which `predict` checks itself."""
    write_days(tmp_path)
    (tmp_path / NAMES[0]).write_text("label,a,b,s,t,n\n")
    one = run(days(), tmp_path, tmp_path / "one")
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    many = run(days(), tmp_path, tmp_path / "many")
    assert columns(tmp_path / "one", one) == columns(tmp_path / "many", many)
    assert one.raw is not None
    assert many.raw is not None
    assert one.raw.sampled == many.raw.sampled > 0


def parts_of(spec: DatasetSpec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    stages: list[str] = []
    run(spec, folder, folder / "out", report=lambda at: stages.append(at.stage), force=True)
    return max([1, *(int(stage.split(" of ")[1].rstrip(")")) for stage in stages if " of " in stage)])


@pytest.mark.parametrize(
    ("select", "count"),
    [
        ("SELECT * {}", 5),
        ("SELECT * REPLACE (upper(a) AS a) {} WHERE b <> '7'", 5),
        ("SELECT * {} ORDER BY n", 1),
        ("SELECT DISTINCT * {}", 1),
        ("SELECT *, row_number() OVER () AS r {}", 1),
        ("SELECT * {} LIMIT 900", 1),
        ("SELECT * {} UNION ALL FROM read_csv(['{{day0.csv}}', '{{day1.csv}}'], all_varchar=true)", 1),
    ],
)
def test_only_row_by_row_selects_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str, count: int
) -> None:
    write_days(tmp_path)
    hashed = {"by": "hash", "key": "a", "ratio": {"train": 8, "test": 2}}
    spec = days(rows=select.format(days().rows), split=hashed)
    assert parts_of(spec, tmp_path, monkeypatch) == count


def prepared(folder: Path, name: str, **changes: Any) -> Manifest:
    return run(days(**changes), folder, folder / name)


@pytest.mark.parametrize("compat", [None, "bars"])
def test_lookup_on_disk_gives_the_same_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compat: str | None
) -> None:
    write_days(tmp_path)
    fast = prepared(tmp_path, "fast", compat=compat)
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr(reading, "MIN_BATCH_ROWS", 100)
    monkeypatch.setattr(lookup, "MEMORY_SHARE", 1e-7)
    used: list[int] = []
    ids = lookup.ids_on_disk
    monkeypatch.setattr(lookup, "ids_on_disk", lambda *rest: used.append(rest[2].values) or ids(*rest))
    slow = prepared(tmp_path, "slow", compat=compat)
    assert len(used) >= 3
    assert slow.fingerprint == fast.fingerprint
    assert slow.statistics == fast.statistics
    assert not (tmp_path / "slow/.own.work").exists()


def test_the_raw_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting, splits by row order and encoding do not parse them again."""
    write_days(tmp_path)
    run_queries: list[str] = []
    for verb in ("reader", "rows", "execute"):
        plain = getattr(Engine, verb)
        monkeypatch.setattr(
            Engine, verb, lambda self, text, *rest, f=plain: run_queries.append(text) or f(self, text, *rest)
        )
    found = prepared(tmp_path, "out")
    whole = [query for query in run_queries if "LIMIT" not in query]  # the sample for `predict`
    assert sum("day0.csv" in query for query in whole) == 1
    assert {name: split.rows for name, split in found.splits.items()} == {"train": 894, "test": 446}


def test_an_interrupted_run_of_untracked_files_is_not_resumed(tmp_path: Path) -> None:
    write_days(tmp_path)
    spec = days(
        files={}, rows=f"FROM read_csv('{tmp_path}/day0.csv', header=true, all_varchar=true, delim=',')"
    )

    def interrupt(at: Progress) -> None:
        if at.stage == "encoding":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path, tmp_path / "out", report=interrupt)
    assert (tmp_path / "out/.own.work/counts").is_dir()
    stages: list[str] = []
    run(spec, tmp_path, tmp_path / "out", report=lambda at: stages.append(at.stage))
    assert "counting values" in stages
    assert not (tmp_path / "out/.own.work").exists()


def test_shuffling_permutes_train_rows_by_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path)
    monkeypatch.setattr(shuffle, "BUCKET_BYTES", 4000)
    plain = columns(tmp_path / "plain", prepared(tmp_path, "plain"))
    first = prepared(tmp_path, "first", shuffle={"seed": 1})
    monkeypatch.setattr(reading, "BATCH_ROWS", 64)
    again = run(days(shuffle={"seed": 1}), tmp_path, tmp_path / "again", threads=1)
    other = prepared(tmp_path, "other", shuffle={"seed": 2})
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.statistics is not None
    shuffled = columns(tmp_path / "first", first)
    assert shuffled["test"] == plain["test"]
    assert shuffled["train"] != plain["train"]
    assert rows_of(shuffled["train"]) == rows_of(plain["train"])
    assert rows_of(columns(tmp_path / "other", other)["train"]) == rows_of(plain["train"])
    positions = [plain["train"]["n"].index(value) for value in shuffled["train"]["n"][:400]]
    # A uniform permutation of about 900 rows: neighbors are far apart on average, and no trend remains.
    assert abs(np.corrcoef(range(len(positions)), positions)[0, 1]) < 0.2


def rows_of(table: dict[str, list[Any]]) -> list[str]:
    return sorted(map(repr, zip(*table.values(), strict=True)))
