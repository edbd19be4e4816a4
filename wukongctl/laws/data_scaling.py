"""Scaling with the amount of data: at a fixed model size, and jointly with size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wukongctl.decisions import Interval
from wukongctl.laws.fit import Fit, fit, sizes_of
from wukongctl.laws.intervals import region
from wukongctl.laws.joint import Grid, JointFit, fit_joint, obstacle
from wukongctl.laws.notes import NoteCode, differ_at_one_cost, notes_of
from wukongctl.laws.points import Point, PointSet
from wukongctl.laws.power import POWER_ZERO

# Early stopping changes the number of examples a little, a study of data scaling by at least this factor.
STUDIED_RATIO = 1.5
LEAST_AMOUNTS = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """The runs with one amount of data, with their mean loss."""

    examples: int
    loss: float
    runs: int


@dataclass(frozen=True, slots=True)
class DataLaw:
    """Loss against examples, y = E + A D^-c, for one size of one curve."""

    curve: str
    gflop_per_example: float
    amounts: tuple[Amount, ...]
    law: Fit
    intervals: dict[str, Interval]
    notes: tuple[NoteCode, ...]


@dataclass(frozen=True, slots=True)
class JointLaw:
    """Loss over GFLOP per example N and examples D for one curve; `law` is None for the stated `reason`."""

    curve: str
    law: JointFit | None
    reason: str | None
    outliers: tuple[str, ...] = ()


def varies_data(points: Sequence[Point]) -> bool:
    """Whether some size was trained on clearly different numbers of examples, in at most one epoch each."""
    return any(_varies([run.examples for run in runs]) for runs in _by_size(_single_epoch(points)).values())


def one_amount(points: Sequence[Point]) -> tuple[Point, ...]:
    """The runs to which a curve over size is fitted: all, or in a study of data scaling those of one amount.

    This is the amount of data that most sizes were trained on; of several, the largest.
    """
    if not varies_data(points):
        return tuple(points)
    sizes: dict[int, set[float]] = {}
    for point in points:
        if point.examples:
            sizes.setdefault(point.examples, set()).add(point.x)
    chosen = max(sizes, key=lambda examples: (len(sizes[examples]), examples))
    return tuple(point for point in points if point.examples == chosen)


def data_laws(source: PointSet, *, level: float) -> Iterator[DataLaw]:
    """One law per size that was trained on at least three amounts of data."""
    for (curve, gflop), runs in _by_size(_single_epoch(source.points)).items():
        examples = [float(run.examples) for run in runs if run.examples]
        if not _varies([run.examples for run in runs]) or len(set(examples)) < LEAST_AMOUNTS:
            continue
        losses = [run.loss for run in runs if run.examples]
        amounts = sizes_of(examples, losses, zero=source.zero_loss)
        law = fit(amounts)
        if law is None:
            continue
        laws = region(law, level)
        intervals = {} if laws is None else laws.parameters()
        pure = fit(amounts, POWER_ZERO)
        notes = notes_of(runs, amounts, law, intervals, pure=pure, floored=law, split=source.split)
        found = (
            Amount(int(x), float(y), int(n))
            for x, y, n in zip(amounts.x, amounts.y, amounts.runs, strict=True)
        )
        relevant = tuple(note for note in notes if note != "unequal_data")
        yield DataLaw(curve, gflop, tuple(found), law, intervals, relevant)


def joint_laws(source: PointSet, *, delta: float | None, draws: int, level: float) -> Iterator[JointLaw]:
    """A joint law for every curve with varying data, or the reason why there is none."""
    for curve in sorted({point.curve for point in source.points}):
        points = [p for p in _single_epoch(source.points) if p.curve == curve and p.examples]
        if not varies_data(points):
            continue
        grid, names = _grid(points, source.zero_loss)
        reason = (
            "runs of one size differ in their parameters" if differ_at_one_cost(points) else obstacle(grid)
        )
        if reason:
            yield JointLaw(curve, None, reason)
        else:
            law = fit_joint(grid, delta=delta, draws=draws, level=level)
            yield JointLaw(curve, law, None, tuple(names[i] for i in law.outliers))


def _grid(points: Sequence[Point], zero: float) -> tuple[Grid, list[str]]:
    losses: dict[tuple[float, int], list[float]] = {}
    for point in points:
        losses.setdefault((point.x, point.examples or 0), []).append(point.loss)
    n, d = (np.array([key[i] for key in losses], dtype=float) for i in (0, 1))
    y, runs = (np.array([f(found) for found in losses.values()], dtype=float) for f in (np.mean, len))
    return Grid(n, d, y, runs, zero), [f"{x:.4g} GFLOP, {examples:,} examples" for x, examples in losses]


def _single_epoch(points: Sequence[Point]) -> list[Point]:
    """Runs of at most one epoch; with more, examples repeat and early stopping determines their number."""
    return [point for point in points if point.passes is None or point.passes <= 1]


def _by_size(points: Sequence[Point]) -> dict[tuple[str, float], list[Point]]:
    found: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        found.setdefault((point.curve, point.x), []).append(point)
    return found


def _varies(examples: Sequence[int | None]) -> bool:
    known = [count for count in examples if count]
    return bool(known) and max(known) >= STUDIED_RATIO * min(known)
