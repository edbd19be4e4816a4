"""The content of sweep.json: search budgets, choices and results."""

import statistics
from collections.abc import Sequence
from typing import Any, get_args

from wukongctl.config.entries import Entry
from wukongctl.sweep.sweep import Job, JobResult, JobStatus, Sweep, metric_of
from wukongctl.training.metrics import COMPARED
from wukongctl.training.run_record import RunResult
from wukongctl.training.transfer import rates

SPLITS = ("valid", "test")


def summarize(sweep: Sweep) -> dict[str, Any]:
    """The results so far, in the order of the sweep file."""
    outcomes = list(sweep.outcomes.values())
    entries = [_entry(sweep, entry) for entry in sweep.entries]
    # The best trial is also one of the runs, under the same name, and was trained once.
    trained = {path.name: outcome.seconds for path, outcome in sweep.outcomes.items()}
    is_complete = all(len(entry["runs"]) == len(sweep.spec.seeds) for entry in entries)
    counts = {status: sum(o.status == status for o in outcomes) for status in get_args(JobStatus)}
    return {
        "sweep": sweep.spec.name,
        "status": "complete" if is_complete and not counts["failed"] else "partial",
        "digest": sweep.spec.digest(),
        "data": {name: manifest.fingerprint for name, manifest in sorted(sweep.manifests.items())},
        "seeds": list(sweep.spec.seeds),
        "counts": {**counts, "total": sweep.total},
        "seconds": sum(trained.values()),
        "entries": entries,
    }


def _entry(sweep: Sweep, entry: Entry) -> dict[str, Any]:
    trials, choice = sweep.trials(entry), sweep.choice(entry)
    runs = [job for job in sweep.runs(entry) if job.folder.path in sweep.outcomes]
    info = next((found for job in runs if (found := job.folder.info()) is not None), None)
    budget = None
    if entry.search is not None and entry.base is None:
        budget = {
            "trials": len(trials),
            "seed": entry.search.seed,
            "chosen_on": f"valid {metric_of(entry)}",
            "pruned": sum(_outcome_of(sweep, job).status == "pruned" for job in trials),
            "examples": sum(found.examples for job in trials if (found := _outcome_of(sweep, job).result)),
            "seconds": sum(_outcome_of(sweep, job).seconds for job in trials),
        }
    return {
        "name": entry.name,
        "curve": entry.curve,
        "fraction": entry.fraction,
        "gflop_per_example": None if info is None else info.gflop,
        "params": None if info is None else info.params.to_dict(),
        "budget": budget,
        "trials": [_trial(sweep, entry, job) for job in trials if job.folder.path in sweep.outcomes],
        "chosen": None
        if choice is None or entry.search is None
        else {
            "setting": entry.trials[choice.index].setting,
            "value": choice.value,
            "why": choice.why,
            "at_edge": list(choice.at_edge),
        },
        **_transferred(sweep, entry),
        "runs": [_run(job, sweep.outcomes[job.folder.path], sweep) for job in runs],
        "metrics": spread([sweep.outcomes[job.folder.path].result for job in runs]),
    }


def _transferred(sweep: Sweep, entry: Entry) -> dict[str, Any]:
    """Where the rates of an entry come from, and what they became; nothing without `scale_rates`."""
    if entry.base is None:
        return {}
    runs = sweep.runs(entry)
    return {
        "base": entry.base,
        "scale_rates": sweep.spec.scale_rates,
        "rates": rates(runs[0].recipe) if runs else None,
    }


def spread(results: Sequence[RunResult | None]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Split → metric → mean, sample standard deviation (None for one run) and number of complete runs."""
    measured = [result.metrics for result in results if result is not None]
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for split in SPLITS:
        for metric in (each.name for each in COMPARED):
            values = [run[split][metric] for run in measured if metric in run.get(split, {})]
            if values:
                sd = statistics.stdev(values) if len(values) > 1 else None
                cell = {"mean": statistics.fmean(values), "sd": sd, "n": len(values)}
                found.setdefault(split, {})[metric] = cell
    return found


def _outcome_of(sweep: Sweep, job: Job) -> JobResult:
    return sweep.outcomes.get(job.folder.path, JobResult("failed"))


def _trial(sweep: Sweep, entry: Entry, job: Job) -> dict[str, Any]:
    outcome = sweep.outcomes[job.folder.path]
    value = outcome.metric("valid", metric_of(entry))
    return {"setting": job.setting, "value": value, **_common(sweep, job, outcome)}


def _run(job: Job, outcome: JobResult, sweep: Sweep) -> dict[str, Any]:
    result = outcome.result
    metrics = {} if result is None else result.metrics
    warnings = [] if result is None else [warning.to_dict() for warning in result.warnings]
    return {"seed": job.recipe.seed, "metrics": metrics, "warnings": warnings, **_common(sweep, job, outcome)}


def _common(sweep: Sweep, job: Job, outcome: JobResult) -> dict[str, Any]:
    return {
        "run": job.folder.path.relative_to(sweep.folder).as_posix(),
        "status": outcome.status,
        "examples": None if outcome.result is None else outcome.result.examples,
        "seconds": None if outcome.result is None else outcome.result.seconds,
        **({} if outcome.message is None else {"message": outcome.message}),
    }
