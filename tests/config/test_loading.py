from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wukongctl.config import library, positions
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.dumping import to_yaml
from wukongctl.config.loading import did_you_mean, load
from wukongctl.config.positions import parse
from wukongctl.config.spec import Spec
from wukongctl.config.sweep import SweepSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import Problem, RecipeError, UsageError

GOOD = """\
data: frappe
model:
  name: wukong
  hidden: [64, 64]
optimizer:
  dense: {name: adam, lr: 1e-3}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path, *overrides: str) -> list[Problem]:
    with pytest.raises(RecipeError) as caught:
        load(path, TrainingSpec, overrides)
    return list(caught.value.problems)


def test_yaml_1_2_numbers_are_numbers(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, GOOD), TrainingSpec)
    assert recipe.optimizer.dense.lr == 1e-3
    assert recipe.model.name == "wukong"
    assert recipe.model.hidden == (64, 64)


def test_yaml_1_2_words_are_words(tmp_path: Path) -> None:
    # YAML 1.1 would read `no` as false.
    assert load(write(tmp_path, GOOD + "curve: no\n"), TrainingSpec).curve == "no"


def test_all_problems_at_once_with_positions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
data: frappe
modle: {}
model:
  name: wukong
  n_f: 8
  layers: 0
optimizer:
  dense: {name: adam, lr: fast}
epochs: 2
epochs: 3
schedule: {decay: linaer}
""",
    )
    found = {(p.line, p.column): (p.message, p.hint) for p in problems_of(path)}
    assert found == {
        (2, 1): ("unknown key `modle`", "did you mean `model`?"),
        (5, 3): ("unknown key `n_f`", "did you mean `n_F`?"),
        (6, 11): ("`model.layers` is `0`, expected more than 0", None),
        (8, 27): ("`optimizer.dense.lr` is `fast`, expected a number", None),
        (10, 1): ("duplicate key `epochs`, first on line 9", None),
        (11, 19): (
            "`schedule.decay` is `linaer`, expected `none`, `linear`, `cosine` or `plateau`",
            "did you mean `linear`?",
        ),
    }


def test_a_misspelt_model_does_not_hide_what_is_below_it(tmp_path: Path) -> None:
    path = write(tmp_path, "data: frappe\nmodel:\n  name: wukng\n  layrs: 2\n")
    assert [(p.line, p.hint) for p in problems_of(path)] == [
        (3, "did you mean `wukong`?"),
        (4, "did you mean `layers`?"),
    ]


@pytest.mark.parametrize(
    ("shipped", "spec", "key", "message", "command"),
    [
        ("frappe/search", TrainingSpec, "ladders", "a sweep file, not a training recipe", "sweep"),
        ("datasets/frappe", TrainingSpec, "features", "a dataset recipe, not a training recipe", "prepare"),
        ("frappe/fm", SweepSpec, "model", "a training recipe, not a sweep file", "train"),
        ("frappe/fm", DatasetSpec, "model", "a training recipe, not a dataset recipe", "train"),
    ],
)
def test_a_file_of_another_format_is_one_problem(
    shipped: str, spec: type[Spec], key: str, message: str, command: str
) -> None:
    path = library.find(shipped)
    with pytest.raises(RecipeError) as caught:
        load(path, spec)
    (problem,) = caught.value.problems
    assert path.read_text().splitlines()[problem.line - 1].startswith(f"{key}:")
    assert problem.message == f"this is {message}"
    assert problem.hint == f"run `wukongctl {command} {path}`"


def test_keys_of_two_formats_are_unknown_keys(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, GOOD + "ladders: []\n"))
    assert problem.message == "unknown key `ladders`"


def test_a_model_without_its_braces(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, "data: frappe\nmodel: wukong\noptimizer: {dense: {lr: 1e-3}}\n"))
    assert problem.message == "`model` is `wukong`, expected a mapping of keys"
    assert problem.hint == "write `{name: wukong}`"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        ("- a\n", 1, "not a recipe: expected lines"),
        ("data: [unclosed\n", 2, "not valid YAML"),
        ("data: &a [*a]\nmodel: {name: mlp}\n", 1, "an alias may not contain itself"),
        ("data: x\n", 1, "missing key `model`"),
        ("data: x\nmodel:\n  width: 4\n", 3, "missing key `name`"),
        ("data: x\nmodel: {name: mlp}\nbatch_size: true\n", 3, "an integer"),
        ("data: x\nmodel: {name: mlp}\nbatch_size: '12'\n", 3, "an integer"),
        ("data: x\nmodel: {name: mlp}\noptimizer: {dense: {name: adam, lr: .nan}}\n", 3, "finite"),
    ],
)
def test_each_mistake_has_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    first = problems_of(write(tmp_path, text))[0]
    assert first.line == line
    assert message in first.message


def test_unreadable_files_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(UsageError):
            load(path, TrainingSpec)


@pytest.mark.parametrize(
    ("content", "line", "column", "words"),
    [
        (b"data: x\nmodel:\n\tname: mlp\n", 3, 1, ("a tab", "indent with spaces")),
        (b"# a\ndata: caf\xe9\n", 2, 10, ("not UTF-8 text: byte 0xe9", "iconv -f LATIN1")),
        (b"# \xc3\xa4\xe9\n", 1, 4, ("not UTF-8 text",)),
    ],
)
def test_what_is_no_yaml_says_where_and_what_to_do(
    content: bytes, line: int, column: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert (problem.line, problem.column) == (line, column)
    assert all(word in str(problem) for word in words)


def test_a_file_of_too_many_values_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "MAX_VALUES", 50)
    (problem,) = problems_of(write(tmp_path, "".join(f"k{i}: {i}\n" for i in range(60))))
    assert "more than 200,000 values" in problem.message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", "my data!", ("`name` is `my data!`, expected letters, digits", "for example `my-data`")),
        ("name", "!", ("`name` is `!`, expected letters",)),
        ("files", {"a.csv": {"md5": "12"}}, ("`files.a.csv.md5` is `12`, expected 32 digits",)),
        ("files", {"a.csv": {"sha256": "A" * 64}}, ("expected 64 digits 0-9 and a-f",)),
        ("downloads", {"a.csv": {"urls": ["ftp://x/y"]}}, ("`downloads.a.csv.urls.0` is `ftp://x/y`",)),
    ],
)
def test_no_regular_expression_is_shown(
    key: str, value: object, words: tuple[str, ...], tmp_path: Path
) -> None:
    content = {
        "name": "own",
        "description": "d",
        "files": {"a.csv": {}},
        "rows": "FROM '{a.csv}'",
        "split": {"by": "order", "ratio": {"train": 1}},
        "label": "y",
        "features": [{"type": "categorical", "columns": ["x"]}],
    }
    with pytest.raises(RecipeError) as refused:
        load(write(tmp_path, to_yaml(content | {key: value})), DatasetSpec)
    (problem,) = refused.value.problems
    assert all(word in str(problem) for word in words)
    assert "pattern" not in str(problem)
    assert "^" not in str(problem)


def test_overrides_are_yaml_and_reach_any_depth(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = load(
        path, TrainingSpec, ["model.hidden.1=32", "optimizer.dense.lr=3e-4", "schedule.warmup=0.1", "seed=7"]
    )
    assert recipe.model.name == "wukong"
    assert recipe.model.hidden == (64, 32)
    assert (recipe.optimizer.dense.lr, recipe.schedule.warmup, recipe.seed) == (3e-4, 0.1, 7)


def test_problems_of_overrides_name_the_override(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, GOOD), "model.layrs=2")
    assert problem.where == "--set model.layrs=2"
    assert problem.hint == "did you mean `layers`?"


def test_an_override_that_changes_the_kind_of_a_group_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (problem,) = problems_of(path, "model.name=fm")
    assert problem.message == "unknown key `hidden`"
    assert problem.hint == "`--set model.name=fm` chose a kind without this key"


@pytest.mark.parametrize("override", ["batch_size", "=3", "data.name=1", "model.hidden.9=1"])
def test_malformed_overrides(tmp_path: Path, override: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        load(write(tmp_path, GOOD), TrainingSpec, [override])


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, GOOD), TrainingSpec)
    again = TrainingSpec.from_dict(recipe.to_dict())
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_the_digest_ignores_layout_but_not_meaning(tmp_path: Path) -> None:
    plain = load(write(tmp_path, GOOD), TrainingSpec).digest()
    reordered = "\n\n# a comment\nmodel: {hidden: [64, 64], name: wukong}\ndata: frappe\n"
    assert load(write(tmp_path, reordered), TrainingSpec).digest() == plain
    assert load(write(tmp_path, GOOD + "seed: 1\n"), TrainingSpec).digest() != plain


@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_list_of_problems(text: str) -> None:
    document = parse(text, "recipe.yaml")
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1


def test_did_you_mean_ignores_case_and_gives_up_on_strangers() -> None:
    assert did_you_mean("BATCH_SIZ", ["batch_size", "seed"]) == "did you mean `batch_size`?"
    assert did_you_mean("zzz", ["batch_size"]) is None


def test_mistakes_across_keys_of_a_dataset_come_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
name: x
description: x
rows: SELECT * FROM read_csv('{a.csv}')
split: {by: order, ratio: {valid: 1, test: 1}}
label: y
features:
  - {type: categorical, columns: [a, a, label]}
  - {type: sequence, columns: [s], separator: ",", max_len: 2, shares: zzz}
cardinalities: {q: 3}
""",
    )
    with pytest.raises(RecipeError) as caught:
        load(path, DatasetSpec)
    assert len(caught.value.problems) == 6


def test_one_wrong_group_does_not_make_the_list_empty(tmp_path: Path) -> None:
    text = "name: x\ndescription: x\nrows: SELECT 1\nsplit: {by: order, ratio: {train: 1}}\nlabel: y\n"
    text += "features:\n"
    with pytest.raises(RecipeError) as caught:
        load(write(tmp_path, text + "  - {type: categorical, columns: [a], bogus: 1}\n"), DatasetSpec)
    assert [problem.message for problem in caught.value.problems] == ["unknown key `bogus`"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n" for previous, name in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    "text",
    [BOMB, "data: " + "[" * 5000, "data: " + "[" * 5000 + "]" * 5000, "{a: " * 3000 + "1" + "}" * 3000,
     "data: " + "[" * 300 + "]" * 300, f"seed: {'9' * 5000}", "- " * 2000 + "x"],
    ids=["bomb", "open", "lists", "maps", "deep", "digits", "dashes"],
)  # fmt: skip
def test_absurd_files_are_problems(tmp_path: Path, text: str) -> None:
    assert problems_of(write(tmp_path, text))
