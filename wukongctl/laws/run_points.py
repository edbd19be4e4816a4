"""The points of run folders: finished runs on the same data, with the same FLOP convention."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wukongctl.config.report import LossMetric
from wukongctl.data.next_steps import quoted
from wukongctl.errors import UsageError
from wukongctl.laws.points import Excluded, Point, PointSet, in_order
from wukongctl.runs.datasets import RunsOfDataset, by_dataset
from wukongctl.runs.folders import RunRecord, run_folders
from wukongctl.runs.warning_groups import LabeledWarning
from wukongctl.training.run_record import RESULT


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
    points = _distinct(_point(run, split, metric) for run in done)
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


def _distinct(points: Iterable[Point]) -> list[Point]:
    """Each run once: two sweeps may contain the same recipe, seed and loss."""
    seen: dict[tuple[object, ...], Point] = {}
    for point in points:
        first = seen.setdefault(point.identity, point)
        if first.loss != point.loss:
            raise UsageError(
                f"`{first.run}` and `{point.run}` are the same size of `{point.curve}` with the same seed",
                hint="name the runs to fit, not their folder; or train each setting as a curve of its own, "
                "`--set curve=NAME`",
            )
    return list(seen.values())
