"""Sweeps with an in-process executor: order, choice on validation, resuming, and failures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweep.in_process import InProcess, validate_yaml
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.entries import expand
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import Interrupted, RecipeError, UsageError, WukongError
from wukongctl.sweep.executors import Exit
from wukongctl.sweep.summary import summarize
from wukongctl.sweep.sweep import Event, Job, Sweep, execute, write
from wukongctl.training.train import train

DATASET = """\
name: tiny
description: planted clicks for tests
generator: {rows: 600, fields: 4, variance: {order2: 3.0}}
rows: SELECT * FROM synthetic
split: {by: order, ratio: {train: 4, valid: 1, test: 1}}
label: label
probability: p
features: [{type: categorical, columns: [c0, c1, c2, c3]}]
"""
SWEEP = """\
name: study
set: {batch_size: 100, threads: 1}
seeds: [0, 1]
fractions: [0.5, 1.0]
search: {grid: {optimizer.dense.lr: [1e-5, 1e-2, 1e30]}}
ladders:
  - recipe: base.yaml
    sizes: [{model.hidden: [4]}, {model.hidden: [8]}]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    spec = validate(parse(DATASET, "tiny.yaml"), DatasetSpec)
    prepare(spec, Options(out, out=out))
    return out


def planned(folder: Path, data: Path, text: str = SWEEP) -> Sweep:
    (folder / "base.yaml").write_text("data: tiny\nmodel: {name: mlp}\n")
    (folder / "sweep.yaml").write_text(text)
    spec, entries = expand(folder / "sweep.yaml")
    return Sweep(spec, entries, {"tiny": manifests.read(data / "tiny")}, folder / "out")


def silent(running: list[Job]) -> None:
    assert all(job.entry for job in running)


def carry_out(sweep: Sweep, executor: InProcess) -> list[Event]:
    events: list[Event] = []
    path = sweep.folder / "sweep.json"
    save: Callable[[], None] = lambda: write(path, summarize(sweep))  # noqa: E731
    execute(sweep, executor, data=executor.data, threads=1, report=events.append, save=save, tick=silent)
    return events


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[Event]]:
    folder = tmp_path_factory.mktemp("sweep")
    return folder, carry_out(planned(folder, data), InProcess(data))


def test_all_trials_run_before_one_run_per_seed(finished: tuple[Path, list[Event]]) -> None:
    folder, events = finished
    assert len(events) == 4 * (3 + 2)
    assert [event.done for event in events] == list(range(1, 21))
    assert {event.total for event in events} == {20}
    runs = [path.name.rpartition("-")[0] for path in (folder / "out/study/runs").iterdir()]
    assert sorted(runs) == sorted(["mlp-1-0.5", "mlp-1-1", "mlp-2-0.5", "mlp-2-1"] * 2)
    # Of two runs of an entry, one is the best trial and is not trained again.
    assert sum(event.was_complete for event in events) == 4


def test_the_trial_of_lowest_validation_loss_is_chosen_and_recorded(
    finished: tuple[Path, list[Event]],
) -> None:
    folder, _ = finished
    summary = json.loads((folder / "out/study/sweep.json").read_text())
    assert (summary["status"], summary["counts"]) == (
        "complete", {"complete": 16, "diverged": 4, "failed": 0, "pruned": 0, "total": 20},
    )  # fmt: skip
    for entry in summary["entries"]:
        values = {trial["setting"]["optimizer.dense.lr"]: trial["value"] for trial in entry["trials"]}
        assert values[1e30] is None
        best = min((1e-5, 1e-2), key=values.__getitem__)
        assert entry["chosen"]["setting"] == {"optimizer.dense.lr": best}
        assert entry["chosen"]["value"] == values[best]
        assert entry["chosen"]["why"] == (
            "lowest valid logloss of 3 trials with seed 0, 1 of them without a result"
        )
        assert entry["budget"]["trials"] == 3
        losses = [run["metrics"]["test"]["logloss"] for run in entry["runs"]]
        assert entry["metrics"]["test"]["logloss"]["mean"] == pytest.approx(sum(losses) / 2)
        assert entry["metrics"]["test"]["logloss"]["n"] == 2
        assert [run["seed"] for run in entry["runs"]] == [0, 1]


def test_a_fraction_limits_the_examples(finished: tuple[Path, list[Event]]) -> None:
    folder, _ = finished
    summary = json.loads((folder / "out/study/sweep.json").read_text())
    assert {(e["fraction"], run["examples"]) for e in summary["entries"] for run in e["runs"]} == {
        (0.5, 200), (1.0, 400),
    }  # fmt: skip


def test_a_repeated_sweep_trains_nothing_and_has_the_same_summary(
    finished: tuple[Path, list[Event]], data: Path
) -> None:
    folder, _ = finished
    path = folder / "out/study/sweep.json"
    before, executor = path.read_text(), InProcess(data)
    events = carry_out(planned(folder, data), executor)
    assert executor.started == []
    assert all(event.was_complete for event in events)
    assert path.read_text() == before


def test_a_failed_run_is_recorded_and_retried_by_the_next_call(tmp_path: Path, data: Path) -> None:
    text = SWEEP.replace("[1e-5, 1e-2, 1e30]", "[1e-2]").replace("[0.5, 1.0]", "[1.0]")
    sweep = planned(tmp_path, data, text)
    carry_out(sweep, InProcess(data, fail="mlp-2"))
    summary = summarize(sweep)
    assert summary["status"] == "partial"
    assert summary["entries"][0]["chosen"] is not None
    assert summary["entries"][1]["chosen"] is None
    assert summary["entries"][1]["trials"][0]["message"] == "disk full"
    executor = InProcess(data)
    again = planned(tmp_path, data, text)
    carry_out(again, executor)
    assert set(executor.started) == {"mlp-2"}
    assert summarize(again)["status"] == "complete"


def test_a_signal_stops_the_sweep_and_the_next_call_resumes_it(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        carry_out(planned(tmp_path, data), InProcess(data, interrupt="mlp-2"))
    assert caught.value.exit_code == 143
    assert json.loads((tmp_path / "out/study/sweep.json").read_text())["status"] == "partial"
    executor = InProcess(data)
    sweep = planned(tmp_path, data)
    carry_out(sweep, executor)
    assert not any(name.startswith("mlp-1-0.5") for name in executor.started)
    assert summarize(sweep)["status"] == "complete"


def test_a_search_needs_a_validation_split(tmp_path: Path) -> None:
    spec = validate(parse(DATASET.replace("valid: 1, test: 1", "test: 1"), "tiny.yaml"), DatasetSpec)
    prepare(spec, Options(tmp_path, out=tmp_path / "bare"))
    with pytest.raises(UsageError, match="no validation split to select trials on"):
        planned(tmp_path, tmp_path / "bare")


def test_a_failed_process_has_a_one_line_message() -> None:
    folder = Path("x")
    assert Exit(folder, 0, "").message is None
    assert Exit(folder, 1, "note\n" + '{"message": "disk full", "hint": null}').message == "disk full"
    assert Exit(folder, 2, '{"message": "no", "hint": "say yes"}').message == "no; say yes"
    assert Exit(folder, 1, "[1]").message == "[1]"
    assert Exit(folder, 1, "Traceback\nValueError: no").message == "ValueError: no"
    assert Exit(folder, -9, "").message == "killed by SIGKILL"
    assert Exit(folder, 3, "").message == "ended with exit code 3 and no message"


def test_a_run_resumes_with_its_number_of_threads(tmp_path: Path, data: Path) -> None:
    sweep = planned(tmp_path, data, "name: s\nladders: [{recipe: base.yaml}]\nset: {batch_size: 100}\n")
    carry_out(sweep, InProcess(data))
    (entry,) = sweep.entries
    (job,) = sweep.runs(entry)
    begun = job.folder.info()
    assert begun is not None
    assert begun.execution is not None
    (job.folder.path / "result.json").unlink()
    threads = begun.execution.threads + 3
    execution = begun.execution.model_copy(update={"threads": threads})
    job.folder.write_info(begun.model_copy(update={"execution": execution}))
    resumed = InProcess(data, fail="mlp")
    carry_out(planned(tmp_path, data, (tmp_path / "sweep.yaml").read_text()), resumed)
    assert resumed.threads == [threads]


def test_a_group_in_the_sweep_gives_every_entry_its_gauc(tmp_path: Path, data: Path) -> None:
    text = "name: s\nladders: [{recipe: base.yaml}]\nseeds: [0, 1]\nset: {batch_size: 100, group: c0}\n"
    sweep = planned(tmp_path, data, text)
    carry_out(sweep, InProcess(data))
    (entry,) = json.loads((sweep.folder / "sweep.json").read_text())["entries"]
    for split in ("valid", "test"):
        measured = [run["metrics"][split]["gauc"] for run in entry["runs"]]
        assert entry["metrics"][split]["gauc"]["mean"] == pytest.approx(sum(measured) / 2)
    with pytest.raises(WukongError) as failure:
        planned(tmp_path, data, text.replace("group: c0", "group: c7"))
    (problem,) = failure.value.problems
    assert (problem.line, problem.message) == (4, "`tiny` has no categorical column `c7` to group by")


def test_stop_counts_every_run_that_is_done(tmp_path: Path, data: Path) -> None:
    """Also those of entries that this call did not come to, and those that end while others are stopped."""
    carry_out(planned(tmp_path, data), InProcess(data))
    sweep = planned(tmp_path, data)
    (first, *others) = sweep.trials(sweep.entries[0])
    shutil.rmtree(first.folder.path)
    kept = tmp_path / "kept"
    others[0].folder.path.rename(kept)

    class EndsLate(InProcess):
        def stop(self) -> None:
            if kept.exists():
                shutil.rmtree(others[0].folder.path, ignore_errors=True)
                kept.rename(others[0].folder.path)

    with pytest.raises(Interrupted, match=r"^stopped with 17 of 20 runs done$"):
        carry_out(sweep, EndsLate(data, interrupt=first.folder.path.name))
    assert json.loads((sweep.folder / "sweep.json").read_text())["counts"]["total"] == 20


SCALED = """\
name: scaled
scale_rates: mup
set: {batch_size: 100, threads: 1, max_examples: 200}
seeds: [0, 1]
search: {grid: {optimizer.dense.lr: [1e-4, 1e-2]}}
ladders:
  - recipe: base.yaml
    set: {model.hidden: [4]}
    sizes: [{model.width: 4}, {model.width: 16, model.hidden: [8]}]
"""


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[Event]]:
    folder = tmp_path_factory.mktemp("scaled")
    return folder, carry_out(planned(folder, data, SCALED), InProcess(data))


def test_only_the_smallest_size_is_searched(scaled: tuple[Path, list[Event]], data: Path) -> None:
    folder, events = scaled
    assert [(event.job.entry, event.job.kind) for event in events] == [
        *[("mlp-1", "trial")] * 2, *[("mlp-1", "run")] * 2, *[("mlp-2", "run")] * 2,
    ]  # fmt: skip
    small, large = json.loads((folder / "out/scaled/sweep.json").read_text())["entries"]
    assert (len(small["trials"]), small["budget"]["trials"]) == (2, 2)
    assert (large["trials"], large["budget"]) == ([], None)
    assert large["chosen"] == {
        "setting": small["chosen"]["setting"],
        "value": None,
        "why": "transferred from `mlp-1`",
        "at_edge": [],
    }
    assert (large["base"], large["scale_rates"]) == ("mlp-1", "mup")
    assert "base" not in small
    # Fan-ins: 4 embeddings of 4 and 16; 4 and 8 hidden values.
    assert large["rates"] == {
        "model.embedding_init": 0.5,
        "model.logit_scale": 0.707107,
        "optimizer.dense.lr": small["chosen"]["setting"]["optimizer.dense.lr"],
        "optimizer.embedding.lr": 1e-2,
        "optimizer.factors": {"mlp.steps.0.weight": 0.25, "mlp.steps.2.weight": 0.5},
    }
    assert list(planned(folder, data, SCALED).folder.glob("trials/mlp-2*")) == []


def test_the_recipe_of_a_run_trains_the_same_run_without_the_sweep(
    scaled: tuple[Path, list[Event]], data: Path, tmp_path: Path
) -> None:
    job, outcome = next((e.job, e.outcome) for e in scaled[1] if e.job.entry == "mlp-2")
    alone = TrainingSpec.from_dict(validate_yaml(job.folder.path / "recipe.yaml"))
    assert alone.optimizer.factors["mlp.steps.2.weight"] == 0.5
    run = train(alone, data=data, out=tmp_path, report=lambda _: None)
    assert run.folder.name == job.folder.path.name
    assert outcome.result is not None
    assert run.result.metrics == outcome.result.metrics


def test_a_sweep_with_transferred_rates_resumes(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Interrupted):
        carry_out(planned(tmp_path, data, SCALED), InProcess(data, interrupt="mlp-2"))
    sweep = planned(tmp_path, data, SCALED)
    sweep.load_recorded()
    assert [sweep.left(entry) for entry in sweep.entries] == [0, 2]
    executor = InProcess(data)
    sweep = planned(tmp_path, data, SCALED)
    carry_out(sweep, executor)
    assert executor.started == ["mlp-2", "mlp-2"]
    summary = summarize(sweep)
    assert (summary["status"], summary["counts"]["total"]) == ("complete", 6)
    assert sweep.stale() == []


def test_without_a_search_the_rates_of_the_recipe_are_those_of_the_first_size(
    tmp_path: Path, data: Path
) -> None:
    sweep = planned(tmp_path, data, SCALED.replace("search:", "# ").replace("mup", "sqrt"))
    first, second = (sweep.runs(entry)[0].recipe.optimizer for entry in sweep.entries)
    assert first.factors == {}
    assert second.factors == {"mlp.steps.0.weight": 0.5, "mlp.steps.2.weight": 0.707107}
    assert first.dense == second.dense


def test_a_factor_of_no_weight_is_found_before_anything_trains(tmp_path: Path, data: Path) -> None:
    setting = "set: {batch_size: 100, optimizer.factors: {mlp.steps.9.weight: 0.5}, "
    with pytest.raises(RecipeError) as caught:
        planned(tmp_path, data, SCALED.replace("set: {batch_size: 100, ", setting))
    problems = {(problem.line, problem.message) for problem in caught.value.problems}
    assert problems == {
        (3, "`optimizer.factors` names `mlp.steps.9.weight`, which is no dense weight of the model")
    }


def test_sizes_in_the_wrong_order_are_refused(tmp_path: Path, data: Path) -> None:
    sizes = "sizes: [{model.width: 4}, {model.width: 16, model.hidden: [8]}]"
    turned = SCALED.replace(sizes, "sizes: [{model.width: 16}, {model.width: 8}]")
    with pytest.raises(UsageError, match="`mlp-2` is smaller than `mlp-1`"):
        planned(tmp_path, data, turned)
    planned(tmp_path, data, turned.replace("scale_rates: mup\n", ""))
