"""Finished runs → one row per recipe, with the spread over seeds and paired differences to a reference."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data import manifest as manifests
from wukongctl.decisions import holm
from wukongctl.errors import RunFailed, UsageError
from wukongctl.leaderboard.examples import Difference, compare
from wukongctl.runs import recipe_differences
from wukongctl.runs.datasets import RunsOfDataset, by_dataset
from wukongctl.runs.folders import RunRecord, run_folders
from wukongctl.runs.warning_groups import LabeledWarning, WarningGroup, group_warnings
from wukongctl.training.contributions import Contributions
from wukongctl.training.groups import read_groups, require_column
from wukongctl.training.metrics import COMPARED, METRICS, Metric
from wukongctl.training.predictions import predictions
from wukongctl.training.run_record import INFO, RunWarning
from wukongctl.training.scores import Scores

LEVEL = 0.95


@dataclass(frozen=True)
class RecipeRuns:
    """The runs of one recipe, one per seed."""

    name: str
    runs: dict[int, Path]
    gflop_per_example: float | None
    dense_params: int | None
    """Both None for models without a FLOP count."""
    contributions: dict[str, dict[int, Contributions]]
    """Metric → seed → per-example contributions."""
    settings: dict[str, Any]
    """Dotted key → value of the keys in which recipes of the same name differ."""
    warnings: dict[int, tuple[RunWarning, ...]]
    """Seed → warnings of the run."""

    def values(self, metric: str) -> list[float]:
        """The metric, one value per seed."""
        return [run.value for run in self.contributions[metric].values()]

    def mean(self, metric: str) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values(metric))

    def sd(self, metric: str) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One recipe with its differences to the reference; empty for the reference itself."""

    recipe: RecipeRuns
    differences: dict[str, Difference]
    adjusted: dict[str, float]
    """p values, Holm-corrected over all rows of the metric."""

    def verdict(self, metric: str) -> Literal["better", "worse", "undecided"]:
        """Whether the difference is significant at 5 %, corrected for the number of rows."""
        if self.adjusted[metric] > 1 - LEVEL:
            return "undecided"
        gain = METRICS[metric].gain(0.0, self.differences[metric].value)
        return "better" if gain > 0 else "worse"


@dataclass(frozen=True)
class DuplicateRun:
    """A run left out because another one, `of`, has the same recipe and seed."""

    run: Path
    of: Path
    same_result: bool
    """False when their metrics differ, for example after training on another machine."""


@dataclass(frozen=True)
class Leaderboard:
    """Rows from best to worst by `by`; differences are row minus `reference`."""

    dataset: str
    """The data of the runs; with a part of its fingerprint where runs have two of this name."""
    split: str
    rows_of_split: int
    by: str
    metrics: tuple[str, ...]
    reference: str
    rows: tuple[Row, ...]
    skipped: tuple[RunRecord, ...]
    """Runs that diverged, were pruned or are unfinished."""
    repeated: tuple[DuplicateRun, ...]

    @property
    def warnings(self) -> tuple[WarningGroup, ...]:
        """Warnings of the runs, grouped by code, in the order of the rows."""
        recipes = [row.recipe for row in self.rows]
        return group_warnings(
            LabeledWarning(recipe.name, str(recipe.runs[seed]), warning)
            for recipe in recipes
            for seed, found in sorted(recipe.warnings.items())
            for warning in found
        )


@dataclass(frozen=True)
class Request:
    """What to compare: the metric to order by, the row to compare with, and a column to group by."""

    data: Path
    split: str
    by: str
    against: str | None = None
    group: str | None = None


class UnknownRow(UsageError):
    """There is no row of the name to compare with."""


def boards(
    paths: Sequence[Path],
    request: Request,
    *,
    dataset: str | None = None,
    progress: Callable[[int, int, str], None],
) -> tuple[tuple[Leaderboard, ...], tuple[str, ...]]:
    """A leaderboard per dataset, of all or of `dataset`, and why others are left out.

    Where the row to compare with is on one dataset only, the others compare with their best. Raises
    UsageError when there is no leaderboard, or no such row.
    """
    groups = by_dataset([RunRecord.read(folder) for folder in run_folders(paths)], dataset)
    if len(groups) == 1:
        return (build(groups[0], request, progress=progress),), ()
    found: list[Leaderboard] = []
    failures: list[tuple[str, UsageError]] = []
    unknown: list[UnknownRow] = []
    for one in groups:
        try:
            found.append(build(one, request, progress=progress))
        except UnknownRow as error:
            unknown.append(error)
            found.append(build(one, replace(request, against=None), progress=progress))
        except UsageError as error:
            failures.append((one.label, error))
    if not found:
        raise failures[0][1]
    if len(unknown) == len(found):
        raise unknown[0]
    return tuple(found), tuple(f"left out dataset `{label}`: {error.message}" for label, error in failures)


def build(
    trained: RunsOfDataset, request: Request, *, progress: Callable[[int, int, str], None]
) -> Leaderboard:
    """Compare the finished runs on one dataset with the best one, or with the one named by the request.

    With a categorical column to group by, or where all recipes name the same one, also by gAUC over its
    values. Raises UsageError when no run is finished, or the metric is unknown here.
    """
    runs, data, split, by = trained.runs, request.data, request.split, request.by
    complete = [run for run in runs if run.status == "complete"]
    skipped = tuple(run for run in runs if run.status != "complete")
    finished, repeated = _without_duplicates(complete)
    if not finished:
        which = "the run is not" if len(runs) == 1 else f"none of the {len(runs)} runs is"
        raise UsageError(f"nothing to compare: {which} finished", hint="run `wukongctl runs ls` to see why")
    scores: dict[Path, Scores] = {}
    for done, run in enumerate(finished):
        progress(done, len(finished), run.folder.name)
        scores[run.folder] = predictions(run.folder, split, data=data)
    _require_same_rows(scores)
    scores = _grouped(scores, finished, data, split, request.group)
    recipes = _recipe_runs(finished, scores)
    metrics = tuple(recipes[0].contributions)
    if by not in metrics:
        raise _unmeasured(METRICS[by], next(iter(scores.values())), split)
    ordered = METRICS[by].ranked(recipes, lambda recipe: recipe.mean(by))
    reference = _reference(ordered, request.against)
    rows = _rows(ordered, reference, metrics)
    size = len(next(iter(scores.values())).labels)
    return Leaderboard(trained.label, split, size, by, metrics, reference.name, rows, skipped, repeated)


def _without_duplicates(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], tuple[DuplicateRun, ...]]:
    """The first run of every recipe and seed, and the duplicates."""
    first: dict[tuple[str, int], RunRecord] = {}
    repeated = []
    for run in runs:
        original = first.setdefault((run.recipe_key, _seed(run)), run)
        if original is not run:
            repeated.append(DuplicateRun(run.folder, original.folder, run.metrics == original.metrics))
    return list(first.values()), tuple(repeated)


def _seed(run: RunRecord) -> int:
    if run.info.seed is None:
        raise UsageError(f"`{run.folder / INFO}` has no `seed`", hint="train this run again")
    return run.info.seed


def _require_same_rows(scores: dict[Path, Scores]) -> None:
    for folder, found in scores.items():
        first = next(iter(scores))
        if not np.array_equal(scores[first].labels, found.labels):
            raise RunFailed(
                f"the predictions of `{folder}` and `{first}` are for different rows",
                hint="delete the folder `predictions` of the damaged run to have it regenerated",
            )


def _grouped(
    scores: dict[Path, Scores], runs: Sequence[RunRecord], data: Path, split: str, column: str | None
) -> dict[Path, Scores]:
    """The scores with the groups of their rows; as they are where there is no column to group by."""
    named = {run.info.recipe.get("group") for run in runs}
    column = column or (named.pop() if len(named) == 1 else None)
    if column is None:
        return scores
    dataset = data / runs[0].info.data.dataset
    manifest = manifests.read(dataset)
    if manifest.fingerprint != runs[0].info.data.fingerprint:
        raise UsageError(
            f"`{dataset}` is not the data that the runs were trained on: cannot group by its `{column}`",
            hint="prepare the original again, or name its folder with `--data`",
        )
    require_column(manifest, column)
    groups = read_groups(dataset, manifest, split, column)
    return {folder: replace(found, groups=groups) for folder, found in scores.items()}


def _unmeasured(metric: Metric, scores: Scores, split: str) -> UsageError:
    """Why there is no value of a metric to order rows by."""
    why, hint = f"the rows of `{split}` are of one class", "add `--by logloss`"
    if "probability" in metric.needs:
        why = "true click probabilities are known for generated data only"
    elif "groups" in metric.needs and not scores.has_groups:
        why, hint = "there is no column to group by", "name one with `--group`, such as the user"
    elif "groups" in metric.needs:
        why = "no group has both classes"
    return UsageError(f"there is no {metric.title} of `{split}`: {why}", hint=hint)


def _recipe_runs(runs: Sequence[RunRecord], scores: dict[Path, Scores]) -> list[RecipeRuns]:
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.recipe_key, []).append(run)
    names = [members[0].info.recipe_name for members in groups.values()]
    settings_of = _settings(names, [members[0].seedless_recipe for members in groups.values()])
    found = []
    folders = _folder_names([run.folder for run in runs])
    for name, settings, members in zip(names, settings_of, groups.values(), strict=True):
        by_seed = {_seed(run): run.folder for run in members}
        label = name if names.count(name) == 1 else folders[by_seed[min(by_seed)]]
        measured = {seed: _contributions(scores[folder]) for seed, folder in by_seed.items()}
        metrics = next(iter(measured.values())).keys()
        found.append(
            RecipeRuns(
                label,
                by_seed,
                members[0].info.gflop,
                members[0].info.params.dense,
                {metric: {seed: parts[metric] for seed, parts in measured.items()} for metric in metrics},
                settings,
                {_seed(run): run.warnings for run in members},
            )
        )
    return found


def _folder_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Folder → its name, or its path where names repeat."""
    names = [folder.name for folder in folders]
    return {
        folder: name if names.count(name) == 1 else str(folder)
        for folder, name in zip(folders, names, strict=True)
    }


def _settings(names: Sequence[str], recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe, the values that distinguish it from others of the same name."""
    found: list[dict[str, Any]] = [{}] * len(names)
    for name in set(names):
        same = [index for index, each in enumerate(names) if each == name]
        values = recipe_differences.differing_values([recipes[index] for index in same])
        for index, settings in zip(same, values, strict=True):
            found[index] = settings
    return found


def _contributions(scores: Scores) -> dict[str, Contributions]:
    """Of every metric that can be compared here."""
    measured = {
        metric.name: metric.contributions(scores)
        for metric in COMPARED
        if metric.contributions is not None and metric.applies_to(scores)
    }
    return {name: found for name, found in measured.items() if found is not None}


def _reference(ordered: Sequence[RecipeRuns], against: str | None) -> RecipeRuns:
    if against is None:
        return ordered[0]
    named = {recipe.name: recipe for recipe in ordered}
    if against not in named:
        listed = f"there are {', '.join(f'`{name}`' for name in named)}"
        raise UnknownRow(f"no run is called `{against}`", hint=did_you_mean(against, named) or listed)
    return named[against]


def _rows(ordered: Sequence[RecipeRuns], reference: RecipeRuns, metrics: Sequence[str]) -> tuple[Row, ...]:
    others = [recipe for recipe in ordered if recipe is not reference]
    differences = {
        metric: [compare(other.contributions[metric], reference.contributions[metric]) for other in others]
        for metric in metrics
    }
    adjusted = {
        metric: holm(np.array([difference.p_value for difference in found]))
        for metric, found in differences.items()
    }
    rows = [
        Row(
            other,
            {metric: differences[metric][index] for metric in metrics},
            {metric: adjusted[metric][index] for metric in metrics},
        )
        for index, other in enumerate(others)
    ]
    rows.insert(ordered.index(reference), Row(reference, {}, {}))
    return tuple(rows)


def to_dict(board: Leaderboard) -> dict[str, Any]:
    """The JSON object of `compare --json`."""
    return {
        "dataset": board.dataset,
        "split": board.split,
        "rows": board.rows_of_split,
        "by": board.by,
        "reference": board.reference,
        "level": LEVEL,
        "models": [_row_dict(row, board.metrics) for row in board.rows],
        "skipped": [str(run.folder) for run in board.skipped],
        "repeated": [
            {"run": str(one.run), "of": str(one.of), "same_result": one.same_result} for one in board.repeated
        ],
    }


def _row_dict(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    recipe = row.recipe
    return {
        "name": recipe.name,
        "gflop_per_example": recipe.gflop_per_example,
        "dense_params": recipe.dense_params,
        "settings": recipe.settings,
        "runs": {str(seed): str(folder) for seed, folder in sorted(recipe.runs.items())},
        "warnings": {
            str(seed): [warning.to_dict() for warning in found]
            for seed, found in sorted(recipe.warnings.items())
        },
        "metrics": {
            metric: {"mean": recipe.mean(metric), "sd": recipe.sd(metric), "n": len(recipe.runs)}
            for metric in metrics
        },
        "differences": {
            metric: {
                "value": difference.value,
                "interval": list(difference.interval(LEVEL)),
                "p_value": difference.p_value,
                "p_adjusted": row.adjusted[metric],
                "verdict": row.verdict(metric),
                "sampling_sd": difference.sampling_variance**0.5,
                "seed_sd": None if difference.seed_variance is None else difference.seed_variance**0.5,
            }
            for metric, difference in row.differences.items()
        },
    }
