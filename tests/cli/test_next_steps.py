"""Following the printed next steps leads to a trained model from any start, without cycles."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Result, Wukong
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.data import next_steps
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare

TABLE = "user,item,clicked\n" + "".join(
    f"u{row % 17},i{row % 23},{int(row * 7 % 10 < 4)}\n" for row in range(400)
)
DATASET = """\
name: clicks
description: a small table
files: {clicks.csv: {}}
rows: SELECT * FROM read_csv('{clicks.csv}', header = true, all_varchar = true)
split: {by: order, ratio: {train: 4, valid: 1, test: 1}}
label: clicked = '1'
features: [{type: categorical, columns: [user, item]}]
"""
RECIPE = "data: clicks\nmodel: {name: mlp, width: 2, hidden: [4]}\nepochs: 1\nthreads: 1\n"
MOST_STEPS = 6


def hinted(result: Result) -> list[str]:
    """The words of the first command in a result, including redirection."""
    found = re.search(r"`wukongctl ([^`]*)`", result.err)
    assert found is not None, result.err
    return shlex.split(found[1])


def follow(wukong: Wukong, *words: str) -> list[list[str]]:
    """Run `words`, then each hinted command, until a model would be trained; commands must not repeat."""
    typed: list[list[str]] = []
    command = list(words)
    while len(typed) < MOST_STEPS:
        assert command not in typed, f"in a circle: {typed}"
        typed.append(command)
        *plain, target = command if command[-2:-1] == [">"] else [*command, ">", ""]
        trains = command[0] == "train"
        result = wukong(*plain[:-1], *["--dry-run"][: int(trains)])
        if target:
            assert result.code == 0
            Path(target).write_text(result.out)
        if trains and result.code == 0:
            return typed
        command = hinted(result)
    raise AssertionError(f"no model after {typed}")


@pytest.fixture
def table(wukong: Wukong, tmp_path: Path) -> Path:
    (tmp_path / "clicks.csv").write_text(TABLE)
    return tmp_path


@pytest.fixture
def described(table: Path) -> Path:
    (table / "clicks.yaml").write_text(DATASET)
    (table / "mine.yaml").write_text(RECIPE)
    return table


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `data` that `prepare ./clicks.yaml` creates."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "clicks.csv").write_text(TABLE)
    (folder / "clicks.yaml").write_text(DATASET)
    spec = load(folder / "clicks.yaml", DatasetSpec)
    prepare(spec, Options(folder, out=folder / "data"))
    return folder / "data"


@pytest.fixture
def ready(described: Path, prepared: Path) -> Path:
    shutil.copytree(prepared, described / "data")
    return described


WRONG_STARTS = [
    "train mine.yaml",
    "train clicks.yaml",
    "train ./clicks.yaml",
    "train clicks",
    "train clicks.csv",
    "train --data clicks --model mlp",
    "train --data clicks.yaml --model mlp",
    "train --data data/clicks --model mlp",
    "train clicks --model mlp",
    "recipes init clicks",
    "recipes init clicks.yaml",
    "recipes init clicks.csv",
    "datasets init clicks.yaml",
    "datasets init mine.yaml",
    "datasets init clicks",
    "prepare clicks",
    "prepare clicks.csv",
    "prepare ./clicks.yaml",
    "prepare mine.yaml",
    "sweep clicks.yaml",
    "sweep mine.yaml",
    "flops clicks.yaml",
    "bench clicks",
    "bench mine.yaml",
    "evaluate mine.yaml",
    "evaluate clicks.yaml",
    "evaluate clicks",
    "predict mine.yaml clicks.csv",
    "export mine.yaml --out here",
    "compare mine.yaml",
    "compare clicks.yaml",
    "scale-report mine.yaml",
    "runs show mine.yaml",
]


@pytest.mark.parametrize("start", WRONG_STARTS)
def test_hints_lead_from_a_dataset_recipe_to_a_model(wukong: Wukong, described: Path, start: str) -> None:
    follow(wukong, *start.split())


STARTS_WHEN_PREPARED = [
    *(start for start in WRONG_STARTS if start.split()[0] not in ("prepare", "recipes", "bench")),
    "recipes init clicks.yaml",
    "recipes init clicks.csv",
    "prepare ./clicks.yaml",
    "prepare mine.yaml",
    "bench clicks",
    "train --data clicks",
    "train data/clicks",
    "evaluate data/clicks",
]


@pytest.mark.parametrize("start", STARTS_WHEN_PREPARED)
def test_hints_do_not_prepare_a_prepared_dataset_again(wukong: Wukong, ready: Path, start: str) -> None:
    typed = follow(wukong, *start.split())
    assert all(words[0] != "prepare" for words in typed[1:]), typed


@pytest.mark.parametrize("start", ["train clicks.csv", "prepare clicks.csv", "recipes init clicks.csv"])
def test_hints_lead_from_a_table_to_a_model(wukong: Wukong, table: Path, start: str) -> None:
    typed = follow(wukong, *start.split())
    assert [words[0] for words in typed[1:]] == ["datasets", "prepare", "train"]


def test_hints_use_the_given_data_folder(wukong: Wukong, described: Path) -> None:
    typed = follow(wukong, "train", "mine.yaml", "--data", "else where")
    assert typed[1] == ["prepare", "./clicks.yaml", "--out", "else where"]
    assert (described / "else where" / "clicks" / "manifest.json").is_file()
    assert not (described / "data").exists()


def test_hints_omit_the_data_folder_of_the_environment(
    wukong: Wukong, described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WUKONGCTL_DATA", "elsewhere")
    assert hinted(wukong("train", "mine.yaml")) == ["prepare", "./clicks.yaml"]
    assert wukong("prepare", "./clicks.yaml").code == 0
    assert wukong("train", "--data", "clicks", "--model", "mlp", "--dry-run").code == 0


def test_dataset_recipe_is_found_by_its_name_key(wukong: Wukong, described: Path) -> None:
    (described / "clicks.yaml").rename(described / "table of clicks.yml")
    assert hinted(wukong("train", "mine.yaml")) == ["prepare", "./table of clicks.yml"]


def test_unknown_dataset_hints_at_datasets_init(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("clicks", "sales"))
    said = wukong("train", "mine.yaml").err
    assert "`wukongctl datasets init FILE --name sales > sales.yaml`" in said


def test_hint_names_the_table_in_the_folder(wukong: Wukong, table: Path) -> None:
    (table / "mine.yaml").write_text(RECIPE)
    typed = follow(wukong, "train", "mine.yaml")
    assert typed[1] == ["datasets", "init", "clicks.csv", "--name", "clicks", ">", "clicks.yaml"]


def test_recipe_without_its_suffix_is_found(wukong: Wukong, described: Path) -> None:
    for command in ("train", "flops", "sweep", "bench"):
        said = wukong(command, "mine").err
        assert said == "error: there is no recipe `mine`\nhint: did you mean `mine.yaml`?\n"


def test_misspelled_dataset_suggests_a_prepared_one(wukong: Wukong, ready: Path) -> None:
    assert "did you mean `clicks`?" in wukong("train", "--data", "click", "--model", "mlp").err


def test_a_shipped_dataset_is_prepared_by_its_name_and_trained_by_its_recipe(
    wukong: Wukong, tmp_path: Path
) -> None:
    for start in (
        "train frappe",
        "train --data frappe --model wukong",
        "evaluate frappe",
        "train frappe/wukong",
    ):
        assert hinted(wukong(*start.split())) == ["prepare", "frappe"]
    (tmp_path / "data" / "frappe").mkdir(parents=True)
    (tmp_path / "data" / "frappe" / "manifest.json").write_text("{}")
    assert hinted(wukong("train", "frappe")) == ["train", "frappe/wukong"]


def test_recipe_instead_of_a_run_hints_at_its_run(wukong: Wukong, ready: Path) -> None:
    run = wukong("train", "mine.yaml", "--json").json["run"]
    for start in ("evaluate mine.yaml", "compare mine.yaml", "predict mine.yaml clicks.csv"):
        assert (
            f"`mine.yaml` is a recipe, not a run folder\nhint: its run is `{run}`"
            in wukong(*start.split()).err
        )
    assert f"name one, such as `{run}`" in wukong("evaluate", "runs").err
    assert hinted(wukong("train", run)) == ["train", f"{run}/recipe.yaml", "--out", "runs"]


def test_hint_of_an_unfinished_run_resumes_it(wukong: Wukong, described: Path) -> None:
    assert wukong("prepare", "./clicks.yaml", "--out", "elsewhere").code == 0
    run = described / wukong("train", "mine.yaml", "--data", "elsewhere", "--json").json["run"]
    (run / "checkpoints" / "best.pt").unlink()
    command = hinted(wukong("evaluate", run, "--data", "elsewhere"))
    assert wukong(*command).code == 0
    assert wukong("evaluate", run, "--data", "elsewhere").code == 0


def test_commands_end_with_the_next_one(wukong: Wukong, described: Path) -> None:
    prepared = wukong("prepare", "./clicks.yaml")
    assert hinted(prepared) == ["train", "--data", "clicks", "--model", "wukong"]
    assert "`wukongctl recipes init clicks > clicks-wukong.yaml`" in prepared.err
    trained = wukong("train", "mine.yaml")
    assert "next: `wukongctl predict runs/clicks-mlp-" in trained.err
    assert "wukongctl compare" not in trained.err  # of one run
    assert "`wukongctl compare runs`" in wukong("train", "mine.yaml", "--seed", "1").err


def runs_of(folder: Path, **datasets: str) -> None:
    for name, dataset in datasets.items():
        run = folder / name.replace("_", "-")
        run.mkdir(parents=True)
        (run / "result.json").write_text("{}")
        (run / "run.json").write_text(json.dumps({"data": {"dataset": dataset}}))


def test_next_commands_of_a_run_use_its_data(tmp_path: Path) -> None:
    out = tmp_path / "my runs"
    runs_of(out, x="clicks", y="clicks")
    said = next_steps.after_training(out / "x", "clicks", tmp_path)
    assert f"`wukongctl predict '{out}/x' FILE --data {tmp_path}`" in said
    assert f"`wukongctl compare '{out}' --data {tmp_path}`" in said


def test_runs_on_other_data_are_not_compared(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    data = next_steps.default_folder()
    runs_of(out, bank_mlp_1="bank", bank_mlp_2="bank", ads_mlp_1="ads")
    assert next_steps.to_compare("bank", out, data) == f"wukongctl compare {out}/bank-*"
    assert next_steps.to_compare("ads", out, data) is None
    runs_of(out, bank_two_mlp_1="bank-two", named="bank")  # the pattern would find one, and miss the other
    listed = " ".join(f"{out}/{name}" for name in ("bank-mlp-1", "bank-mlp-2", "named"))
    assert next_steps.to_compare("bank", out, data) == f"wukongctl compare {listed}"


def test_without_positives_in_valid_the_next_command_works(wukong: Wukong, described: Path) -> None:
    rows = [f"u{row % 17},i{row % 23},{int(row < 200 and row % 3 == 0)}\n" for row in range(400)]
    (described / "clicks.csv").write_text("user,item,clicked\n" + "".join(rows))
    command = hinted(prepared := wukong("prepare", "./clicks.yaml"))
    assert prepared.code == 0
    assert "--set early_stopping.metric=logloss" in prepared.err
    assert wukong(*command, "--set", "epochs=1").code == 0


@pytest.mark.parametrize("start", ["tune clicks", "tune clicks.yaml", "train clicks-wukong.yaml"])
def test_missing_recipe_hints_at_recipes_init(wukong: Wukong, ready: Path, start: str) -> None:
    assert hinted(said := wukong(*start.split())) == ["recipes", "init", "clicks", ">", "clicks-wukong.yaml"]
    assert said.code == 2
    assert ("`wukongctl tune clicks-wukong.yaml`" in said.err) == start.startswith("tune")


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_json_output_has_no_next_command(wukong: Wukong, described: Path, option: str) -> None:
    for command in (("prepare", "./clicks.yaml"), ("recipes", "init", "clicks"), ("train", "mine.yaml")):
        result = wukong(*command, option)
        assert result.code == 0
        assert not re.search(r"^(next|save)", result.err, re.MULTILINE)


def test_hint_prepares_damaged_data_again(wukong: Wukong, ready: Path) -> None:
    part = next((ready / "data" / "clicks" / "train").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    command = hinted(wukong("train", "mine.yaml"))
    assert wukong(*command).code == 0
    assert wukong("train", "mine.yaml", "--dry-run").code == 0


def test_show_hints_at_prepare(wukong: Wukong, described: Path) -> None:
    assert hinted(wukong("datasets", "show", "clicks")) == ["prepare", "./clicks.yaml"]
    assert "`wukongctl prepare ./clicks.yaml`" in wukong("datasets", "show", "./clicks.yaml").out
    assert (
        "`wukongctl prepare frappe --out elsewhere`"
        in wukong("datasets", "show", "frappe", "--data", "elsewhere").out
    )
