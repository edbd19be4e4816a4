"""The analysis of one curve, from its points to the law, its intervals and tests."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from wukongctl.config.report import FormName
from wukongctl.decisions import Interval
from wukongctl.laws.data_scaling import one_amount
from wukongctl.laws.fit import Fit, Sizes, f_test, fit, sizes_of
from wukongctl.laws.form import Array, Form
from wukongctl.laws.forms import FORMS
from wukongctl.laws.intervals import Extrapolation, Noise, Region, extrapolate, lacks_fit, noise, region
from wukongctl.laws.notes import NoteCode, is_descriptive, notes_of
from wukongctl.laws.points import Point, PointSet
from wukongctl.laws.power import POWER, POWER_KNOWN, POWER_ZERO
from wukongctl.laws.robust import fit_robust

Trend: TypeAlias = Literal["improving", "plateau", "undecided"]

GAIN_FACTOR = 4.0
# A LogLoss improvement of 0.02 % is considered significant in the field: paper, section 5.
NOTICEABLE_GAIN = 2e-4
INSIDE_STEPS, OUTSIDE_STEPS = 64, 32


@dataclass(frozen=True, slots=True)
class Size:
    """The runs of one size: mean loss, its interval from the pooled seed noise, and the law's residual."""

    x: float
    loss: float
    interval: Interval | None
    runs: int
    dense_params: int | None
    residual: float | None


@dataclass(frozen=True, slots=True)
class DrawnLaw:
    """The law as plotted: `x` ascending, `lower` and `upper` its 95 % band (empty without noise estimate)."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """Loss saved by the last measured factor of four in compute, under the law `form`."""

    form: FormName
    x: float
    gain: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Plateau:
    """Whether the last factor of four in compute still reduced the loss, under the form with a free floor.

    `improving`: the interval of the gain lies above `margin`; `plateau`: below it; `undecided` otherwise, and
    where the sizes span less than a factor of four.
    """

    verdict: Trend
    margin: float
    gain: Gain | None


@dataclass(frozen=True, slots=True)
class Curve:
    """The analysis of one curve; `law` is None when there are fewer sizes than parameters."""

    name: str
    points: tuple[Point, ...]
    sizes: tuple[Size, ...]
    form: Form
    law: Fit | None
    intervals: dict[str, Interval]
    notes: tuple[NoteCode, ...]
    descriptive: bool
    noise: Noise | None
    alternatives: tuple[Fit, ...]
    floor_p_value: float | None
    extrapolation: tuple[Extrapolation, ...]
    gain: Gain | None
    plateau: Plateau
    trace: DrawnLaw | None
    region: Region | None

    @property
    def status(self) -> str:
        """The solver's status, or `too few sizes`."""
        return "too few sizes" if self.law is None else self.law.status

    @property
    def seed_noise(self) -> Noise | None:
        """The variance of one run around the mean of its size, estimated from seeds alone."""
        found = sizes_of([p.x for p in self.points], [p.loss for p in self.points])
        variance = found.seed_variance
        return None if variance is None else Noise(variance, found.spread_df, "seeds")

    @property
    def span(self) -> float:
        """Ratio of the largest to the smallest size."""
        return self.sizes[-1].x / self.sizes[0].x

    @property
    def best(self) -> Size:
        """The size with the lowest mean loss."""
        return min(self.sizes, key=lambda size: size.loss)


@dataclass(frozen=True, slots=True)
class Method:
    """How curves are fitted: form, known floor, confidence level of the intervals and objective."""

    form: Form
    floor: float | None = None
    level: float = 0.95
    delta: float | None = None
    """Threshold of the Huber loss of log residuals; None for weighted least squares."""

    def fit(self, sizes: Sizes) -> Fit | None:
        """The law of one curve."""
        if self.delta is None:
            return fit(sizes, self.form, floor=self.floor)
        return fit_robust(sizes, self.form, floor=self.floor, delta=self.delta)


def analyze(name: str, source: PointSet, method: Method, *, draw_to: float) -> Curve:
    """Fit and analyze the curve `name`; `draw_to` is the largest x to plot.

    In a study of data scaling, the curve consists of the runs with one amount of data.
    """
    points = one_amount([point for point in source.points if point.curve == name])
    sizes = sizes_of(
        [point.x for point in points],
        [point.loss for point in points],
        zero=source.zero_loss,
    )
    floor, level = method.floor, method.level
    pure_form = POWER_ZERO if floor is None else POWER_KNOWN
    laws = {form: fit(sizes, form, floor=floor) for form in FORMS if not _is_redundant(form, floor, sizes)}
    law = method.fit(sizes)
    pure, floored = laws.get(pure_form) or fit(sizes, pure_form, floor=floor), laws[POWER]
    # A robust fit does not maximize the likelihood that defines the region.
    confidence_region = None if law is None or method.delta is not None else region(law, level)
    intervals = {} if confidence_region is None else confidence_region.parameters()
    return Curve(
        name=name,
        points=points,
        sizes=_sizes(points, sizes, law, level),
        form=method.form,
        law=law,
        intervals=intervals,
        notes=notes_of(points, sizes, law, intervals, pure=pure, floored=floored, split=source.split),
        descriptive=is_descriptive(sizes, law),
        noise=None if law is None else noise(law),
        alternatives=tuple(other for other in laws.values() if other is not None),
        floor_p_value=None if pure is None or floored is None else f_test(pure, floored),
        extrapolation=_extrapolations(law, floor, level),
        gain=None if law is None else _last_gain(law, confidence_region),
        plateau=_plateau(sizes, floored, source.bayes_logloss, source.metric, level),
        trace=None if law is None else _trace(law, confidence_region, draw_to),
        region=confidence_region,
    )


def _is_redundant(form: Form, floor: float | None, sizes: Sizes) -> bool:
    """Whether a form equals the one with its floor at zero loss."""
    return form.floor == "known" and floor in (None, sizes.zero)


def _sizes(points: tuple[Point, ...], sizes: Sizes, law: Fit | None, level: float) -> tuple[Size, ...]:
    residuals = None if law is None else sizes.y - law.predict(sizes.x)
    variance = sizes.seed_variance
    quantile = stats.t.ppf(0.5 + level / 2, sizes.spread_df) if sizes.spread_df else np.nan
    found = []
    dense_params: dict[float, set[int | None]] = {}
    for point in points:
        dense_params.setdefault(point.x, set()).add(point.dense_params)
    for i, (x, y, runs) in enumerate(zip(sizes.x, sizes.y, sizes.runs, strict=True)):
        half = None if variance is None else float(quantile * np.sqrt(variance / runs))
        dense = dense_params[float(x)]
        found.append(
            Size(
                x=float(x),
                loss=float(y),
                interval=None if half is None else (float(y) - half, float(y) + half),
                runs=int(runs),
                dense_params=next(iter(dense)) if len(dense) == 1 else None,
                residual=None if residuals is None else float(residuals[i]),
            )
        )
    return tuple(found)


def _extrapolations(law: Fit | None, floor: float | None, level: float) -> tuple[Extrapolation, ...]:
    if law is None:
        return ()
    tests = (extrapolate(law, floor=floor, hidden=hidden, level=level) for hidden in (1, 2))
    return tuple(test for test in tests if test is not None)


def _last_gain(law: Fit, laws: Region | None) -> Gain | None:
    smallest, largest = float(law.sizes.x[0]), float(law.sizes.x[-1])
    if largest < GAIN_FACTOR * smallest * (1 - 1e-9):
        return None
    before, after = law.predict(np.array([largest / GAIN_FACTOR, largest]))
    interval = None if laws is None else laws.gain(largest / GAIN_FACTOR, largest)
    return Gain(law.form.name, largest, float(before - after), interval)


def _plateau(
    sizes: Sizes, floored: Fit | None, bayes_logloss: float | None, metric: str, level: float
) -> Plateau:
    base = (bayes_logloss or 0.0) if metric == "excess_logloss" else 0.0
    margin = NOTICEABLE_GAIN * (float(sizes.y[-1]) - sizes.zero + base)
    laws = None if floored is None else region(floored, level)
    gain = None if floored is None or laws is None else _last_gain(floored, laws)
    if floored is None or gain is None or lacks_fit(floored):  # with lack of fit the interval is too narrow
        return Plateau("undecided", margin, gain)
    low, high = gain.interval or (-np.inf, np.inf)
    verdict: Trend = "improving" if low > margin else "plateau" if high < margin else "undecided"
    return Plateau(verdict, margin, gain)


def _trace(law: Fit, laws: Region | None, draw_to: float) -> DrawnLaw:
    smallest, largest = float(law.sizes.x[0]), float(law.sizes.x[-1])
    inside = np.geomspace(smallest, largest, INSIDE_STEPS)
    outside = np.geomspace(largest, max(draw_to, largest), OUTSIDE_STEPS)[1:]
    x: Array = np.concatenate([inside, outside]) if draw_to > largest else inside
    band = [] if laws is None else [laws.curve(float(value)) for value in x]
    return DrawnLaw(
        x=tuple(map(float, x)),
        y=tuple(map(float, law.predict(x))),
        lower=tuple(low for low, _ in band),
        upper=tuple(high for _, high in band),
    )
