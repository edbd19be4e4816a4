from pathlib import Path

from tests.cli.conftest import Wukong

FIVE_MISTAKES = """\
data: frappe
model:
  name: wukong
  n_f: 8
optimizer:
  dense: {name: adam, lr: fast}
epochs: 0
epochs: 2
schedule: {decay: linaer}
"""


def test_five_mistakes_print_five_positions_and_exit_2(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(FIVE_MISTAKES)
    for command in (("recipes", "check"), ("train",), ("flops",)):
        result = wukong(*command, "bad.yaml")
        assert result.code == 2
        lines = result.err.splitlines()
        assert [line.split(" ")[0] for line in lines[:5]] == [
            "bad.yaml:4:3:", "bad.yaml:6:27:", "bad.yaml:7:9:", "bad.yaml:8:1:", "bad.yaml:9:19:",
        ]  # fmt: skip
        assert lines[5] == "error: 5 problems in `bad.yaml`"


def test_all_shipped_recipes_pass(wukong: Wukong) -> None:
    result = wukong("recipes", "check")
    assert result.code == 0
    assert "ok" in result.out


def test_problems_of_several_files_are_reported_together(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: x\n")
    (tmp_path / "b.yml").write_text("data: x\nmodel: {name: mlp}\nseeed: 1\n")
    result = wukong("recipes", "check", "a.yaml", "b.yml", "--json")
    assert result.code == 2
    assert [p["file"] for p in result.error["problems"]] == ["a.yaml", "b.yml"]


def test_copy_show_and_check_one(wukong: Wukong, tmp_path: Path) -> None:
    assert wukong("recipes", "cp", "quickstart/wukong-1", "mine.yaml").code == 0
    assert wukong("recipes", "check", "mine.yaml").code == 0
    assert wukong("recipes", "show", "mine.yaml").out == (tmp_path / "mine.yaml").read_text()
    again = wukong("recipes", "cp", "quickstart/wukong-1", "mine.yaml")
    assert again.code == 2
    assert "already exists" in again.err


def test_the_schema_describes_the_keys(wukong: Wukong) -> None:
    schema = wukong("recipes", "schema", "training", "--json").json
    assert "batch_size" in schema["properties"]
    assert "Embedding width" in str(schema["$defs"]["WukongSpec"]["properties"]["width"]["description"])


def test_hash_key_that_reads_the_label_has_a_position(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        """\
name: mine
description: clicks
files: {clicks.csv: {}}
rows: FROM read_csv('{clicks.csv}', header = true, quote = '"')
split: {by: hash, key: "row(*COLUMNS(*))", ratio: {train: 8, valid: 1, test: 1}}
label: clicked
features: [{type: categorical, columns: [hour, device]}]
"""
    )
    (tmp_path / "clicks.csv").write_text("hour,device,clicked\n1,a,0\n")
    for command in (("recipes", "check", "mine.yaml"), ("prepare", "./mine.yaml")):
        result = wukong(*command)
        assert result.code == 2
        assert result.err.startswith("mine.yaml:5:24: the key reads `clicked`, which the label reads too")
        assert "`key: 'row(hour, device)'`" in result.err
