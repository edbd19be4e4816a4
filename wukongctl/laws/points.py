"""The points of a scaling law: one per finished run, read from run folders or from a CSV table.

A point set records the metric, the split, the FLOP convention and the floor, which is the irreducible loss.
Runs that are not comparable are rejected here, before anything is fitted.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wukongctl.config.report import LossMetric
from wukongctl.errors import UsageError
from wukongctl.laws.axis import COMPUTE, Axis
from wukongctl.laws.table import CsvRow, CsvTable
from wukongctl.runs.folders import Run, run_folders
from wukongctl.runs.warning_groups import LabeledWarning
from wukongctl.training.run_record import RESULT

LARGEST_GFLOP, LARGEST_LOSS = 1e15, 1e6
"""Limits of CSV values: compute also has to be at least 1 / LARGEST_GFLOP. Fits beyond them overflow."""
METRICS: tuple[LossMetric, ...] = ("logloss", "relative_logloss", "excess_logloss")
REQUIRED_COLUMNS = ("model", "gflop_per_example")
OPTIONAL_COLUMNS = ("seed", "examples", "dense_params")
PASSES_COLUMN = "passes"
EXCLUDED_COLUMN, GROUP_COLUMN = "excluded", "group"
DIVERGED_CELLS = ("diverged", "nan", "inf", "+inf")
FIELD_KEYS = {"curve": "model", "x": "gflop_per_example"}
"""Field of a point → its name in CSV files and in report.json."""


@dataclass(frozen=True, slots=True)
class Point:
    """One finished run of a curve: `x` on the axis of its point set, `loss` in the unit of the metric."""

    curve: str
    x: float
    loss: float
    seed: int | None = None
    examples: int | None = None
    dense_params: int | None = None
    passes: float | None = None
    selected_on: str | None = None
    run: str | None = None
    group: str | None = None
    """Task or dataset; curves of different groups are not compared with each other."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A run that is not fitted, and why: `diverged`, `unfinished`, or the reason in its line of a CSV."""

    curve: str
    x: float
    reason: str
    seed: int | None = None
    run: str | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class PointSet:
    """Comparable points and what they measure.

    `floor` is the known irreducible loss in the unit of the metric (0 for excess LogLoss); `bayes_logloss` is
    the LogLoss of the true probabilities, known for generated data only.
    """

    points: tuple[Point, ...]
    metric: LossMetric
    split: str | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    convention: str | None = None
    floor: float | None = None
    bayes_logloss: float | None = None
    excluded: tuple[Excluded, ...] = ()
    without_flops: tuple[str, ...] = ()
    """Runs of models without a FLOP count, such as LightGBM."""
    warnings: tuple[LabeledWarning, ...] = ()
    """Warnings of the fitted runs."""
    axis: Axis = COMPUTE

    @property
    def zero_loss(self) -> float:
        """The value of the metric at which LogLoss is 0: -100 for a relative LogLoss in percent."""
        return -100.0 if self.metric == "relative_logloss" else 0.0


# --- CSV ------------------------------------------------------------------------------------------------


def read_csv(path: Path) -> PointSet:
    """Read `model, gflop_per_example` and a loss, one run per line.

    The loss is `logloss`, `relative_logloss` (percent) or `excess_logloss` (over the Bayes optimum).
    Optional: `seed`, `examples`, `dense_params`, `passes` (epochs), `group` (curves of different groups are
    not compared); other columns are ignored. Runs with a loss of `diverged`, `nan` or `inf`, or with a reason
    in `excluded`, are listed but not fitted. Raises `RecipeError` with the position of every invalid cell.
    """
    table = CsvTable.read(path)
    column = table.check_header(
        required=REQUIRED_COLUMNS,
        one_of=METRICS,
        optional=(*OPTIONAL_COLUMNS, PASSES_COLUMN, EXCLUDED_COLUMN, GROUP_COLUMN),
    )
    metric = next(metric for metric in METRICS if metric == column)
    points: list[Point] = []
    excluded: list[Excluded] = []
    seen: dict[tuple[object, ...], int] = {}
    for row in table.rows:
        entry = _csv_entry(table, row, metric)
        if isinstance(entry, Excluded):
            excluded.append(entry)
        elif entry is not None:
            first = seen.setdefault(_identity(entry), row.line)
            if first != row.line:
                table.add_problem(
                    row, "model", f"the same run as line {first}", "give each run its own `seed`"
                )
            points.append(entry)
    table.raise_problems()
    if not points:
        raise UsageError(f"no finished run in `{path}`", hint="add a line per run")
    floor = 0.0 if metric == "excess_logloss" else None
    return PointSet(_in_order(points), metric, floor=floor, excluded=tuple(excluded))


def _compute(table: CsvTable, row: CsvRow) -> float | None:
    gflop = table.number(row, "gflop_per_example", float)
    if gflop is not None and gflop <= 0:
        table.add_problem(row, "gflop_per_example", f"`{gflop:g}` is not positive")
    elif gflop is not None and not 1 / LARGEST_GFLOP <= gflop <= LARGEST_GFLOP:
        table.add_problem(row, "gflop_per_example", f"`{gflop:g}` GFLOP is out of range")
    return gflop


def _loss(table: CsvTable, row: CsvRow, metric: LossMetric) -> float | None:
    loss = table.number(row, metric, float)
    if loss is not None and abs(loss) > LARGEST_LOSS:
        table.add_problem(row, metric, f"`{loss:g}` is out of range", "write `diverged` if the run did")
    if loss is not None and loss < 0 and metric == "logloss":
        table.add_problem(
            row, metric, f"`{loss:g}` is negative", "name the column `relative_logloss` if it is one"
        )
    return loss


def _csv_entry(table: CsvTable, row: CsvRow, metric: LossMetric) -> Point | Excluded | None:
    """The run of one line, or None after recording its problems in the table."""
    before = len(table.problems)
    curve = row.cells.get("model", "")
    if not curve:
        table.add_problem(row, "model", "`model` is empty")
    gflop = _compute(table, row)
    seed, examples, dense = (table.number(row, name, int, optional=True) for name in OPTIONAL_COLUMNS)
    passes = table.number(row, PASSES_COLUMN, float, optional=True)
    for name, count in (("examples", examples), ("dense_params", dense), (PASSES_COLUMN, passes)):
        if count is not None and count <= 0:
            table.add_problem(row, name, f"`{count}` is not positive")
    diverged = row.cells.get(metric, "").lower() in DIVERGED_CELLS
    loss = None if diverged else _loss(table, row, metric)
    if len(table.problems) > before or gflop is None:
        return None
    if diverged or loss is None:
        return Excluded(curve, gflop, "diverged", seed, f"line {row.line}")
    if reason := row.cells.get(EXCLUDED_COLUMN):
        return Excluded(curve, gflop, reason, seed, f"line {row.line}", loss)
    group = row.cells.get(GROUP_COLUMN) or None
    return Point(curve, gflop, loss, seed, examples, dense, passes, group=group)


# --- run folders ----------------------------------------------------------------------------------------


def read_runs(
    paths: Sequence[Path], *, split: str | None = None, metric: LossMetric | None = None
) -> PointSet:
    """Read run folders, or folders of run folders, as one comparable point set.

    The split is `test` where every run has it, else `valid`; the metric is `excess_logloss` where every run
    has it, else `logloss`. Repeated runs with the same loss count once; runs of models without a FLOP count
    are omitted. Raises `UsageError` when runs differ in data or FLOP convention, when two runs of one size
    and seed differ in loss, or when no run is finished.
    """
    found = [Run.read(folder) for folder in run_folders(paths)]
    runs = [run for run in found if run.info.gflop is not None]
    if not runs:
        raise UsageError(
            "no run has a FLOP count, so there is no curve to fit",
            hint="use `wukongctl compare` for these models",
        )
    done = [run for run in runs if run.status == "complete"]
    if not done:
        raise UsageError(f"no finished run among {len(runs)}", hint="`wukongctl runs ls` shows their status")
    fingerprint = _only("data fingerprint", runs, lambda run: run.info.data.fingerprint)
    convention = _only("FLOP convention", runs, lambda run: str(run.info.flops.convention))
    split = split or _common_split(done)
    metric = metric or _common_metric(done, split)
    points = _distinct(_point(run, split, metric) for run in done)
    bayes = done[0].info.bayes_logloss(split)
    return PointSet(
        points=_in_order(points),
        metric=metric,
        split=split,
        dataset=done[0].info.data.dataset,
        fingerprint=fingerprint,
        convention=convention,
        floor=0.0 if metric == "excess_logloss" else bayes,
        bayes_logloss=bayes,
        excluded=tuple(_excluded(run) for run in runs if run.status != "complete"),
        without_flops=tuple(str(run.folder) for run in found if run.info.gflop is None),
        warnings=tuple(
            LabeledWarning(run.info.curve_name, run.info.run, warning)
            for run in done
            for warning in run.warnings
        ),
    )


def _point(run: Run, split: str, metric: LossMetric) -> Point:
    info, result = run.info, run.result
    value = run.metrics.get(split, {}).get(metric)
    if result is None or value is None or not math.isfinite(value):
        raise UsageError(f"`{run.folder / RESULT}` has no `{metric}` on `{split}`")
    return Point(
        curve=info.curve_name,
        x=_size(run),
        loss=float(value),
        seed=info.seed,
        examples=result.examples,
        dense_params=info.params.dense,
        passes=result.passes,
        selected_on=result.selected_on,
        run=info.run,
    )


def _excluded(run: Run) -> Excluded:
    return Excluded(run.info.curve_name, _size(run), run.status, run.info.seed, run.info.run)


def _size(run: Run) -> float:
    """GFLOP per example, which has to be positive on a logarithmic axis."""
    if not run.info.gflop:
        raise UsageError(
            f"run `{run.folder}` costs 0 FLOP by the convention and cannot be placed on a logarithmic axis",
            hint="pass only the other runs",
        )
    return run.info.gflop


def _only(name: str, runs: Sequence[Run], value_of: Callable[[Run], str]) -> str:
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


def _common_split(runs: Sequence[Run]) -> str:
    for split in ("test", "valid"):
        if all(run.metrics.get(split) for run in runs):
            return split
    bare = next(run for run in runs if not run.metrics.get("valid"))
    raise UsageError(f"`{bare.folder / RESULT}` has metrics for neither `test` nor `valid`")


def _common_metric(runs: Sequence[Run], split: str) -> LossMetric:
    known = all("excess_logloss" in run.metrics.get(split, {}) for run in runs)
    return "excess_logloss" if known else "logloss"


def _distinct(points: Iterable[Point]) -> list[Point]:
    """Each run once: two sweeps may contain the same recipe, seed and loss."""
    seen: dict[tuple[object, ...], Point] = {}
    for point in points:
        first = seen.setdefault(_identity(point), point)
        if first.loss != point.loss:
            raise UsageError(
                f"`{first.run}` and `{point.run}` are the same size of `{point.curve}` with the same seed",
                hint="leave one out, or set different `curve` labels",
            )
    return list(seen.values())


def _identity(point: Point) -> tuple[object, ...]:
    """The key by which two points are the same run; without a seed it includes the loss."""
    anonymous = point.loss if point.seed is None else None
    return (point.curve, point.x, point.dense_params, point.examples, point.seed, anonymous)


def _in_order(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points sorted, independent of the order of the input."""
    return tuple(
        sorted(
            points,
            key=lambda p: (p.curve, p.x, p.examples or 0, p.seed or 0, p.loss, p.run or ""),
        )
    )
