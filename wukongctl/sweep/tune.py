"""Tuning: a sweep whose trials are proposed one by one, based on the results of earlier ones.

    <out>/<name>/
        trials/, runs/, sweep.json    as in any sweep
        study.journal                 the Optuna study
        best-<entry>.yaml             the best recipe, written at the end

Trials are compared on the validation split; only the runs of the best one are evaluated on the test split.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from wukongctl.config.entries import Entry, Trial
from wukongctl.config.sweep import Ladder, Search, SweepSpec
from wukongctl.config.training import TrainingSpec, WatchedMetric
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RecipeError, RunFailed, UsageError
from wukongctl.sweep.candidates import Candidate
from wukongctl.sweep.choice import Choice
from wukongctl.sweep.executors import Executor
from wukongctl.sweep.fitting import require_fitting
from wukongctl.sweep.study import Study, TrialRecord, open_storage
from wukongctl.sweep.sweep import Job, JobResult, Sweep
from wukongctl.training.checkpoint import CheckpointFolder
from wukongctl.training.metrics import METRICS
from wukongctl.training.plan import total_steps
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult

JOURNAL = "study.journal"
MOST_REJECTED = 50
"""Give up after this many consecutive proposals that are invalid or already in training."""


@dataclass(frozen=True)
class Budget:
    """Budget per recipe: trials, seconds of training, or both, whichever is used up first."""

    trials: int | None
    seconds: float | None = None

    def is_left(self, trials: int, seconds: float) -> bool:
        """Whether another trial may start after `trials` trials that took `seconds`."""
        return (self.trials is None or trials < self.trials) and (
            self.seconds is None or seconds < self.seconds
        )


@dataclass
class _Open:
    """A trial that has not ended."""

    study: Study
    number: int
    evaluations: int
    """Number of evaluations without early stopping."""
    started: float = 0.0
    bytes_seen: int = 0
    """Size of its metrics file when last read."""
    is_pruned: bool = False


class Tuning(Sweep):
    """The trials and runs of a tuning and their results."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        manifests: dict[str, Manifest],
        out: Path,
        *,
        budget: Budget,
        seeds: tuple[int, ...],
    ) -> None:
        self.candidates = {candidate.name: candidate for candidate in candidates}
        self.budget, self.seed = budget, seeds[0]
        self.asked = dict.fromkeys(self.candidates, 0)
        self.studies: dict[str, Study] = {}
        self.open: dict[Path, _Open] = {}
        ladders = tuple(Ladder(recipe=str(candidate.path)) for candidate in candidates)
        spec = SweepSpec(name=_name(candidates), ladders=ladders, seeds=seeds)
        super().__init__(spec, tuple(candidate.entry() for candidate in candidates), manifests, out)

    def begin(self) -> None:
        """Open the studies; queue interrupted trials first, then the runs of finished searches."""
        storage = open_storage(self.folder / JOURNAL)
        for name, candidate in self.candidates.items():
            study = self.studies[name] = self._study(storage, candidate)
            for record in study.records():
                self._restore(candidate, record)
        for entry in self.entries:
            self.waiting.extend(self.runs(entry))

    def choice(self, entry: Entry) -> Choice | None:
        """The best trial once the budget is used up; None before, or when none finished."""
        choice = None if self._has_budget(entry) else super().choice(entry)
        if choice is None:
            return None
        space, best = self.candidates[entry.name].space, entry.trials[choice.index]
        edges = [key for key, value in best.setting.items() if space[key].at_edge(value)]
        return replace(choice, at_edge=tuple(edges))

    @property
    def total(self) -> int:
        """Number of jobs; with a budget of seconds, those known so far."""
        trials = (max(len(entry.trials), self.budget.trials or 0) for entry in self.entries)
        return sum(trials) + len(self.entries) * len(self.spec.seeds)

    @property
    def done(self) -> int:
        """Number of jobs that ended; a setting proposed twice is trained once."""
        jobs = [job for entry in self.entries for job in (*self.trials(entry), *self.runs(entry))]
        return sum(job.folder.path in self.outcomes for job in jobs)

    def next_job(self) -> Job | None:
        """A queued job, else a new trial of the first recipe with budget left."""
        job = super().next_job()
        for entry in self.entries:
            if job is None and self._has_budget(entry):
                job = self._propose(self.candidates[entry.name])
        if job is not None and job.folder.path in self.open:
            self.open[job.folder.path].started = time.monotonic()
        return job

    def watch(self, executor: Executor) -> None:
        """Stop the trials that should be pruned."""
        for path, trial in self.open.items():
            if (
                not trial.is_pruned
                and self._check_pruning(path, trial)
                and not (path / "result.json").exists()
            ):
                executor.cancel(path)

    def record_result(self, job: Job, outcome: JobResult) -> JobResult:
        """Record how a trial ended. A failed one stays open in the study: the next call retries it."""
        trial = self.open.pop(job.folder.path, None) if job.kind == "trial" else None
        if trial is None:
            return super().record_result(job, outcome)
        if outcome.status in ("complete", "failed") and self._check_pruning(job.folder.path, trial):
            outcome = _prune(job.folder, trial, outcome)
        if outcome.status != "failed":
            trial.study.tell(trial.number, outcome.status, outcome.metric("valid", self._metric(job)))
        return super().record_result(job, outcome)

    def seconds(self, entry: Entry) -> float:
        """Training time of an entry's trials in seconds."""
        ended = {job.folder.path: self.outcomes.get(job.folder.path) for job in self.trials(entry)}
        return sum(outcome.seconds for outcome in ended.values() if outcome)

    def best(self, name: str) -> float | None:
        """The best validation metric of an entry's trials so far."""
        metric = self.candidates[name].metric
        ended = [self.outcomes.get(job.folder.path) for job in self.trials(self.entry(name))]
        values = [o.metric("valid", metric) for o in ended if o is not None and o.status == "complete"]
        known = [value for value in values if value is not None]
        return METRICS[metric].best(known) if known else None

    def _has_budget(self, entry: Entry) -> bool:
        return self.budget.is_left(self.asked[entry.name], self.seconds(entry))

    def _metric(self, job: Job) -> WatchedMetric:
        return self.candidates[job.entry].metric

    def _job(self, entry: Entry, kind: Literal["trial", "run"], trial: Trial) -> Job:
        return replace(super()._job(entry, kind, trial), skip_test=kind == "trial")

    def _study(self, storage: Any, candidate: Candidate) -> Study:
        """The study of a recipe, search space, seed and dataset; changing any of these starts a new study."""
        space = {key: repr(dimension) for key, dimension in candidate.space.items()}
        fingerprint = self.manifests[candidate.recipe.data].fingerprint
        content = [candidate.recipe.to_dict(), space, self.seed, fingerprint]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return Study(
            storage,
            f"{candidate.name}-{digest[:8]}",
            candidate.space,
            candidate.own,
            seed=self.seed,
            metric=candidate.metric,
        )

    def _restore(self, candidate: Candidate, record: TrialRecord) -> None:
        """Restore a trial of an earlier call: its state from the study, its result from its folder."""
        trial = candidate.trial(record.setting)
        if trial is None:
            raise UsageError(
                f"`{self.folder / JOURNAL}` has a trial that this version of wukongctl cannot train",
                hint="use another `--out`, or the version of wukongctl that started the search",
            )
        job = self._add(candidate, trial)
        if record.state == "open":
            self._open_trial(job, candidate, record.number)
            self.waiting.append(job)
            return
        recorded = self.recorded(job)
        result = recorded.result if recorded else None
        folder_is_gone = recorded is None or recorded.status != "complete"
        if record.value is not None and folder_is_gone:
            result = RunResult(status="complete", metrics={"valid": {candidate.metric: record.value}})
        message = None if record.state == "complete" else record.state
        self.outcomes[job.folder.path] = JobResult(record.state, result, message)

    def _propose(self, candidate: Candidate) -> Job | None:
        """The next trial of a recipe; None when all proposals are in training already."""
        study, rejected = self.studies[candidate.name], None
        for _ in range(MOST_REJECTED):
            number, setting = study.ask()
            trial = candidate.trial(setting)
            rejected = setting
            if trial is not None and self._fits(trial):
                job = self._job(self.entry(candidate.name), "trial", trial)
                if job.folder.path not in self.open:
                    self._open_trial(job, candidate, number)
                    return self._add(candidate, trial)
                rejected = None
            study.reject(number)
        if rejected is None:
            return None
        raise RunFailed(
            f"{MOST_REJECTED} settings in a row are invalid for `{candidate.name}`, the last is {rejected}",
            hint="fix conflicting keys with `--set`, or narrow them with `--space`",
        )

    def _fits(self, trial: Trial) -> bool:
        try:
            require_fitting((replace(self.entries[0], trials=(trial,)),), self.manifests)
        except RecipeError:
            return False
        return True

    def _add(self, candidate: Candidate, trial: Trial) -> Job:
        """Add a trial to its entry; the first one, the recipe's own, is there from the start."""
        entry = self.entry(candidate.name)
        if self.asked[candidate.name]:
            trials = (*entry.trials, trial)
            search = Search(
                settings=tuple(each.setting for each in trials),
                metric=candidate.metric,
                seed=trial.recipe.seed,
            )
            extended = replace(entry, search=search, trials=trials)
            self.entries = tuple(extended if each is entry else each for each in self.entries)
        self.asked[candidate.name] += 1
        return self._job(entry, "trial", trial)

    def evaluations(self, recipe: TrainingSpec) -> int:
        """Number of validations of a run without early stopping; 1 for LightGBM, which is not pruned."""
        if not recipe.is_network:
            return 1
        rows = self.manifests[recipe.data].splits["train"].rows
        every = recipe.evaluate_every or -(-rows // recipe.batch_size)
        return -(-total_steps(recipe, rows) // every)

    def _open_trial(self, job: Job, candidate: Candidate, number: int) -> None:
        study = self.studies[candidate.name]
        self.open[job.folder.path] = _Open(study, number, self.evaluations(job.recipe))

    def _check_pruning(self, path: Path, trial: _Open) -> bool:
        """Whether to prune after any evaluation but the last, which ends the run anyway."""
        metrics = RunFolder(path).metrics
        size = metrics.stat().st_size if metrics.is_file() else 0
        if trial.evaluations > 1 and not trial.is_pruned and size != trial.bytes_seen:
            trial.bytes_seen = size
            values = _validations(metrics, trial.study.metric)
            trial.is_pruned = trial.study.report(trial.number, values[: trial.evaluations - 1])
        return trial.is_pruned


def _name(candidates: Sequence[Candidate]) -> str:
    """The folder of a tuning, equal for the same recipes and datasets so that it can be resumed."""
    names = list(dict.fromkeys(candidate.recipe.data for candidate in candidates))
    if len(candidates) == 1:
        (data,), name = names, candidates[0].name
        names = [name if name.startswith(data) else f"{data}-{name}"]
    return "-".join(["tune", *names])[:100]


def _validations(metrics: Path, metric: str) -> list[float]:
    """The validation metric of each evaluation so far; an incomplete last line is ignored."""
    complete = metrics.read_bytes().rpartition(b"\n")[0]
    records = map(json.loads, complete.splitlines())
    return [record[metric] for record in records if record["split"] == "valid" and record[metric] is not None]


def _prune(folder: RunFolder, trial: _Open, outcome: JobResult) -> JobResult:
    """Record a trial as pruned and delete its weights; a folder that is complete is left unchanged."""
    reason = "worse than the median of the trials before it"
    if outcome.status == "complete":
        return JobResult("pruned", outcome.result, reason)
    lines = [json.loads(line) for line in folder.metrics.read_bytes().splitlines()]
    seen = [line for line in lines if line["split"] == "valid"]
    trained = [line for line in lines if line["split"] == "train"]
    result = RunResult(
        status="pruned",
        step=seen[-1]["step"],
        best_step=None,
        selected_on=f"valid {trial.study.metric}",
        examples=trained[-1]["examples"] if trained else 0,
        metrics={"valid": {key: value for key, value in seen[-1].items() if key not in ("split", "step")}},
        seconds=time.monotonic() - trial.started,
        reason=reason,
    )
    folder.write_result(result)
    CheckpointFolder(folder.checkpoints, keep=1).clear()
    folder.best.unlink(missing_ok=True)
    return JobResult("pruned", result, reason)
