"""Finished runs → one row per recipe with the spread over seeds, and paired differences to a reference."""

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from wukongctl.config.loading import did_you_mean
from wukongctl.errors import RunFailed, UsageError
from wukongctl.scaling.examples import (
    Contributions,
    Difference,
    auc_contributions,
    compare,
    loss_contributions,
)
from wukongctl.scaling.gates import holm
from wukongctl.scaling.points import run_folders
from wukongctl.training.evaluate import predictions
from wukongctl.training.evaluation import Scores
from wukongctl.training.metrics import example_losses
from wukongctl.training.run import RunFolder

Metric: TypeAlias = Literal["auc", "logloss", "excess_logloss"]
Described: TypeAlias = tuple[Path, dict[str, Any]]
"""A run folder and its run.json."""
LEVEL = 0.95


@dataclass(frozen=True)
class Contender:
    """The runs of one recipe that differ in nothing but the seed."""

    name: str
    runs: dict[int, Path]
    gflop_per_example: float
    dense_params: int
    contributions: dict[Metric, dict[int, Contributions]]

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
    skipped: tuple[str, ...]
    """Folders of runs that diverged or are not finished."""
    repeated: tuple[Repeated, ...]


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

    Raises UsageError when the runs were not trained on the same data, or there is nothing to compare.
    """
    described = [(folder, _described(folder)) for folder in run_folders(paths)]
    finished = [(folder, run) for folder, run in described if _status(folder) == "complete"]
    skipped = tuple(str(folder) for folder, _ in described if _status(folder) != "complete")
    _require_same_data(finished)
    finished, repeated = _each_once(finished)
    scores: dict[Path, Scores] = {}
    for done, (folder, _) in enumerate(finished):
        progress(done, len(finished), folder.name)
        scores[folder] = predictions(folder, split, data=data)
    _require_same_rows(scores)
    contenders = _contenders(finished, scores)
    if len(contenders) < 2:
        raise UsageError(
            f"nothing to compare: {len(contenders)} finished recipe in {len(described)} runs",
            hint="name runs of two recipes or more",
        )
    metrics = tuple(contenders[0].contributions)
    sign = -1 if by == "auc" else 1
    ordered = sorted(contenders, key=lambda contender: sign * contender.mean(by))
    reference = _reference(ordered, against)
    rows = _rows(ordered, reference, metrics)
    size = len(next(iter(scores.values())).labels)
    return Leaderboard(split, size, by, metrics, reference.name, rows, skipped, repeated)


def _described(folder: Path) -> dict[str, Any]:
    run = RunFolder(folder).read("run.json")
    assert run is not None, "run_folders looks for run.json"
    return run


def _status(folder: Path) -> str:
    return (RunFolder(folder).read("result.json") or {}).get("status", "unfinished")


def _each_once(runs: Sequence[Described]) -> tuple[list[Described], tuple[Repeated, ...]]:
    """The first run of every recipe and seed, and the others."""
    first: dict[tuple[str, int], Described] = {}
    repeated = []
    for folder, run in runs:
        kept, _ = first.setdefault((_digest(run["recipe"]), run["seed"]), (folder, run))
        if kept is not folder:
            repeated.append(Repeated(folder, kept, _measured(folder) == _measured(kept)))
    return list(first.values()), tuple(repeated)


def _measured(folder: Path) -> Any:
    return (RunFolder(folder).read("result.json") or {}).get("metrics")


def _require_same_data(runs: Sequence[Described]) -> None:
    for folder, run in runs:
        first_folder, first = runs[0]
        if run["data"]["fingerprint"] != first["data"]["fingerprint"]:
            raise UsageError(
                f"`{folder}` and `{first_folder}` were trained on different data "
                f"(`{run['data']['dataset']}`, fingerprints {run['data']['fingerprint'][:12]} and "
                f"{first['data']['fingerprint'][:12]})",
                hint="compare runs on the same prepared dataset",
            )


def _require_same_rows(scores: dict[Path, Scores]) -> None:
    for folder, found in scores.items():
        first = next(iter(scores))
        if not np.array_equal(scores[first].labels, found.labels):
            raise RunFailed(
                f"the predictions of `{folder}` and `{first}` are not of the same rows",
                hint="delete `predictions` in the one that is damaged, and they are made anew",
            )


def _contenders(runs: Sequence[Described], scores: dict[Path, Scores]) -> list[Contender]:
    groups: dict[str, list[Described]] = {}
    for folder, run in runs:
        groups.setdefault(_digest(run["recipe"]), []).append((folder, run))
    names = [_name(members[0][1]) for members in groups.values()]
    made = []
    for name, (digest, members) in zip(names, groups.items(), strict=True):
        label = name if names.count(name) == 1 else f"{name}-{digest[:4]}"
        by_seed = {run["seed"]: folder for folder, run in members}
        measured = {seed: _contributions(scores[folder]) for seed, folder in by_seed.items()}
        metrics = next(iter(measured.values())).keys()
        first = members[0][1]
        made.append(
            Contender(
                label,
                by_seed,
                first["flops"]["gflop_per_example"],
                first["params"]["dense"],
                {metric: {seed: parts[metric] for seed, parts in measured.items()} for metric in metrics},
            )
        )
    return made


def _digest(recipe: dict[str, Any]) -> str:
    """Equal for recipes that differ in nothing but the seed."""
    text = json.dumps({key: value for key, value in recipe.items() if key != "seed"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(run: dict[str, Any]) -> str:
    return run["recipe"].get("name") or f"{run['data']['dataset']}-{run['model']}"


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
        "skipped": list(board.skipped),
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
        "runs": {str(seed): str(folder) for seed, folder in sorted(contender.runs.items())},
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
