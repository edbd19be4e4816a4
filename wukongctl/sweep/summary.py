"""The content of sweep.json: search budgets, choices and results."""

import statistics
from typing import Any, get_args

from wukongctl.config.entries import Entry
from wukongctl.sweep.sweep import Job, JobResult, JobStatus, Sweep, metric_of

SPLITS = ("valid", "test")
METRICS = ("auc", "logloss", "excess_logloss")


def summarize(sweep: Sweep) -> dict[str, Any]:
    """The results so far, in the order of the sweep file."""
    outcomes = list(sweep.outcomes.values())
    entries = [_entry(sweep, entry) for entry in sweep.entries]
    # The best trial is also one of the runs, under the same name, and was trained once.
    trained = {path.name: outcome.result.get("seconds", 0.0) for path, outcome in sweep.outcomes.items()}
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
    described: dict[str, Any] = next(
        (found for job in runs if (found := job.folder.read("run.json")) is not None), {}
    )
    budget = None
    if entry.search is not None:
        budget = {
            "trials": len(trials),
            "seed": entry.search.seed,
            "chosen_on": f"valid {metric_of(entry)}",
            "pruned": sum(_outcome_of(sweep, job).status == "pruned" for job in trials),
            "examples": sum(_outcome_of(sweep, job).result.get("examples", 0) for job in trials),
            "seconds": sum(_outcome_of(sweep, job).result.get("seconds", 0.0) for job in trials),
        }
    return {
        "name": entry.name,
        "curve": entry.curve,
        "fraction": entry.fraction,
        "gflop_per_example": described.get("flops", {}).get("gflop_per_example"),
        "params": described.get("params"),
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
        "runs": [_run(job, sweep.outcomes[job.folder.path], sweep) for job in runs],
        "metrics": spread([sweep.outcomes[job.folder.path] for job in runs]),
    }


def spread(outcomes: list[JobResult]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Split → metric → mean, sample standard deviation (None for one run) and number of complete runs."""
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for split in SPLITS:
        for metric in METRICS:
            values = [value for o in outcomes if (value := o.metric(split, metric)) is not None]
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
    metrics = outcome.result.get("metrics", {})
    warnings = outcome.result.get("warnings", [])
    return {"seed": job.recipe.seed, "metrics": metrics, "warnings": warnings, **_common(sweep, job, outcome)}


def _common(sweep: Sweep, job: Job, outcome: JobResult) -> dict[str, Any]:
    return {
        "run": job.folder.path.relative_to(sweep.folder).as_posix(),
        "status": outcome.status,
        "examples": outcome.result.get("examples"),
        "seconds": outcome.result.get("seconds"),
        **({} if outcome.message is None else {"message": outcome.message}),
    }
