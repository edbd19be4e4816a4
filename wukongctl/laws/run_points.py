"""The points of run folders: finished runs on the same data, with the same FLOP convention."""

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wukongctl.config.report import LossMetric
from wukongctl.data.next_steps import quoted
from wukongctl.errors import UsageError
from wukongctl.laws.points import Excluded, Point, PointSet, in_order
from wukongctl.runs.datasets import RunsOfDataset, by_dataset
from wukongctl.runs.folders import RunRecord, run_folders
from wukongctl.runs.recipe_differences import differing_values
from wukongctl.runs.warning_groups import LabeledWarning
from wukongctl.training.run_record import RESULT

MOST_SETTINGS = 3
SETTINGS = ("model.", "optimizer.", "schedule.", "batch_size", "epochs", "early_stopping.", "shuffle")
"""What of a recipe changes the loss, at equal size and data."""


def read_runs(
    paths: Sequence[Path],
    *,
    split: str | None = None,
    metric: LossMetric | None = None,
    dataset: str | None = None,
) -> PointSet:
    """Read run folders, or folders of run folders, as one comparable point set; of `dataset` where given.

    The split is `test` where every run has it, else `valid`; the metric is `excess_logloss` where every run
    has it, else `logloss`. Repeated runs with the same loss count once; runs without FLOPs, such as those of
    LightGBM, are omitted. Raises `UsageError` when runs differ in data or FLOP convention, when two runs of
    one size and seed differ in loss, or when no run is finished.
    """
    groups = by_dataset([RunRecord.read(folder) for folder in run_folders(paths)], dataset)
    if len(groups) > 1:
        listed = ", ".join(f"`{one.label}`" for one in groups)
        raise UsageError(
            f"the runs are of {len(groups)} datasets: {listed}",
            hint=f"add `--dataset {quoted(groups[0].label)}`, or pass the runs of one",
        )
    return _point_set(groups[0].runs, split, metric)


def read_datasets(
    paths: Sequence[Path],
    *,
    split: str | None = None,
    metric: LossMetric | None = None,
    dataset: str | None = None,
) -> tuple[list[tuple[RunsOfDataset, PointSet]], list[str]]:
    """One point set per dataset, as by `read_runs`, and why other datasets are left out.

    Raises `UsageError` when every dataset is.
    """
    groups = by_dataset([RunRecord.read(folder) for folder in run_folders(paths)], dataset)
    found: list[tuple[RunsOfDataset, PointSet]] = []
    failures: dict[str, UsageError] = {}
    for group in groups:
        try:
            found.append((group, _point_set(group.runs, split, metric)))
        except UsageError as error:
            failures[group.label] = error
    if not found:
        raise next(iter(failures.values()))
    return found, [f"left out dataset `{label}`: {error.message}" for label, error in failures.items()]


def _point_set(found: Sequence[RunRecord], split: str | None, metric: LossMetric | None) -> PointSet:
    """The points of runs on one dataset."""
    runs = [run for run in found if run.info.gflop]  # 0 has no place on a logarithmic axis
    if not runs:
        raise UsageError(
            "no run has FLOPs, so there is no curve to fit",
            hint="use `wukongctl compare` for these models",
        )
    done = [run for run in runs if run.status == "complete"]
    if not done:
        raise UsageError(f"no finished run among {len(runs)}", hint="`wukongctl runs ls` shows their status")
    convention = _only("FLOP convention", runs, lambda run: str(run.info.flops.convention))
    split = split or _common_split(done)
    metric = metric or _common_metric(done, split)
    read = [(_point(run, split, metric), run) for run in done]
    points = _distinct(read)
    bayes = done[0].info.bayes_logloss(split)
    return PointSet(
        points=in_order(points),
        metric=metric,
        split=split,
        dataset=done[0].info.data.dataset,
        fingerprint=done[0].info.data.fingerprint,
        convention=convention,
        floor=0.0 if metric == "excess_logloss" else bayes,
        bayes_logloss=bayes,
        excluded=tuple(_excluded(run) for run in runs if run.status != "complete"),
        without_flops=tuple(str(run.folder) for run in found if not run.info.gflop),
        warnings=tuple(
            LabeledWarning(run.info.curve_name, run.info.run, warning)
            for run in done
            for warning in run.warnings
        ),
        remarks=tuple(_mixed_settings(read)),
    )


def _point(run: RunRecord, split: str, metric: LossMetric) -> Point:
    info, result = run.info, run.result
    value = run.metrics.get(split, {}).get(metric)
    if result is None or value is None or not math.isfinite(value):
        raise UsageError(f"`{run.folder / RESULT}` has no `{metric}` on `{split}`")
    return Point(
        curve=info.curve_name,
        x=run.info.gflop or 0.0,
        loss=float(value),
        seed=info.seed,
        examples=result.examples,
        dense_params=info.params.dense,
        passes=result.passes,
        selected_on=result.selected_on,
        run=info.run,
    )


def _excluded(run: RunRecord) -> Excluded:
    return Excluded(run.info.curve_name, run.info.gflop or 0.0, run.status, run.info.seed, run.info.run)


def _only(name: str, runs: Sequence[RunRecord], value_of: Callable[[RunRecord], str]) -> str:
    """The one value all runs share; raises `UsageError` naming two runs that differ."""
    first = runs[0]
    for run in runs:
        if value_of(run) != value_of(first):
            raise UsageError(
                f"runs differ in {name}: `{first.folder}` has `{value_of(first)}`, "
                f"`{run.folder}` has `{value_of(run)}`",
                hint="report on comparable runs only",
            )
    return value_of(first)


def _common_split(runs: Sequence[RunRecord]) -> str:
    for split in ("test", "valid"):
        if all(run.metrics.get(split) for run in runs):
            return split
    bare = next(run for run in runs if not run.metrics.get("valid"))
    raise UsageError(f"`{bare.folder / RESULT}` has metrics for neither `test` nor `valid`")


def _common_metric(runs: Sequence[RunRecord], split: str) -> LossMetric:
    known = all("excess_logloss" in run.metrics.get(split, {}) for run in runs)
    return "excess_logloss" if known else "logloss"


def _distinct(found: Sequence[tuple[Point, RunRecord]]) -> list[Point]:
    """Each run once: two sweeps may contain the same recipe, seed and loss."""
    seen: dict[tuple[object, ...], tuple[Point, RunRecord]] = {}
    for point, run in found:
        first, other = seen.setdefault(point.identity, (point, run))
        if first.loss != point.loss:
            raise _two_settings(other, run)
    return [point for point, _ in seen.values()]


def _mixed_settings(found: Sequence[tuple[Point, RunRecord]]) -> Iterator[str]:
    """Curves of which some runs of one size differ in more than their seed, which look like repeats."""
    sizes: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for point, run in found:
        size = (point.curve, point.x, point.dense_params, point.examples)
        sizes.setdefault(size, []).append(run.seedless_recipe)
    keys: dict[object, set[str]] = {}
    for (curve, *_), recipes in sizes.items():
        differing = {key for values in differing_values(recipes) for key in values}
        keys.setdefault(curve, set()).update(key for key in differing if key.startswith(SETTINGS))
    for curve, names in keys.items():
        if names:
            shown = ", ".join(f"`{name}`" for name in sorted(names)[:MOST_SETTINGS])
            shown += ", …" if len(names) > MOST_SETTINGS else ""
            yield (
                f"Runs of one size of {curve} differ in {shown}: they are not repeats of one "
                "setting, so their noise is not that of seeds."
            )


def _two_settings(one: RunRecord, other: RunRecord) -> UsageError:
    """The error for two runs of a size and seed: how they differ, and a command that reports on one."""
    name, at, *values = one.info.curve_name, one.info.seed, one.seedless_recipe, other.seedless_recipe
    here, there = differing_values(values)
    settings = [f"`{key}` ({here.get(key, '–')} and {there.get(key, '–')})" for key in here | there]
    shown = ", ".join(settings[:MOST_SETTINGS]) + (", …" if len(settings) > MOST_SETTINGS else "")
    differ = f"which differ in {shown}" if shown else "with the same recipe and different losses"
    return UsageError(
        f"`{one.folder}` and `{other.folder}` are both `{name}` of one size with seed {at}, {differ}",
        hint="name the runs of one setting, such as "
        f"`wukongctl scale-report {shlex.quote(str(one.folder))} …`; to fit both settings, train each as its "
        "own curve, `--set curve=NAME`",
    )
