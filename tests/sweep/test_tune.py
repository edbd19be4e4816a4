"""Tuning with simulated runs, whose metric is a known function of the recipe.

Budgets, pruning, determinism and resuming are tested without training; one test trains.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.in_process import InProcess
from tests.sweep.test_sweep import DATASET, silent
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load, validate
from wukongctl.config.positions import parse
from wukongctl.config.search_space import own_value
from wukongctl.config.space_options import SpaceOption
from wukongctl.config.training import TrainingSpec
from wukongctl.data import recipes
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import Interrupted, RunFailed, UsageError
from wukongctl.runs.folders import RunRecord, run_folders
from wukongctl.sweep import study
from wukongctl.sweep.best import write_best
from wukongctl.sweep.candidates import read
from wukongctl.sweep.executors import Exit
from wukongctl.sweep.summary import summarize
from wukongctl.sweep.sweep import Event, execute, write
from wukongctl.sweep.tune import Budget, Tuning
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import Flops, Params, RunInfo, RunResult, TrainedOn
from wukongctl.training.train import train

EPOCHS = 4
BASE = f"""\
data: tiny
batch_size: 100
epochs: {EPOCHS}
threads: 1
early_stopping: {{metric: auc}}
"""
MLP = "model: {name: mlp, width: 8, hidden: [64]}\n"
FM = "model: {name: fm, width: 8}\n"


class Killed(BaseException):
    """The process is gone: nothing is saved or reported."""


def quality(recipe: TrainingSpec) -> float:
    """Best at a dense learning rate of 3e-3 and an embedding width of 16."""
    rate = math.log10(recipe.optimizer.dense.lr / 3e-3)
    width = math.log2(recipe.model.width / 16)
    return 0.8 - 0.05 * rate**2 - 0.01 * width**2


class SimulatedRuns:
    """Runs that end one evaluation per `wait`. `dies_at` is the number of the wait that kills us;
    `diverges` and `fails` say which recipes do."""

    def __init__(
        self,
        data: Path,
        jobs: int = 1,
        *,
        dies_at: int | None = None,
        diverges: Callable[[TrainingSpec], bool] = lambda recipe: False,
        fails: Callable[[TrainingSpec], bool] = lambda recipe: False,
    ) -> None:
        self.data, self.jobs, self.dies_at = data, jobs, dies_at
        self.diverges, self.fails = diverges, fails
        self.running: dict[Path, Iterator[bool]] = {}
        self.started: list[TrainingSpec] = []
        self.trials: list[Path] = []
        self.tested: list[Path] = []
        self.cancelled: list[Path] = []
        self.waits = 0
        self.most = 0

    def start(self, folder: Path, command: list[str], threads: int, *, on_gpu: bool) -> None:
        recipe = load(folder / "recipe.yaml", TrainingSpec)
        self.started.append(recipe)
        if "--skip-test" in command:
            self.trials.append(folder)
        else:
            self.tested.append(folder)
        self.running[folder] = self._train(folder, recipe, "--skip-test" not in command)
        self.most = max(self.most, len(self.running))

    def _train(self, folder: Path, recipe: TrainingSpec, test: bool) -> Iterator[bool]:
        run, best = RunFolder(folder), quality(recipe)
        fingerprint = json.loads((self.data / "tiny/manifest.json").read_text())["fingerprint"]
        run.write_info(
            RunInfo(
                format_version=1, run=folder.name, model=recipe.model.name, curve=recipe.curve_name,
                seed=recipe.seed, recipe=recipe.to_dict(),
                data=TrainedOn(dataset="tiny", fingerprint=fingerprint),
                flops=Flops(gflop_per_example=1e-6), params=Params(dense=1, embedding=1),
            )
        )  # fmt: skip
        run.metrics.write_bytes(b"")
        for epoch in range(1, EPOCHS + 1):
            if epoch == 2 and self.diverges(recipe):
                run.write_result(RunResult(status="diverged", step=5, metrics={}, seconds=1.0))
                break
            step = 4 * epoch
            line = {"step": step, "split": "train", "examples": 400 * epoch, "loss": 1 - best}
            run.append_metrics((json.dumps(line) + "\n").encode())
            line = {"step": step, "split": "valid", "auc": best - 0.1 / epoch, "logloss": 1 - best}
            run.append_metrics((json.dumps(line) + "\n").encode())
            yield False
        else:
            metrics = {"auc": best - 0.1 / EPOCHS, "logloss": 1 - best}
            found = {"valid": metrics} | ({"test": metrics} if test else {})
            result = RunResult(status="complete", step=step, examples=1600, metrics=found, seconds=2.0)
            run.write_result(result)
        yield True

    def wait(self, keep_waiting: Callable[[], bool]) -> Exit | None:
        while keep_waiting():
            self.waits += 1
            if self.waits == self.dies_at:
                raise Killed
            for folder, training in list(self.running.items()):
                if folder in self.cancelled or next(training):
                    del self.running[folder]
                    return Exit(folder, 143 if folder in self.cancelled else 0, "")
                if self.fails(self.started[-1]):
                    del self.running[folder]
                    return Exit(folder, 1, '{"message": "disk full"}')
        return None

    def cancel(self, folder: Path) -> None:
        self.cancelled.append(folder)

    def stop(self) -> None:
        self.running.clear()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    prepare(validate(parse(DATASET, "tiny.yaml"), DatasetSpec), Options(out, out=out))
    return out


def planned(
    folder: Path,
    data: Path,
    *,
    trials: int | None = 14,
    seconds: float | None = None,
    models: tuple[str, ...] = (MLP,),
    overrides: tuple[str, ...] = (),
    spaces: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1),
) -> Tuning:
    paths = []
    for number, model in enumerate(models):
        paths.append(folder / f"mine{number}.yaml")
        paths[-1].write_text(BASE + model)
    wanted = [SpaceOption.parse(text) for text in spaces]
    found, manifests = read(paths, overrides, wanted, data, seed=seeds[0])
    return Tuning(found, manifests, folder / "out", budget=Budget(trials, seconds), seeds=seeds)


def carry_out(tuning: Tuning, executor: Any) -> list[Event]:
    events: list[Event] = []
    path = tuning.folder / "sweep.json"
    save: Callable[[], None] = lambda: write(path, summarize(tuning))  # noqa: E731
    execute(tuning, executor, data=executor.data, threads=1, report=events.append, save=save, tick=silent)
    return events


def trials_of(tuning: Tuning) -> list[tuple[Any, ...]]:
    """The settings tried and their results, by entry."""
    entries = summarize(tuning)["entries"]
    return [(e["name"], t["setting"], t["status"], t["value"]) for e in entries for t in e["trials"]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, Tuning, SimulatedRuns]:
    folder = tmp_path_factory.mktemp("tuning")
    tuning, executor = planned(folder, data, models=(MLP, FM)), SimulatedRuns(data)
    carry_out(tuning, executor)
    return folder, tuning, executor


def test_recipes_get_the_same_budget_and_one_run_per_seed(
    finished: tuple[Path, Tuning, SimulatedRuns],
) -> None:
    _, tuning, _ = finished
    summary = summarize(tuning)
    assert (summary["sweep"], summary["status"]) == ("tune-tiny", "complete")
    assert [entry["budget"]["trials"] for entry in summary["entries"]] == [14, 14]
    for entry in summary["entries"]:
        assert [run["seed"] for run in entry["runs"]] == [0, 1]
        assert all(run["status"] == "complete" for run in entry["runs"])


def test_the_first_trial_is_the_unchanged_recipe(
    finished: tuple[Path, Tuning, SimulatedRuns], data: Path
) -> None:
    folder, tuning, executor = finished
    first = executor.started[0]
    own = recipes.load(folder / "mine0.yaml", data)  # with the default rules for its dataset
    assert own.schedule.decay == "linear"
    assert first.model_copy(update={"name": None, "curve": None}).digest() == own.digest()
    entry = summarize(tuning)["entries"][0]
    assert entry["trials"][0]["setting"]["model.hidden"] == [64]
    assert entry["trials"][0]["value"] == pytest.approx(quality(own) - 0.1 / EPOCHS)


def test_trials_differ_only_in_keys_of_their_search_space(
    finished: tuple[Path, Tuning, SimulatedRuns],
) -> None:
    _, tuning, executor = finished
    (mlp, fm) = tuning.candidates.values()
    assert "model.dropout" in mlp.space
    assert "model.dropout" not in fm.space
    for recipe in executor.started:
        candidate = tuning.candidates[recipe.model.name]
        assert 1e-4 <= recipe.optimizer.dense.lr <= 3e-2
        assert recipe.model.width in (8, 16, 32, 64)
        assert (recipe.epochs, recipe.threads, recipe.data) == (EPOCHS, 1, "tiny")
        kept = candidate.trial({key: own_value(recipe, key) for key in candidate.space})
        assert kept is not None
        assert kept.recipe.model_copy(update={"seed": recipe.seed}).digest() == recipe.digest()


def test_the_best_trial_on_validation_alone_is_evaluated_on_test(
    finished: tuple[Path, Tuning, SimulatedRuns],
) -> None:
    _, tuning, executor = finished
    for entry in summarize(tuning)["entries"]:
        complete = [trial for trial in entry["trials"] if trial["status"] == "complete"]
        assert entry["chosen"]["value"] == max(trial["value"] for trial in complete)
        assert entry["chosen"]["value"] > entry["trials"][0]["value"]
        assert "highest valid auc of 14 trials with seed 0" in entry["chosen"]["why"]
    assert {folder.parent.name for folder in executor.tested} == {"runs"}
    assert len(executor.tested) == 4
    assert all("test" not in json.loads(result.read_text())["metrics"]
               for result in tuning.folder.glob("trials/*/result.json"))  # fmt: skip


def test_bad_trials_are_pruned_with_a_reason(finished: tuple[Path, Tuning, SimulatedRuns]) -> None:
    _, tuning, executor = finished
    pruned = [trial for trial in trials_of(tuning) if trial[2] == "pruned"]
    assert pruned
    assert len(executor.cancelled) == len(pruned)
    complete = [trial[3] for trial in trials_of(tuning) if trial[2] == "complete"]
    for folder in executor.cancelled:
        run = RunRecord.read(folder)
        assert run.status == "pruned"
        assert run.result is not None
        assert run.result.examples < 1600
        assert run.result.metrics["valid"]["auc"] < sorted(complete)[len(complete) // 2]
    for name in ("mlp", "fm"):
        first = [trial[2] for trial in trials_of(tuning) if trial[0] == name][: study.FULL_TRIALS]
        assert set(first) == {"complete"}


def test_its_folder_is_a_sweep_folder(finished: tuple[Path, Tuning, SimulatedRuns]) -> None:
    _, tuning, _ = finished
    runs = [RunRecord.read(folder) for folder in run_folders([tuning.folder])]
    assert sorted((run.info.curve_name, run.info.seed) for run in runs) == [
        ("fm", 0), ("fm", 1), ("mlp", 0), ("mlp", 1),
    ]  # fmt: skip
    statuses = {RunRecord.read(folder).status for folder in run_folders([tuning.folder / "trials"])}
    assert statuses == {"complete", "pruned"}


def test_a_finished_tuning_is_reported_again_without_training(
    finished: tuple[Path, Tuning, SimulatedRuns], data: Path
) -> None:
    folder, before, _ = finished
    again, executor = planned(folder, data, models=(MLP, FM)), SimulatedRuns(data)
    text = (before.folder / "sweep.json").read_text()
    carry_out(again, executor)
    assert executor.started == []
    assert (again.folder / "sweep.json").read_text() == text or trials_of(again) == trials_of(before)
    assert trials_of(again) == trials_of(before)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, data: Path) -> list[tuple[Any, ...]]:
    """The trials of one recipe, without interruption."""
    tuning = planned(tmp_path_factory.mktemp("alone"), data)
    carry_out(tuning, SimulatedRuns(data))
    return trials_of(tuning)


@pytest.mark.parametrize(
    "dies_at", [2, 26, 60, *(pytest.param(wait, marks=pytest.mark.slow) for wait in (1, 7, 44))]
)
def test_a_killed_tuning_resumes_with_the_same_trials(
    tmp_path: Path, data: Path, alone: list[tuple[Any, ...]], dies_at: int
) -> None:
    before = SimulatedRuns(data, dies_at=dies_at)
    with pytest.raises(Killed):
        carry_out(planned(tmp_path, data), before)
    with (tmp_path / "out/tune-tiny-mlp/study.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"work')  # a line that was being written
    after, tuning = SimulatedRuns(data), planned(tmp_path, data)
    carry_out(tuning, after)
    assert trials_of(tuning) == alone
    assert len(before.trials) + len(after.trials) in (14, 15)  # the one that was cut short, again


def test_proposals_depend_on_the_seed(tmp_path: Path, data: Path) -> None:
    tried = []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        tuning = planned(folder, data, trials=12, seeds=(seed,))
        carry_out(tuning, SimulatedRuns(data))
        tried.append(trials_of(tuning))
    assert tried[0] == tried[1]
    assert tried[0][1] != tried[2][1]


def test_a_larger_budget_adds_trials(tmp_path: Path, data: Path) -> None:
    carry_out(planned(tmp_path, data, trials=3), SimulatedRuns(data))
    executor, more = SimulatedRuns(data), planned(tmp_path, data, trials=5)
    carry_out(more, executor)
    assert len(trials_of(more)) == 5
    assert 2 <= len(executor.started) <= 4  # two trials, and the runs of a new best trial
    fewer, executor = planned(tmp_path, data, trials=2), SimulatedRuns(data)
    carry_out(fewer, executor)
    assert len(trials_of(fewer)) == 5
    assert executor.started == []


def test_a_budget_of_seconds_ends_after_the_trial_that_exceeds_it(tmp_path: Path, data: Path) -> None:
    tuning = planned(tmp_path, data, trials=None, seconds=7, models=(MLP, FM))
    carry_out(tuning, SimulatedRuns(data))
    assert [entry["budget"]["trials"] for entry in summarize(tuning)["entries"]] == [4, 4]  # of two seconds


def test_trials_run_in_parallel(tmp_path: Path, data: Path) -> None:
    executor, tuning = SimulatedRuns(data, jobs=3), planned(tmp_path, data, models=(MLP, FM))
    carry_out(tuning, executor)
    assert executor.most == 3
    assert [entry["budget"]["trials"] for entry in summarize(tuning)["entries"]] == [14, 14]
    assert summarize(tuning)["status"] == "complete"


def test_a_setting_proposed_twice_is_trained_once(tmp_path: Path, data: Path) -> None:
    fixed = ("optimizer={}", "model={name: fm}", "batch_size=100")
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        tuning = planned(folder, data, trials=6, overrides=fixed, spaces=("schedule.warmup=[0.0, 0.1]",))
        executor = SimulatedRuns(data, jobs)
        carry_out(tuning, executor)
        assert len(trials_of(tuning)) == 6
        trained = [recipe.digest() for recipe in executor.started if recipe.seed == 0]
        assert len(trained) == len(set(trained)) + 1 <= 3  # once more for the test split


def test_a_diverged_trial_uses_budget_and_the_search_continues(tmp_path: Path, data: Path) -> None:
    executor = SimulatedRuns(data, diverges=lambda recipe: recipe.optimizer.dense.lr > 5e-3)
    tuning = planned(tmp_path, data, trials=12)
    carry_out(tuning, executor)
    counts = summarize(tuning)["counts"]
    assert counts["diverged"] > 0
    assert len(trials_of(tuning)) == 12
    again, executor = planned(tmp_path, data, trials=12), SimulatedRuns(data)
    carry_out(again, executor)
    assert executor.started == []
    assert trials_of(again) == trials_of(tuning)


def test_nothing_is_chosen_when_all_trials_diverge(tmp_path: Path, data: Path) -> None:
    tuning = planned(tmp_path, data, trials=3)
    carry_out(tuning, SimulatedRuns(data, diverges=lambda recipe: True))
    (entry,) = tuning.entries
    assert tuning.choice(entry) is None
    assert write_best(tuning, entry, "wukongctl tune") is None
    assert summarize(tuning)["status"] == "partial"


def test_a_failed_trial_is_retried_by_the_next_call(tmp_path: Path, data: Path) -> None:
    tuning = planned(tmp_path, data, trials=4)
    carry_out(
        tuning, SimulatedRuns(data, fails=lambda recipe: recipe.model.width == 64 or recipe.batch_size == 25)
    )
    failed = [trial for trial in trials_of(tuning) if trial[2] == "failed"]
    assert 0 < len(failed) < 4
    assert len(trials_of(tuning)) == 4
    again = planned(tmp_path, data, trials=4)
    carry_out(again, SimulatedRuns(data))
    assert [trial[1] for trial in trials_of(again)] == [trial[1] for trial in trials_of(tuning)]
    assert not [trial for trial in trials_of(again) if trial[2] == "failed"]


def test_settings_that_cannot_be_trained_do_not_count(tmp_path: Path, data: Path) -> None:
    """400 rows in batches of 57 leave a single one, which batch norm rejects."""
    model = "model: {name: mlp, width: 8, hidden: [8], batch_norm: true}\n"
    tuning = planned(tmp_path, data, trials=5, models=(model,), spaces=("batch_size=[57, 100, 133, 200]",))
    executor = SimulatedRuns(data)
    carry_out(tuning, executor)
    assert len(trials_of(tuning)) == 5
    assert {recipe.batch_size for recipe in executor.started} <= {100, 200}
    with pytest.raises(RunFailed, match="50 settings in a row are invalid for `mlp`, the last is"):
        carry_out(
            planned(tmp_path, data, models=(model,), spaces=("batch_size=[57, 133]",)), SimulatedRuns(data)
        )


def test_the_space_option_defines_the_search_space(tmp_path: Path, data: Path) -> None:
    tuning = planned(
        tmp_path, data, trials=6, models=(MLP, FM), overrides=("optimizer.dense.lr=2e-3",),
        spaces=("model.width=[8, 24]", "model.hidden=[[8], [8, 8]]", "schedule.warmup=0..0.2"),
    )  # fmt: skip
    mlp, fm = tuning.candidates.values()
    assert "optimizer.dense.lr" not in mlp.space
    assert {"model.width", "model.hidden", "schedule.warmup"} <= set(mlp.space)
    assert "model.hidden" not in fm.space
    executor = SimulatedRuns(data)
    carry_out(tuning, executor)
    assert {recipe.optimizer.dense.lr for recipe in executor.started} == {2e-3}
    assert {recipe.model.width for recipe in executor.started} == {8, 24}


@pytest.mark.parametrize(
    ("spaces", "overrides", "message"),
    [
        (("model.widht=8..16",), (), "--space model.widht=8..16: unknown key `widht` .did you mean `width`."),
        (("model.dropout=0..2",), (), "--space model.dropout=0..2: `model.dropout` is `2.*`, expected"),
        (("model.width=8..16",), ("model.width=8",), "searches a key that `--set` fixes"),
        ((), ("model={name: fm}", "optimizer={}", "batch_size=1"), "no key is left to search"),
    ],
)  # fmt: skip
def test_an_invalid_space_is_rejected(
    tmp_path: Path, data: Path, spaces: tuple[str, ...], overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, data, spaces=spaces, overrides=overrides)
    said = [str(problem) for problem in caught.value.problems] or [caught.value.message]
    assert any(re.search(message, line) for line in said), said


def test_recipes_of_the_same_name_are_rejected(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="two recipes have the name `tiny-mlp`"):
        planned(tmp_path, data, models=(MLP, MLP))
    tuning = planned(tmp_path, data, models=(MLP, MLP + "name: other\n"))
    assert list(tuning.candidates) == ["mlp", "other"]


def test_a_dataset_without_a_validation_split_is_rejected(tmp_path: Path) -> None:
    spec = validate(parse(DATASET.replace("valid: 1, test: 1", "test: 1"), "tiny.yaml"), DatasetSpec)
    prepare(spec, Options(tmp_path, out=tmp_path / "bare"))
    with pytest.raises(UsageError, match="`tiny` has no validation split to select trials on"):
        planned(tmp_path, tmp_path / "bare")


def test_each_recipe_space_and_seed_has_its_own_study(tmp_path: Path, data: Path) -> None:
    carry_out(planned(tmp_path, data, trials=3), SimulatedRuns(data))
    for change in ({"overrides": ("epochs=5",)}, {"spaces": ("model.width=[8, 16]",)}, {"seeds": (7, 8)}):
        tuning = planned(tmp_path, data, trials=3, **change)
        executor = SimulatedRuns(data)
        carry_out(tuning, executor)
        assert len(trials_of(tuning)) == 3
        assert len(executor.started) >= 3


def test_the_best_recipe_trains_to_the_same_metric(tmp_path: Path, data: Path) -> None:
    """With real training: the file, the run of the search's seed, and the best trial agree."""
    tuning = planned(tmp_path, data, trials=2, overrides=("epochs=1",), seeds=(3,))
    carry_out(tuning, InProcess(data))
    (entry,) = tuning.entries
    best = write_best(tuning, entry, "wukongctl tune mine0.yaml --trials 2")
    assert best is not None
    text = best.path.read_text()
    assert text.startswith("# mlp on tiny, tuned: highest valid auc of 2 trials with seed 3 (")
    assert "# wukongctl tune mine0.yaml --trials 2\n" in text
    assert "# Test, seeds 3: AUC 0." in text
    recipe = recipes.load(best.path, data)
    assert recipe.digest() == entry.trials[tuning.choice(entry).index].recipe.digest()
    outcome = train(recipe, data=data, out=tmp_path / "runs", report=lambda progress: None)
    summary = summarize(tuning)["entries"][0]
    assert outcome.result.metrics["valid"]["auc"] == summary["chosen"]["value"]
    (run,) = summary["runs"]
    assert outcome.result.metrics == run["metrics"]
    assert set(run["metrics"]) == {"valid", "test"}


def test_a_signal_stops_the_search_with_a_hint_to_resume(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        carry_out(planned(tmp_path, data, trials=3), InProcess(data, interrupt="mlp"))
    assert caught.value.message == "stopped with 0 of 5 runs done"
    assert caught.value.hint == "run the same command again to resume"


def test_lightgbm_is_tuned_like_other_models(tmp_path: Path, data: Path) -> None:
    """With real training; the recipe sets no metric, so AUC is used."""
    (tmp_path / "trees.yaml").write_text(
        "data: tiny\nmodel: {name: lightgbm, num_iterations: 5}\nthreads: 1\n"
    )
    found, manifests = read([tmp_path / "trees.yaml"], (), [], data, seed=0)
    tuning = Tuning(found, manifests, tmp_path / "out", budget=Budget(6), seeds=(0,))
    carry_out(tuning, InProcess(data))
    assert tuning.spec.name == "tune-tiny-lightgbm"
    (entry,) = summarize(tuning)["entries"]
    assert [trial["status"] for trial in entry["trials"]] == ["complete"] * 6
    assert entry["chosen"]["value"] == max(trial["value"] for trial in entry["trials"])
    assert entry["budget"]["chosen_on"] == "valid auc"
    assert set(entry["metrics"]) == {"valid", "test"}
