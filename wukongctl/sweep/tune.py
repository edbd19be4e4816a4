"""Tuning: a sweep whose trials are proposed one after the other, each knowing how the earlier ones ended.

    <out>/<name>/
        trials/, runs/, sweep.json    as of any sweep
        study.journal                 what Optuna knows of the trials
        best-<entry>.yaml             the recipe that won, written at the end

Trials are compared by the validation split alone and never see the test split; the runs of the winner do.
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
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RecipeError, RunFailed, UsageError
from wukongctl.sweep.candidates import Candidate
from wukongctl.sweep.choice import Choice
from wukongctl.sweep.executors import Executor
from wukongctl.sweep.study import Study, TrialRecord, open_storage
from wukongctl.sweep.sweep import Job, JobResult, Sweep, require_fitting
from wukongctl.training.checkpoint import CheckpointFolder
from wukongctl.training.plan import total_steps
from wukongctl.training.run import RunFolder

JOURNAL = "study.journal"
MOST_REJECTED = 50
"""Settings in a row that cannot be trained, or are in training, after which none is looked for."""


@dataclass(frozen=True)
class Budget:
    """What every recipe gets alike: trials, seconds of training, or both, of which one ends first."""

    trials: int | None
    seconds: float | None = None

    def is_left(self, trials: int, seconds: float) -> bool:
        """Whether another trial may begin after so many, which took so long."""
        return (self.trials is None or trials < self.trials) and (
            self.seconds is None or seconds < self.seconds
        )


@dataclass
class _Open:
    """A trial that has not ended."""

    study: Study
    number: int
    evaluations: int
    """How many it will have, unless it stops early."""
    started: float = 0.0
    bytes_seen: int = 0
    """Of its metrics file."""
    is_bad: bool = False


class Tuning(Sweep):
    """All trials and runs of a tuning and what is known of them."""

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
        """Open the studies; trials that were interrupted come first, then the runs of what is decided."""
        storage = open_storage(self.folder / JOURNAL)
        for name, candidate in self.candidates.items():
            study = self.studies[name] = self._study(storage, candidate)
            for record in study.records():
                self._recall(candidate, record)
        for entry in self.entries:
            self.waiting.extend(self.runs(entry))

    def choice(self, entry: Entry) -> Choice | None:
        """The best of the trials once the budget is used up; None before, or when none finished."""
        choice = None if self._may_ask(entry) else super().choice(entry)
        if choice is None:
            return None
        space, winner = self.candidates[entry.name].space, entry.trials[choice.index]
        edges = [key for key, value in winner.setting.items() if space[key].at_edge(value)]
        return replace(choice, at_edge=tuple(edges))

    @property
    def total(self) -> int:
        """Jobs of the whole tuning; with a budget of seconds, as far as it can be told."""
        trials = (max(len(entry.trials), self.budget.trials or 0) for entry in self.entries)
        return sum(trials) + len(self.entries) * len(self.spec.seeds)

    @property
    def done(self) -> int:
        """Jobs that ended; a setting that was proposed twice was trained once."""
        jobs = [job for entry in self.entries for job in (*self.trials(entry), *self.runs(entry))]
        return sum(job.folder.path in self.outcomes for job in jobs)

    def next_job(self) -> Job | None:
        """What was interrupted or has won, else a new trial of the first recipe that has budget left."""
        job = super().next_job()
        for entry in self.entries:
            if job is None and self._may_ask(entry):
                job = self._propose(self.candidates[entry.name])
        if job is not None and job.folder.path in self.open:
            self.open[job.folder.path].started = time.monotonic()
        return job

    def watch(self, executor: Executor) -> None:
        """Stop the trials that have become bad."""
        for path, trial in self.open.items():
            if not trial.is_bad and self._judge(path, trial) and not (path / "result.json").exists():
                executor.cancel(path)

    def settle(self, job: Job, outcome: JobResult) -> JobResult:
        """Tell the study how a trial ended. One that failed stays open: the next call tries it again."""
        trial = self.open.pop(job.folder.path, None) if job.kind == "trial" else None
        if trial is None:
            return super().settle(job, outcome)
        if outcome.status in ("complete", "failed") and self._judge(job.folder.path, trial):
            outcome = _give_up(job.folder, trial, outcome)
        if outcome.status != "failed":
            trial.study.tell(trial.number, outcome.status, outcome.metric("valid", self._metric(job)))
        return super().settle(job, outcome)

    def seconds(self, entry: Entry) -> float:
        """Seconds of training that the trials of an entry took."""
        ended = {job.folder.path: self.outcomes.get(job.folder.path) for job in self.trials(entry)}
        return sum(outcome.result.get("seconds") or 0.0 for outcome in ended.values() if outcome)

    def best(self, name: str) -> float | None:
        """The best validation metric among the trials of an entry so far."""
        metric = self.candidates[name].metric
        ended = [self.outcomes.get(job.folder.path) for job in self.trials(self.entry(name))]
        values = [o.metric("valid", metric) for o in ended if o is not None and o.status == "complete"]
        pick = max if metric == "auc" else min
        return pick((value for value in values if value is not None), default=None)

    def _may_ask(self, entry: Entry) -> bool:
        return self.budget.is_left(self.asked[entry.name], self.seconds(entry))

    def _metric(self, job: Job) -> Literal["auc", "logloss"]:
        return self.candidates[job.entry].metric

    def _job(self, entry: Entry, kind: Literal["trial", "run"], trial: Trial) -> Job:
        return replace(super()._job(entry, kind, trial), skip_test=kind == "trial")

    def _study(self, storage: Any, candidate: Candidate) -> Study:
        """The study of a recipe, its space, a seed and a dataset; with another of them it is another."""
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

    def _recall(self, candidate: Candidate, record: TrialRecord) -> None:
        """Take in what an earlier call did; the study knows how a trial ended, its folder the rest."""
        trial = candidate.trial(record.setting)
        if trial is None:
            raise UsageError(
                f"`{self.folder / JOURNAL}` has a trial that this wukongctl cannot train",
                hint="name another `--out`, or use the wukongctl that began it",
            )
        job = self._add(candidate, trial)
        if record.state == "open":
            self._line_up(job, candidate, record.number)
            self.waiting.append(job)
            return
        known = self.known(job)
        result = known.result if known else {}
        if record.state == "complete" and (known is None or known.status != "complete"):
            result = {"metrics": {"valid": {candidate.metric: record.value}}}  # its folder was removed
        message = None if record.state == "complete" else record.state
        self.outcomes[job.folder.path] = JobResult(record.state, result, message)

    def _propose(self, candidate: Candidate) -> Job | None:
        """The next trial of a recipe; None when all that is proposed is in training already."""
        study, rejected = self.studies[candidate.name], None
        for _ in range(MOST_REJECTED):
            number, setting = study.ask()
            trial = candidate.trial(setting)
            rejected = setting
            if trial is not None and self._fits(trial):
                job = self._job(self.entry(candidate.name), "trial", trial)
                if job.folder.path not in self.open:
                    self._line_up(job, candidate, number)
                    return self._add(candidate, trial)
                rejected = None
            study.reject(number)
        if rejected is None:
            return None
        raise RunFailed(
            f"none of {MOST_REJECTED} settings in a row fits `{candidate.name}`, the last: {rejected}",
            hint="fix the keys that do not agree with `--set`, or narrow them with `--space`",
        )

    def _fits(self, trial: Trial) -> bool:
        try:
            require_fitting((replace(self.entries[0], trials=(trial,)),), self.manifests)
        except RecipeError:
            return False
        return True

    def _add(self, candidate: Candidate, trial: Trial) -> Job:
        """Make a trial part of its entry, which begins with the recipe's own."""
        entry = self.entry(candidate.name)
        if self.asked[candidate.name]:
            trials = (*entry.trials, trial)
            search = Search(
                settings=tuple(each.setting for each in trials),
                metric=candidate.metric,
                seed=trial.recipe.seed,
            )
            grown = replace(entry, search=search, trials=trials)
            self.entries = tuple(grown if each is entry else each for each in self.entries)
        self.asked[candidate.name] += 1
        return self._job(entry, "trial", trial)

    def evaluations(self, recipe: TrainingSpec) -> int:
        """How often a run looks at the validation split, unless it stops early; trees are not pruned."""
        if not recipe.is_network:
            return 1
        rows = self.manifests[recipe.data].splits["train"].rows
        every = recipe.evaluate_every or -(-rows // recipe.batch_size)
        return -(-total_steps(recipe, rows) // every)

    def _line_up(self, job: Job, candidate: Candidate, number: int) -> None:
        study = self.studies[candidate.name]
        self.open[job.folder.path] = _Open(study, number, self.evaluations(job.recipe))

    def _judge(self, path: Path, trial: _Open) -> bool:
        """Whether an evaluation before the last was bad, the last being as good as the end."""
        metrics = RunFolder(path).metrics
        size = metrics.stat().st_size if metrics.is_file() else 0
        if trial.evaluations > 1 and not trial.is_bad and size != trial.bytes_seen:
            trial.bytes_seen = size
            values = _validations(metrics, trial.study.metric)
            trial.is_bad = trial.study.report(trial.number, values[: trial.evaluations - 1])
        return trial.is_bad


def _name(candidates: Sequence[Candidate]) -> str:
    """The folder of a tuning: the same recipes and datasets find their trials again."""
    names = list(dict.fromkeys(candidate.recipe.data for candidate in candidates))
    if len(candidates) == 1:
        (data,), name = names, candidates[0].name
        names = [name if name.startswith(data) else f"{data}-{name}"]
    return "-".join(["tune", *names])[:100]


def _validations(metrics: Path, metric: str) -> list[float]:
    """A validation metric at each evaluation so far; a line that is being written is left out."""
    whole = metrics.read_bytes().rpartition(b"\n")[0]
    records = map(json.loads, whole.splitlines())
    return [record[metric] for record in records if record["split"] == "valid" and record[metric] is not None]


def _give_up(folder: RunFolder, trial: _Open, outcome: JobResult) -> JobResult:
    """A pruned trial: its folder says so, and keeps no weights. One that was quicker stays as it is."""
    reason = "worse than the median of the trials before it"
    if outcome.status == "complete":
        return JobResult("pruned", outcome.result, reason)
    lines = [json.loads(line) for line in folder.metrics.read_bytes().splitlines()]
    seen = [line for line in lines if line["split"] == "valid"]
    trained = [line for line in lines if line["split"] == "train"]
    result = {
        "status": "pruned",
        "reason": reason,
        "step": seen[-1]["step"],
        "best_step": None,
        "selected_on": f"valid {trial.study.metric}",
        "examples": trained[-1]["examples"] if trained else 0,
        "metrics": {"valid": {key: value for key, value in seen[-1].items() if key not in ("split", "step")}},
        "seconds": time.monotonic() - trial.started,
    }
    folder.write("result.json", result)
    CheckpointFolder(folder.checkpoints, keep=1).clear()
    folder.best.unlink(missing_ok=True)
    return JobResult("pruned", result, reason)
