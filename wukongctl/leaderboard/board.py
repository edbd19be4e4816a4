"""Finished runs → one row per recipe with the spread over seeds, and paired differences to a reference."""

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from wukongctl.config.suggestions import did_you_mean
from wukongctl.data import next_steps
from wukongctl.decisions import holm
from wukongctl.errors import RunFailed, UsageError
from wukongctl.leaderboard.examples import (
    Contributions,
    Difference,
    auc_contributions,
    compare,
    loss_contributions,
)
from wukongctl.runs import recipe_differences
from wukongctl.runs.folders import Run, run_folders
from wukongctl.runs.warning_groups import LabeledWarning, WarningGroup, group_warnings
from wukongctl.training.evaluate import predictions
from wukongctl.training.evaluation import Scores
from wukongctl.training.metrics import example_losses
from wukongctl.training.warnings import RunWarning

Metric: TypeAlias = Literal["auc", "logloss", "excess_logloss"]
LEVEL = 0.95


@dataclass(frozen=True)
class Contender:
    """The runs of one recipe that differ in nothing but the seed."""

    name: str
    runs: dict[int, Path]
    gflop_per_example: float | None
    dense_params: int | None
    """Both None for a model that has no FLOPs."""
    contributions: dict[Metric, dict[int, Contributions]]
    settings: dict[str, Any]
    """Dotted key → value of what tells it from others of the same name."""
    warnings: dict[int, tuple[RunWarning, ...]]
    """Seed → warnings of the run."""

    def values(self, metric: Metric) -> list[float]:
        """The metric of every seed."""
        return [run.value for run in self.contributions[metric].values()]

    def mean(self, metric: Metric) -> float:
        """Over seeds."""
        return statistics.fmean(self.values(metric))

    def sd(self, metric: Metric) -> float | None:
        """Sample standard deviation over seeds, None for one seed."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One contender with its differences to the reference, none for the reference itself."""

    contender: Contender
    differences: dict[Metric, Difference]
    adjusted: dict[Metric, float]
    """p-values after Holm over all rows of the metric."""

    def verdict(self, metric: Metric) -> Literal["better", "worse", "undecided"]:
        """What the difference says at 5 %, corrected for the number of rows."""
        if self.adjusted[metric] > 1 - LEVEL:
            return "undecided"
        higher = self.differences[metric].value > 0
        return "better" if higher == (metric == "auc") else "worse"


@dataclass(frozen=True)
class Repeated:
    """A run that is left out because another one has its recipe and its seed."""

    run: Path
    of: Path
    same_result: bool
    """False where the two measured different things, as on another machine or by another version."""


@dataclass(frozen=True)
class Leaderboard:
    """Rows from best to worst by `by`; differences are row minus `reference`."""

    split: str
    rows_of_split: int
    by: Metric
    metrics: tuple[Metric, ...]
    reference: str
    rows: tuple[Row, ...]
    skipped: tuple[Run, ...]
    """Those that diverged or are not finished."""
    repeated: tuple[Repeated, ...]

    @property
    def warnings(self) -> tuple[WarningGroup, ...]:
        """Warnings of the runs, grouped by code, in the order of the rows."""
        contenders = [row.contender for row in self.rows]
        return group_warnings(
            LabeledWarning(contender.name, str(contender.runs[seed]), warning)
            for contender in contenders
            for seed, found in sorted(contender.warnings.items())
            for warning in found
        )


def build(
    paths: Sequence[Path],
    *,
    data: Path,
    split: str,
    by: Metric,
    against: str | None,
    progress: Callable[[int, int, str], None],
) -> Leaderboard:
    """Compare all finished runs in `paths` on `split`, against the best or the one named `against`.

    Raises UsageError when the runs were not trained on the same data, or none is finished.
    """
    runs = [Run.read(folder) for folder in run_folders(paths)]
    complete = [run for run in runs if run.status == "complete"]
    skipped = tuple(run for run in runs if run.status != "complete")
    _require_same_data(complete, data)
    finished, repeated = _each_once(complete)
    if not finished:
        which = "the run is not" if len(runs) == 1 else f"none of the {len(runs)} runs is"
        raise UsageError(f"nothing to compare: {which} finished", hint="run `wukongctl runs ls` to see why")
    scores: dict[Path, Scores] = {}
    for done, run in enumerate(finished):
        progress(done, len(finished), run.folder.name)
        scores[run.folder] = predictions(run.folder, split, data=data)
    _require_same_rows(scores)
    contenders = _contenders(finished, scores)
    metrics = tuple(contenders[0].contributions)
    if by not in metrics:
        what = f"there is no AUC of `{split}`: its rows are of one class"
        raise UsageError(what, hint="add `--by logloss`")
    sign = -1 if by == "auc" else 1
    ordered = sorted(contenders, key=lambda contender: sign * contender.mean(by))
    reference = _reference(ordered, against)
    rows = _rows(ordered, reference, metrics)
    size = len(next(iter(scores.values())).labels)
    return Leaderboard(split, size, by, metrics, reference.name, rows, skipped, repeated)


def _each_once(runs: Sequence[Run]) -> tuple[list[Run], tuple[Repeated, ...]]:
    """The first run of every recipe and seed, and the others."""
    first: dict[tuple[str, int], Run] = {}
    repeated = []
    for run in runs:
        kept = first.setdefault((_recipe(run), _seed(run)), run)
        if kept is not run:
            repeated.append(Repeated(run.folder, kept.folder, _measured(run) == _measured(kept)))
    return list(first.values()), tuple(repeated)


def _measured(run: Run) -> Any:
    return (run.result or {}).get("metrics")


def _seed(run: Run) -> int:
    seed = run.get("seed")
    if not isinstance(seed, int):
        raise UsageError(f"`{run.folder / 'run.json'}`: `seed` is `{seed}`", hint="train this run again")
    return seed


def _require_same_data(runs: Sequence[Run], data: Path) -> None:
    """UsageError that names each dataset once, with the command for one of several."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.get("data", "fingerprint")), []).append(run)
    if len(found) <= 1:
        return
    listed = [
        f"`{members[0].get('data', 'dataset')}` (fingerprint {fingerprint[:12]}, "
        f"{len(members)} run{'s' * (len(members) > 1)})"
        for fingerprint, members in found.items()
    ]
    most = max(found.values(), key=len)
    raise UsageError(
        f"the runs were trained on different data: {', '.join(listed)}",
        hint=f"run `{next_steps.compare_command([run.folder for run in most], data)}`",
    )


def _require_same_rows(scores: dict[Path, Scores]) -> None:
    for folder, found in scores.items():
        first = next(iter(scores))
        if not np.array_equal(scores[first].labels, found.labels):
            raise RunFailed(
                f"the predictions of `{folder}` and `{first}` are not of the same rows",
                hint="delete `predictions` in the one that is damaged, and they are made anew",
            )


def _contenders(runs: Sequence[Run], scores: dict[Path, Scores]) -> list[Contender]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_recipe(run), []).append(run)
    names = [_name(members[0]) for members in groups.values()]
    apart = _settings(names, [_seedless(members[0]) for members in groups.values()])
    made = []
    folders = _folder_names([run.folder for run in runs])
    for name, settings, members in zip(names, apart, groups.values(), strict=True):
        by_seed = {_seed(run): run.folder for run in members}
        label = name if names.count(name) == 1 else folders[by_seed[min(by_seed)]]
        measured = {seed: _contributions(scores[folder]) for seed, folder in by_seed.items()}
        metrics = next(iter(measured.values())).keys()
        made.append(
            Contender(
                label,
                by_seed,
                members[0].gflop,
                members[0].get("params", "dense"),
                {metric: {seed: parts[metric] for seed, parts in measured.items()} for metric in metrics},
                settings,
                {_seed(run): run.warnings for run in members},
            )
        )
    return made


def _folder_names(folders: Sequence[Path]) -> dict[Path, str]:
    """What each folder is called; its path, where two are called alike."""
    names = [folder.name for folder in folders]
    return {
        folder: name if names.count(name) == 1 else str(folder)
        for folder, name in zip(folders, names, strict=True)
    }


def _settings(names: Sequence[str], recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each recipe, what tells it from those of the same name."""
    made: list[dict[str, Any]] = [{}] * len(names)
    for name in set(names):
        places = [place for place, each in enumerate(names) if each == name]
        for place, found in zip(
            places, recipe_differences.differing_values([recipes[at] for at in places]), strict=True
        ):
            made[place] = found
    return made


def _seedless(run: Run) -> dict[str, Any]:
    recipe = run.get("recipe")
    if not isinstance(recipe, dict):
        raise UsageError(f"`{run.folder / 'run.json'}`: `recipe` is no mapping", hint="train this run again")
    return {key: value for key, value in recipe.items() if key != "seed"}


def _recipe(run: Run) -> str:
    """A digest that is equal for runs that differ in nothing but the seed."""
    return hashlib.sha256(json.dumps(_seedless(run), sort_keys=True).encode()).hexdigest()


def _name(run: Run) -> str:
    return run.get("recipe", "name") or f"{run.get('data', 'dataset')}-{run.get('model')}"


def _contributions(scores: Scores) -> dict[Metric, Contributions]:
    losses = example_losses(scores.logits, scores.labels)
    found: dict[Metric, Contributions] = {"logloss": loss_contributions(losses)}
    if 0 < scores.labels.mean() < 1:
        found = {"auc": auc_contributions(scores.logits, scores.labels), **found}
    if scores.probability is not None:
        p = np.clip(scores.probability.astype(np.float64), 1e-12, 1 - 1e-12)
        entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
        found["excess_logloss"] = loss_contributions(example_losses(scores.logits, p) - entropy)
    return found


def _reference(ordered: Sequence[Contender], against: str | None) -> Contender:
    if against is None:
        return ordered[0]
    named = {contender.name: contender for contender in ordered}
    if against not in named:
        listed = f"there are {', '.join(f'`{name}`' for name in named)}"
        raise UsageError(f"no run is called `{against}`", hint=did_you_mean(against, named) or listed)
    return named[against]


def _rows(ordered: Sequence[Contender], reference: Contender, metrics: Sequence[Metric]) -> tuple[Row, ...]:
    others = [contender for contender in ordered if contender is not reference]
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


def _row_dict(row: Row, metrics: Sequence[Metric]) -> dict[str, Any]:
    contender = row.contender
    return {
        "name": contender.name,
        "gflop_per_example": contender.gflop_per_example,
        "dense_params": contender.dense_params,
        "settings": contender.settings,
        "runs": {str(seed): str(folder) for seed, folder in sorted(contender.runs.items())},
        "warnings": {
            str(seed): [warning.to_dict() for warning in found]
            for seed, found in sorted(contender.warnings.items())
        },
        "metrics": {
            metric: {"mean": contender.mean(metric), "sd": contender.sd(metric), "n": len(contender.runs)}
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
