"""A sweep: for every entry, trials, the best by the validation metric, and one run of it per seed.

    <out>/<sweep>/
        trials/<entry>-<hash8>/    run folders of the search, one per setting, with the seed of the search
        runs/<entry>-<hash8>/      run folders of the best setting, one per seed
        sweep.json                 budget, choices and results; rewritten whenever a run ends

Finished runs are recognized by their folders, so running the same sweep again resumes it.
"""

import json
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout

from wukongctl.config.entries import Entry, Trial
from wukongctl.config.sweep import Setting, SweepSpec
from wukongctl.config.training import TrainingSpec, WatchedMetric
from wukongctl.data.atomic import write_atomic
from wukongctl.data.manifest import Manifest
from wukongctl.errors import Interrupted, UsageError, cannot_write
from wukongctl.signals import stop_requests
from wukongctl.sweep.choice import Choice, choose
from wukongctl.sweep.executors import Executor, Exit, command
from wukongctl.sweep.fitting import limited, require_fitting, require_smallest_first, require_validation
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult
from wukongctl.training.transfer import transfer

JobStatus: TypeAlias = Literal["complete", "pruned", "diverged", "failed"]
"""`pruned`: stopped early by a search. `failed`: ended by an error that may be temporary; retried."""


@dataclass(frozen=True)
class Job:
    """One training run of a sweep."""

    entry: str
    kind: Literal["trial", "run"]
    setting: Setting
    recipe: TrainingSpec
    out: Path
    skip_test: bool = False
    """Whether not to evaluate the test split."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder.for_recipe(self.recipe, self.out)


@dataclass(frozen=True)
class JobResult:
    """How a job ended; `result` is None when it failed before writing one."""

    status: JobStatus
    result: RunResult | None = None
    message: str | None = None

    @property
    def seconds(self) -> float:
        """Of training, 0 without a result."""
        return 0.0 if self.result is None else self.result.seconds

    def metric(self, split: str, name: str) -> float | None:
        """A metric on a split, None where it was not measured."""
        return None if self.result is None else self.result.metrics.get(split, {}).get(name)


@dataclass(frozen=True)
class Event:
    """A job that ended, for progress displays."""

    job: Job
    outcome: JobResult
    done: int
    total: int
    was_complete: bool


class Sweep:
    """The jobs of a sweep and their results."""

    def __init__(
        self, spec: SweepSpec, entries: tuple[Entry, ...], manifests: dict[str, Manifest], out: Path
    ) -> None:
        self.spec, self.manifests = spec, manifests
        self.folder = out / spec.name
        self.entries = tuple(limited(entry, manifests) for entry in entries)
        self.outcomes: dict[Path, JobResult] = {}
        self.waiting: deque[Job] = deque()
        self._scaled: dict[tuple[str, int], Trial] = {}
        for entry in self.entries:
            require_validation(entry, manifests)
        require_fitting(self.entries, manifests)
        require_smallest_first(self.entries, manifests)

    def trials(self, entry: Entry) -> list[Job]:
        """The trials of an entry; empty without a search of its own."""
        if entry.search is None or entry.base is not None:
            return []
        return [self._job(entry, "trial", trial) for trial in entry.trials]

    def choice(self, entry: Entry) -> Choice | None:
        """The best trial, by the search of its base if it has one; None while a trial is open, or when none
        finished."""
        if entry.base is not None and entry.search is not None:
            found = self.choice(self.entry(entry.base))
            return found and Choice(found.index, None, f"transferred from `{entry.base}`", ())
        if entry.search is None:
            return Choice(0, None, "no search", ())
        outcomes = [self.outcomes.get(job.folder.path) for job in self.trials(entry)]
        if None in outcomes:
            return None
        metric = metric_of(entry)
        complete = [o if o and o.status == "complete" else JobResult("failed") for o in outcomes]
        return choose(entry.search, metric, [o.metric("valid", metric) for o in complete])

    def runs(self, entry: Entry) -> list[Job]:
        """One job per seed with the best setting; empty until it is known."""
        choice = self.choice(entry)
        if choice is None:
            return []
        trial = self._transferred(entry, choice.index)
        seeded = (trial.recipe.model_copy(update={"seed": seed}) for seed in self.spec.seeds)
        return [self._job(entry, "run", replace(trial, recipe=recipe)) for recipe in seeded]

    def _transferred(self, entry: Entry, index: int) -> Trial:
        """A trial, with rates scaled from those of its entry's base."""
        trial, rule = entry.trials[index], self.spec.scale_rates
        if entry.base is None or rule is None:
            return trial
        known = self._scaled.get((entry.name, index))
        if known is None:
            base = self.entry(entry.base).trials[index].recipe
            schema = self.manifests[trial.recipe.data].schema()
            known = replace(trial, recipe=transfer(trial.recipe, base, schema, rule))
            self._scaled[entry.name, index] = known
        return known

    def _job(self, entry: Entry, kind: Literal["trial", "run"], trial: Trial) -> Job:
        return Job(entry.name, kind, trial.setting, trial.recipe, self.folder / f"{kind}s")

    @property
    def total(self) -> int:
        """Number of jobs of the sweep."""
        return sum(len(self.trials(entry)) + len(self.spec.seeds) for entry in self.entries)

    @property
    def done(self) -> int:
        """Number of jobs that ended."""
        return len(self.outcomes)

    def begin(self) -> None:
        """Queue the first jobs; called once, with the folder locked."""
        for entry in self.entries:
            self.waiting.extend(self.trials(entry) or self.runs(entry))

    def next_job(self) -> Job | None:
        """The next job to start; None when there is none before another one ends."""
        return self.waiting.popleft() if self.waiting else None

    def watch(self, executor: Executor) -> None:
        """Called repeatedly while jobs run."""

    def record_result(self, job: Job, outcome: JobResult) -> JobResult:
        """Record the result of a job, and return it.

        The last trial of an entry queues its runs, and those of entries that take its setting, ahead of the
        jobs of other entries.
        """
        self.outcomes[job.folder.path] = outcome
        if job.kind == "trial":
            entries = [entry for entry in self.entries if job.entry in (entry.name, entry.base)]
            ready = [run for entry in entries for run in self.runs(entry)]
            self.waiting.extendleft(reversed(ready))
        return outcome

    def entry(self, name: str) -> Entry:
        """The entry of that name."""
        return next(entry for entry in self.entries if entry.name == name)

    def stale(self) -> list[Path]:
        """Run folders in `runs/` left by an earlier version of the sweep, in order."""
        current = {job.folder.path.name for entry in self.entries for job in self.runs(entry)}
        found = (file.parent for file in (self.folder / "runs").glob("*/run.json"))
        return sorted(folder for folder in found if folder.name not in current)

    def load_recorded(self) -> None:
        """Read the results of finished jobs, without training."""
        for jobs in (self.trials, self.runs):  # runs depend on trials
            for job in (job for entry in self.entries for job in jobs(entry)):
                if outcome := self.recorded(job):
                    self.outcomes[job.folder.path] = outcome

    def left(self, entry: Entry) -> int:
        """Number of an entry's jobs left to train; the best trial is also the run of its seed."""
        tried = {entry.search.seed} if entry.search and entry.base is None else set()
        done = {job.recipe.seed for job in self.runs(entry) if job.folder.path in self.outcomes}
        open_trials = sum(job.folder.path not in self.outcomes for job in self.trials(entry))
        return open_trials + len(set(self.spec.seeds) - tried - done)

    def recorded(self, job: Job) -> JobResult | None:
        """The result recorded in a job's folder; None when it has to be trained."""
        return read_outcome(job, self.manifests[job.recipe.data])


def execute(
    sweep: Sweep,
    executor: Executor,
    *,
    data: Path,
    threads: int,
    report: Callable[[Event], None],
    save: Callable[[], None],
    tick: Callable[[list[Job]], None],
) -> None:
    """Train all jobs that are not done, continuing after failures; raises Interrupted on a signal.

    `tick` gets the running jobs, several times a second or so.
    """
    running: dict[Path, Job] = {}

    def record_result(job: Job, outcome: JobResult, *, was_complete: bool) -> None:
        outcome = sweep.record_result(job, outcome)
        report(Event(job, outcome, sweep.done, sweep.total, was_complete))
        save()

    with _locked(sweep.folder), stop_requests() as stop:

        def keep_waiting() -> bool:
            sweep.watch(executor)
            tick(list(running.values()))
            return stop.signal_number is None

        sweep.begin()
        while True:
            while len(running) < executor.jobs and stop.signal_number is None and (job := sweep.next_job()):
                if outcome := _without_training(sweep, job):
                    record_result(job, outcome, was_complete=True)
                else:
                    _start(job, executor, data, threads)
                    running[job.folder.path] = job
            ended = executor.wait(keep_waiting) if running else None
            if stop.signal_number is not None:
                executor.stop()
                _record_unnoticed(sweep, list(running.values()))
                save()
                raise Interrupted(
                    f"stopped with {sweep.done} of {sweep.total} runs done",
                    signal_number=stop.signal_number,
                    hint="run the same command again to resume",
                )
            if ended is not None:
                job = running.pop(ended.folder)
                record_result(job, _outcome(sweep, job, ended), was_complete=False)
            elif not running:
                return


def _record_unnoticed(sweep: Sweep, running: list[Job]) -> None:
    """Record jobs that ended while others were being stopped, or in an earlier call."""
    left = [*running, *sweep.waiting]
    while left:
        sweep.waiting.clear()
        for job in left:
            if outcome := sweep.recorded(job):
                sweep.record_result(job, outcome)
        left = list(sweep.waiting)  # runs of a search that is complete with these trials


def _without_training(sweep: Sweep, job: Job) -> JobResult | None:
    """The result of a job that is done already, or that equals a finished trial."""
    if job.kind == "run" and not job.folder.path.exists():
        trial = RunFolder.for_recipe(job.recipe, sweep.folder / "trials").path
        if trial in sweep.outcomes and sweep.outcomes[trial].status == "complete":
            _copy(trial, job.folder.path)
    return sweep.recorded(job)


def _copy(source: Path, target: Path) -> None:
    """Copy a run folder, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, ignore=shutil.ignore_patterns(".lock"))
    draft.rename(target)


def _start(job: Job, executor: Executor, data: Path, threads: int) -> None:
    folder = job.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_recipe(job.recipe)
    info = folder.info()
    # A run can only be resumed with the number of threads it was started with.
    started_with = info.execution.threads if info is not None and info.execution is not None else threads
    threads = job.recipe.threads or started_with
    options = ("--skip-test",) if job.skip_test else ()
    words = command(folder.path / "recipe.yaml", data, job.out, options)
    executor.start(folder.path, words, threads, on_gpu=job.recipe.is_network and job.recipe.device != "cpu")


def _outcome(sweep: Sweep, job: Job, ended: Exit) -> JobResult:
    return sweep.recorded(job) or JobResult("failed", message=ended.message or "ended without a result")


def read_outcome(job: Job, manifest: Manifest) -> JobResult | None:
    """The result recorded in a run folder; None unless it is complete and for this data."""
    folder = job.folder
    try:
        info, result = folder.info(), folder.result()
    except UsageError:
        return None  # damaged: the run itself reports it
    if info is None or result is None or info.data.fingerprint != manifest.fingerprint:
        return None
    if result.status == "complete":
        untested = "test" in manifest.splits and "test" not in result.metrics
        return None if untested and not job.skip_test else JobResult("complete", result)
    if result.status == "pruned":
        return JobResult("pruned", result, result.reason)
    return JobResult("diverged", result, f"the loss was not finite at step {result.step}")


def metric_of(entry: Entry) -> WatchedMetric:
    """The validation metric that selects the best trial of an entry."""
    own = entry.search.metric if entry.search else None
    return own or entry.trials[0].recipe.early_stopping.metric


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"another sweep is running in `{folder}`", hint="wait for it to end, or use another `--out`"
        ) from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    return lock


def write(path: Path, content: dict[str, Any]) -> None:
    """Write sweep.json atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))
