"""`prepare` from the command line: recipes that do not fit their data."""

from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

RECIPE = """\
name: clicks
description: clicks
files: {clicks.csv: {}}
rows: |
  SELECT *
  FROM read_csv('{clicks.csv}', header = true)
split: {by: hash, key: size, ratio: {train: 8, test: 1}}
label: label
features:
  - type: categorical
    columns:
      - colour
      - size
"""
SYNTHETIC = """\
name: few
description: rows drawn from a planted teacher
generator: {rows: 3, fields: 8}
rows: SELECT * FROM synthetic
split: {by: hash, key: c7, ratio: {train: 8, valid: 1, test: 1}}
label: label
features: [{type: categorical, columns: [c0]}]
"""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"label: label": "label: lable"},
            ["8:8: dataset `clicks` has no column `lable` (similar columns: `lab"],
        ),
        ({"label: label": "label: label >"}, ["8:8: the SQL of dataset `clicks` is not valid: syntax error"]),
        (
            {"key: size": "key: sise"},
            ["7:24: dataset `clicks` has no column `sise` (similar columns: `size`)"],
        ),
        ({"by: hash, key: size": "by: time, column: sise"}, ["7:27: dataset `clicks` has no column `sise`"]),
        ({"*": "siz"}, ["4:7: dataset `clicks` has no column `siz` (similar columns: `size`"]),
        (
            {"- colour": "- color", "- size": "- Sise", "label: label": "label: lable"},
            ["8:8: dataset", "12:9: dataset `clicks` has no column `color`", "13:9: dataset"],
        ),
    ],
)
def test_missing_columns_have_positions(
    wukong: Wukong, tmp_path: Path, changes: dict[str, str], said: list[str]
) -> None:
    (tmp_path / "clicks.csv").write_text("label,colour,size\n" + "1,red,5\n0,blue,7\n" * 20)
    text = RECIPE
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "clicks.yaml").write_text(text)
    failed = wukong("prepare", "./clicks.yaml")
    assert failed.code == 2
    assert [p["line"] for p in wukong("prepare", "./clicks.yaml", "--json").error["problems"]] == [
        int(start.partition(":")[0]) for start in said
    ]
    for line, start in zip(failed.err.splitlines(), said, strict=False):
        assert line.startswith(f"clicks.yaml:{start}")


def test_too_few_rows_for_a_split_names_the_key(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(SYNTHETIC)
    failed = wukong("prepare", "./few.yaml")
    assert failed.code == 2
    expected = "few.yaml:3:19: split `valid` of dataset `few` is empty (generate more than 3 rows, or"
    assert failed.err.startswith(expected)
    (tmp_path / "few.yaml").write_text(SYNTHETIC.replace("rows: 3", "rows: 3000"))
    assert wukong("prepare", "./few.yaml").code == 0
    limited = wukong("prepare", "./few.yaml", "--force", "--limit-rows", "5")
    assert limited.code == 2
    # The recipe is valid, so no line of it is named.
    assert limited.err.endswith(
        "error: split `valid` of dataset `few` is empty under `--limit-rows 5`\n"
        "hint: raise `--limit-rows`, or omit it\n"
    )


def test_max_rejected_without_skip_is_rejected(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(SYNTHETIC + "max_rejected: 0\n")
    failed = wukong("recipes", "check", "few.yaml")
    assert failed.code == 2
    assert "few.yaml:8:1: no row is left out for `max_rejected` to bound (add `on_error: skip`)" in failed.err
    (tmp_path / "few.yaml").write_text(SYNTHETIC + "max_rejected: 0\non_error: skip\n")
    assert wukong("recipes", "check", "few.yaml").code == 0
