"""What the dashboard shows: runs, recipes with their seeds, and the best recipe of each model."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from wukongctl.errors import UsageError
from wukongctl.runs.datasets import by_dataset
from wukongctl.runs.folders import RunRecord, run_folders
from wukongctl.runs.learning_curves import Curves, read_curves
from wukongctl.runs.recipe_differences import differing_values, flattened
from wukongctl.training.metrics import COMPARED, METRICS
from wukongctl.training.run_folder import RunFolder

FORMAT_VERSION = 1
MOST_SETTINGS = 3
"""Keys shown to tell recipes of one name apart."""
CHOSEN_BY = "logloss"
"""The metric that chooses the recipe of a model, on the validation split where there is one."""


class MetricEntry(TypedDict):
    """A metric that some run has."""

    name: str
    title: str
    higher_is_better: bool | None
    compared: bool
    """Whether recipes are ranked by it."""


class Spread(TypedDict):
    """A metric over seeds; `sd` is None for one seed."""

    mean: float
    sd: float | None
    n: int


class RunEntry(TypedDict):
    """One run folder; keys that a damaged one cannot tell are None or empty."""

    run: str
    folder: str
    name: str
    """As in run.json, which knows nothing of a renamed folder."""
    status: str
    """`complete`, `pruned`, `diverged`, `unfinished` or `damaged`."""
    reason: str | None
    seed: int | None
    step: int
    examples: int
    seconds: float | None
    examples_per_second: float | None
    metrics: dict[str, dict[str, float]]
    """Split → metric → value; of an unfinished run those of its last validation."""
    warnings: list[str]
    recipe: dict[str, Any]
    """Dotted key → value."""
    curves: dict[str, Curves]


class RecipeEntry(TypedDict):
    """The runs that differ in the seed alone; metrics are over complete runs, one of each seed."""

    name: str
    dataset: str
    fingerprint: str | None
    model: str | None
    curve: str | None
    gflop_per_example: float | None
    training_flop: float | None
    """Of one complete run."""
    runs: list[int]
    metrics: dict[str, dict[str, Spread]]


class Leader(TypedDict):
    """The best recipe of a model on a dataset."""

    dataset: str
    curve: str
    recipe: int
    of: int
    """How many recipes it was chosen from."""
    chosen_on: str
    """Split of the metric that chose it."""


class Dashboard(TypedDict):
    """The content of the page; `runs` and `recipe` are indices."""

    format_version: int
    chosen_by: str
    metrics: list[MetricEntry]
    runs: list[RunEntry]
    recipes: list[RecipeEntry]
    leaders: list[Leader]


@dataclass(frozen=True, slots=True)
class _Found:
    """A run folder that could be read, or the reason why not."""

    folder: Path
    run: RunRecord | None
    problem: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "_Found":
        try:
            return cls(folder, RunRecord.read(folder))
        except UsageError as error:
            return cls(folder, None, str(error))

    @property
    def key(self) -> tuple[str, str]:
        """Equal for runs that differ in the seed alone."""
        if self.run is None:
            return "", str(self.folder)
        return self.run.info.data.fingerprint, self.run.recipe_key


def gather(paths: Iterable[Path]) -> Dashboard:
    """Read the runs under `paths`, finished or not; raises UsageError if there are none."""
    found = [_Found.read(folder) for folder in run_folders(paths)]
    runs = [_run_entry(one) for one in found]
    groups: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(found):
        groups.setdefault(one.key, []).append(index)
    for members in groups.values():
        members.sort(key=lambda index: runs[index]["seed"] or 0)
    recipes = _recipe_entries(list(groups.values()), found, runs)
    known = {name for run in runs for metrics in run["metrics"].values() for name in metrics}
    return {
        "format_version": FORMAT_VERSION,
        "chosen_by": CHOSEN_BY,
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "higher_is_better": metric.higher_is_better,
                "compared": metric in COMPARED,
            }
            for metric in METRICS.values()
            if metric.name in known
        ],
        "runs": runs,
        "recipes": recipes,
        "leaders": _leaders(recipes),
    }


def _run_entry(found: _Found) -> RunEntry:
    curves = read_curves(RunFolder(found.folder))
    run = found.run
    result = None if run is None else run.result
    train = curves.get("train")
    reached = 0 if train is None else train["step"][-1]
    seen = None if train is None else train["examples"][-1]
    return {
        "run": found.folder.name,
        "folder": str(found.folder),
        "name": found.folder.name if run is None else run.info.run,
        "status": "damaged" if run is None else run.status,
        "reason": found.problem if result is None else result.reason,
        "seed": None if run is None else run.info.seed,
        "step": reached if result is None else result.step,
        "examples": int(seen or 0) if result is None else result.examples,
        "seconds": None if result is None else result.seconds,
        "examples_per_second": None if result is None else result.examples_per_second,
        "metrics": _last_validation(curves) if result is None else _known_metrics(result.metrics),
        "warnings": [] if run is None else [warning.code for warning in run.warnings],
        "recipe": {} if run is None else flattened(run.info.recipe),
        "curves": curves,
    }


def _known_metrics(metrics: dict[str, dict[str, int | float]]) -> dict[str, dict[str, float]]:
    return {
        split: {name: value for name, value in values.items() if name in METRICS}
        for split, values in metrics.items()
    }


def _last_validation(curves: dict[str, Curves]) -> dict[str, dict[str, float]]:
    if "valid" not in curves:
        return {}
    last = {name: column[-1] for name, column in curves["valid"]["values"].items() if name in METRICS}
    return {"valid": {name: value for name, value in last.items() if value is not None}}


def _recipe_entries(
    groups: Sequence[list[int]], found: Sequence[_Found], runs: Sequence[RunEntry]
) -> list[RecipeEntry]:
    firsts = [found[members[0]] for members in groups]
    names, datasets = _names(firsts), _datasets(firsts)
    entries: list[RecipeEntry] = []
    for members, first, name, dataset in zip(groups, firsts, names, datasets, strict=True):
        info = None if first.run is None else first.run.info
        complete = _complete(members, runs)
        gflop = None if info is None else info.gflop
        entries.append(
            {
                "name": name,
                "dataset": dataset,
                "fingerprint": None if info is None else info.data.fingerprint,
                "model": None if info is None else info.model,
                "curve": None if info is None else info.curve_name,
                "gflop_per_example": gflop,
                "training_flop": gflop * 1e9 * complete[0]["examples"] if gflop and complete else None,
                "runs": members,
                "metrics": _spreads([run["metrics"] for run in complete]),
            }
        )
    return entries


def _names(firsts: Sequence[_Found]) -> list[str]:
    """Names of recipes; of those that share one, with keys in which they differ."""
    names = [one.folder.name if one.run is None else one.run.info.recipe_name for one in firsts]
    labels = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [index for index, each in enumerate(names) if each == name]
        recipes = [run.seedless_recipe if (run := firsts[index].run) else {} for index in same]
        for index, values in zip(same, differing_values(recipes), strict=True):
            told = [f"{key}={value}" for key, value in values.items()][:MOST_SETTINGS]
            labels[index] = f"{name} ({', '.join(told)})" if told else name
    return labels


def _datasets(firsts: Sequence[_Found]) -> list[str]:
    """Labels of datasets, which tell those of one name apart."""
    groups = by_dataset([one.run for one in firsts if one.run is not None])
    labels = {run.folder: group.label for group in groups for run in group.runs}
    return [labels.get(one.folder, "–") for one in firsts]


def _complete(members: Sequence[int], runs: Sequence[RunEntry]) -> list[RunEntry]:
    """Complete runs, the first of each seed."""
    by_seed: dict[int | None, RunEntry] = {}
    for run in (runs[index] for index in members):
        if run["status"] == "complete":
            by_seed.setdefault(run["seed"], run)
    return list(by_seed.values())


def _spreads(found: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, Spread]]:
    values: dict[str, dict[str, list[float]]] = {}
    for metrics in found:
        for split, measured in metrics.items():
            for name, value in measured.items():
                values.setdefault(split, {}).setdefault(name, []).append(value)
    return {
        split: {name: _spread(several) for name, several in measured.items()}
        for split, measured in values.items()
    }


def _spread(values: Sequence[float]) -> Spread:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "n": len(values)}


def _leaders(recipes: Sequence[RecipeEntry]) -> list[Leader]:
    """Of each dataset and curve the recipe with the lowest validation loss, best first.

    Not the lowest test loss: the best of many on the test split looks better than it is.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, recipe in enumerate(recipes):
        if recipe["curve"] is not None and recipe["metrics"]:
            groups.setdefault((recipe["dataset"], recipe["curve"]), []).append(index)
    leaders: list[Leader] = []
    for (dataset, curve), members in sorted(groups.items()):
        split = "valid" if all(_loss(recipes[index], "valid") for index in members) else "test"
        measured = [index for index in members if _loss(recipes[index], split)]
        if measured:
            best = min(measured, key=_loss_on(recipes, split))
            leaders.append(
                {"dataset": dataset, "curve": curve, "recipe": best, "of": len(measured), "chosen_on": split}
            )
    return sorted(leaders, key=lambda one: (one["dataset"], _loss_on(recipes, "test")(one["recipe"])))


def _loss_on(recipes: Sequence[RecipeEntry], split: str) -> Callable[[int], float]:
    return lambda index: found["mean"] if (found := _loss(recipes[index], split)) else float("inf")


def _loss(recipe: RecipeEntry, split: str) -> Spread | None:
    return recipe["metrics"].get(split, {}).get(CHOSEN_BY)
