"""The best recipe found by `tune`, as a file that records its origin."""

from dataclasses import dataclass
from pathlib import Path

from wukongctl.config.dimensions import written
from wukongctl.config.dumping import to_yaml
from wukongctl.config.entries import Entry
from wukongctl.data.atomic import write_atomic
from wukongctl.sweep.summary import spread
from wukongctl.sweep.tune import Tuning
from wukongctl.training.metrics import AUC, GAUC, LOGLOSS


@dataclass(frozen=True)
class Best:
    """The name of an entry and the file of its best recipe."""

    name: str
    path: Path


def write_best(tuning: Tuning, entry: Entry, command: str) -> Best | None:
    """Write `best-<entry>.yaml`, which reproduces the best trial; None while no trial has been chosen.

    `command` is the command line of the search, recorded in the file.
    """
    choice = tuning.choice(entry)
    if choice is None or choice.value is None:
        return None
    best = Best(entry.name, tuning.folder / f"best-{entry.name}.yaml")
    trial = entry.trials[choice.index]
    lines = [
        f"# {entry.name} on {trial.recipe.data}, tuned: {choice.why} ({choice.value:.5f}).",
        f"# {command}",
    ]
    lines += _before(tuning, entry)
    lines += [f"# Searched: {', '.join(f'{key} {written(value)}' for key, value in trial.setting.items())}."]
    lines += _tested(tuning, entry)
    text = "\n".join(lines) + "\n" + to_yaml({"defaults": "fixed"} | trial.recipe.to_dict())
    write_atomic(best.path, lambda file: file.write(text.encode()))
    return best


def _before(tuning: Tuning, entry: Entry) -> list[str]:
    """The result of the first trial, which is the recipe unchanged."""
    candidate = tuning.candidates[entry.name]
    first = tuning.outcomes[tuning.trials(entry)[0].folder.path]
    value = first.metric("valid", candidate.metric)
    result = first.status if value is None else f"valid {candidate.metric} {value:.5f}"
    return [f"# Initial recipe {candidate.path}: {result}."]


def _tested(tuning: Tuning, entry: Entry) -> list[str]:
    found = spread([tuning.outcomes[job.folder.path].result for job in tuning.runs(entry)]).get("test", {})
    parts = [
        f"{metric.title} {cell['mean']:.5f}" + ("" if cell["sd"] is None else f" ± {cell['sd']:.5f}")
        for metric in (AUC, GAUC, LOGLOSS)
        if (cell := found.get(metric.name))
    ]
    seeds = ", ".join(str(job.recipe.seed) for job in tuning.runs(entry))
    return [f"# Test, seeds {seeds}: {', '.join(parts)}."] if parts else []
