"""`datasets ls`, `show` and `init` from the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.cli.conftest import Wukong, typed
from tests.data.server import serving
from wukongctl.cli.dataset_tables import bars
from wukongctl.config import library

TAGS = ["a|b", "c", "b|c|a", "b", "c|b", "c|a", "a", "b|a", "c|b|a", "b|c"]
ROWS = "user,price,tags,clicked\n" + "".join(
    f"u{i % 7},{i * 1.5 if i % 5 else ''},{TAGS[i % len(TAGS)]},{i % 3 // 2}\n" for i in range(200)
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `clicks` described by `init` and prepared, as the guide has it."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "clicks.csv").write_text(ROWS)
    (folder / "clicks.yaml").write_text(typed(folder, "datasets", "init", "clicks.csv"))
    typed(folder, "prepare", "./clicks.yaml")
    return folder


@pytest.fixture
def clicks(wukong: Wukong, described: Path, tmp_path: Path) -> Path:
    """`clicks` drafted by `init` and prepared, as in the guide."""
    shutil.copytree(described, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data" / "clicks"


@pytest.mark.usefixtures("clicks")
def test_up_to_date_dataset_reports_no_speed(wukong: Wukong) -> None:
    again = wukong("prepare", "./clicks.yaml")
    assert "already prepared" in again.err
    assert "rows/s" not in again.out
    assert wukong("prepare", "./clicks.yaml", "--json").json["rows_per_second"] == 0
    assert "rows/s" in wukong("prepare", "./clicks.yaml", "--force").out


def test_ls_lists_shipped_and_own_datasets(wukong: Wukong, clicks: Path) -> None:
    entries = {entry["name"]: entry for entry in wukong("datasets", "ls", "--json").json}
    assert set(library.names("datasets")) < set(entries)
    assert entries["clicks"] == {
        "name": "clicks",
        "description": "clicks.csv, described by wukongctl datasets init",
        "prepared": True,
        "rows": 200,
        "shipped": False,
        "problem": None,
    }
    assert not entries["frappe"]["prepared"]
    assert entries["frappe"]["shipped"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format_version": 99}', "\x00", None])
def test_ls_lists_all_datasets_if_one_is_broken(wukong: Wukong, clicks: Path, content: str | None) -> None:
    broken = clicks.parent / "broken"
    broken.mkdir()
    if content is None:
        (broken / "manifest.json").mkdir()
    else:
        (broken / "manifest.json").write_text(content)
    result = wukong("datasets", "ls", "--json")
    assert result.code == 0
    entries = {entry["name"]: entry for entry in result.json}
    assert entries["broken"]["problem"]
    assert entries["clicks"]["problem"] is None


def test_ls_lists_all_datasets_if_one_recipe_is_broken(
    wukong: Wukong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = tmp_path / "recipes"
    (recipes / "datasets").mkdir(parents=True)
    (recipes / "datasets" / "frappe.yaml").write_text(library.find("frappe", "datasets").read_text())
    (recipes / "datasets" / "torn.yaml").write_text("name: torn\n  bad: [")
    monkeypatch.setattr(library, "root", lambda: recipes)
    entries = {entry["name"]: entry for entry in wukong("datasets", "ls", "--json").json}
    assert "problem" in entries["torn"]["problem"]
    assert entries["frappe"]["description"]
    assert "torn" in wukong("datasets", "ls").out


def test_ls_of_a_folder_that_is_a_file(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert wukong("datasets", "ls").code == 0


def test_show_prints_features_sources_and_notes(
    wukong: Wukong, clicks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = wukong("datasets", "show", "clicks")
    assert shown.code == 0
    rates, shapes = shown.out.split("train values")
    counted = {words[0]: words for line in rates.splitlines() if (words := line.split())}
    lines = {words[0]: words for line in shapes.splitlines() if (words := line.split())}
    rows = wukong("datasets", "show", "clicks", "--json").json["manifest"]["splits"]["train"]["rows"]
    assert any(line.split()[:2] == ["train", str(rows)] for line in shown.out.splitlines())
    assert counted["user"][1:4] == ["9", "7", "100.0%"]
    assert lines["user"][1] == "categorical"
    assert lines["price"][1].startswith("numeric")
    assert any(bar in shown.out for bar in "▁▂▃▄▅▆▇█")
    assert "sha256" in shown.out
    assert "no published checksums or counts" in shown.out
    content = wukong("datasets", "show", "clicks", "--json").json
    assert content["manifest"]["statistics"]["features"]["user"]["values"] == 7
    assert content["recipe"]["name"] == "clicks"


def test_show_reads_manifests_without_statistics(wukong: Wukong, clicks: Path) -> None:
    path = clicks / "manifest.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content["statistics"] = None
    path.write_text(json.dumps(content))
    assert "embedding rows" in wukong("datasets", "show", "clicks").out


def test_show_of_an_unprepared_dataset(wukong: Wukong) -> None:
    shown = wukong("datasets", "show", "frappe")
    assert "license: research use" in shown.out
    assert "run `wukongctl prepare frappe`" in shown.out
    assert wukong("datasets", "show", "frapp").code == 2


def test_init_json_has_the_choices(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(ROWS)
    made = wukong("datasets", "init", "clicks.csv", "--name", "mine", "--json").json
    assert made["name"] == "mine"
    assert made["label"] == {"column": "clicked", "expression": '"clicked"'}
    assert {column["name"]: column["use"] for column in made["columns"]} == {
        "user": "categorical",
        "price": "numeric",
        "tags": "sequence",
    }
    assert made["recipe"].startswith("# wukongctl prepare ./mine.yaml\n")


def test_init_takes_sql_or_positive_values_for_the_label(wukong: Wukong, tmp_path: Path) -> None:
    rows = "".join(f"u{i % 7},{('no', 'soon', 'late')[i % 3]},{i % 10}\n" for i in range(3000))
    (tmp_path / "t.csv").write_text(f"user,readmitted,stars\n{rows}")
    command = ("datasets", "init", "t.csv", "--json", "--label")
    made = wukong(*command, "readmitted", "--positive", "soon", "--positive", "late").json
    assert made["label"]["expression"] == "trim(\"readmitted\") IN ('soon', 'late')"
    assert wukong(*command, "stars > 7").json["label"] == {"column": "stars", "expression": "stars > 7"}
    failed = wukong(*command, "readmitted", "--positive", "never")
    assert (failed.code, "it has `late`, `no`, `soon`" in failed.err) == (2, True)


def test_prepare_of_a_table_points_to_init(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(ROWS)
    result = wukong("prepare", "clicks.csv")
    assert result.code == 2
    assert "wukongctl datasets init clicks.csv > clicks.yaml" in result.err


def test_license_and_size_are_printed_before_a_download_only(
    wukong: Wukong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = ROWS.encode()
    with serving(content) as server:
        (tmp_path / "mine.yaml").write_text(
            f"""\
name: mine
description: somebody's clicks
license: {{name: research use only, url: "https://example.org/terms"}}
downloads: {{clicks.csv: {{urls: ["{server.url()}"], bytes: {len(content)}}}}}
files: {{clicks.csv: {{}}}}
rows: FROM read_csv('{{clicks.csv}}')
split: {{by: order, ratio: {{train: 8, valid: 1, test: 1}}}}
label: clicked
features: [{{type: categorical, columns: [user]}}]
"""
        )
        (tmp_path / "data").mkdir()
        with FileLock(tmp_path / "data/.mine.lock"):
            assert said_until_it_waits(tmp_path) == "waiting for another `wukongctl prepare mine`\n"
        for option, said in ((), True), (("--force",), False), (("--refresh", "--force"), True):
            err = wukong("prepare", "./mine.yaml", *option).err
            assert ("terms of `mine`: research use only (https://example.org/terms)" in err) == said
            assert ("downloading `clicks.csv`, 0.0 MB" in err) == said
        assert len(server.requests) == 2
        failed = wukong("prepare", "./mine.yaml", "--refresh", "--source", ".")
        assert (failed.code, "`--source` cannot be used with `--refresh`" in failed.err) == (2, True)


def said_until_it_waits(folder: Path) -> str:
    """By `prepare`, before it is known whether it will download anything."""
    command = [sys.executable, "-m", "wukongctl", "prepare", "./mine.yaml", "--out", "data"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    said = ""
    while "waiting" not in said and process.poll() is None:
        said += process.stderr.readline()
    process.kill()
    process.communicate()
    return said


def test_bars() -> None:
    assert bars([]) == ""
    assert bars([0, 0]) == "  "
    assert bars([1, 0, 1000, 500]) == "▁ █▄"
    assert len(bars(range(16))) == 16
