"""The analysis of one curve, from its points to the law, its intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from wukongctl.decisions import Interval
from wukongctl.laws.axis import Axis
from wukongctl.laws.bands import Band, band
from wukongctl.laws.contest import Contest, contest
from wukongctl.laws.fit import Fit, Sizes, f_test, sizes_of
from wukongctl.laws.forecast import Forecast, forecast
from wukongctl.laws.form import Array, Form
from wukongctl.laws.forms import FORMS
from wukongctl.laws.holdout import Extrapolation, extrapolate
from wukongctl.laws.intervals import Noise, noise
from wukongctl.laws.loglinear import LOG_LINEAR
from wukongctl.laws.misfit import Serial, serial_correlation
from wukongctl.laws.notes import NoteCode, doubts_of, is_descriptive, notes_of
from wukongctl.laws.points import Point, PointSet
from wukongctl.laws.power import POWER, POWER_KNOWN, POWER_ZERO
from wukongctl.laws.robust import fit_by
from wukongctl.laws.sensitivity import Bootstrap, LeftOut, bootstrap, leave_out
from wukongctl.laws.verdict import Gain, Plateau, judge, last_gain, smallest_gain

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
class Curve:
    """The analysis of one curve; `law` is None when there are fewer sizes than parameters."""

    name: str
    axis: Axis
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
    serial: Serial | None
    extrapolation: tuple[Extrapolation, ...]
    gain: Gain | None
    plateau: Plateau
    trace: DrawnLaw | None
    region: Band | None
    contest: Contest | None = None
    left_out: tuple[LeftOut, ...] = ()
    bootstrap: Bootstrap | None = None
    forecasts: tuple[Forecast, ...] = ()

    @property
    def status(self) -> str:
        """The solver's status, or `too few sizes`."""
        return "too few sizes" if self.law is None else self.law.status

    @property
    def group(self) -> str:
        """The task or dataset of the curve; curves of one group are compared."""
        return self.points[0].group or ""

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
    thorough: bool = True
    """Whether rival forms are compared and the law's sensitivity is measured."""
    at: tuple[float, ...] = ()
    """Where the loss is predicted."""

    def fit(self, sizes: Sizes, form: Form | None = None) -> Fit | None:
        """The law of one curve, or another form fitted in the same way."""
        return fit_by(sizes, form or self.form, floor=self.floor, delta=self.delta)


def analyze(
    name: str, points: Sequence[Point], source: PointSet, method: Method, *, draw_to: float | None
) -> Curve:
    """Fit and analyze the curve `name` of `points`; `draw_to` is the largest x to plot, if any."""
    sizes = sizes_of([point.x for point in points], [point.loss for point in points], zero=source.zero_loss)
    floor, level = method.floor, method.level
    pure_form = POWER_ZERO if floor is None else POWER_KNOWN
    laws = {form: method.fit(sizes, form) for form in FORMS if not _is_redundant(form, floor, sizes)}
    law = laws[method.form] if method.form in laws else method.fit(sizes)
    pure, floored = laws.get(pure_form) or method.fit(sizes, pure_form), laws[POWER]
    around = None if law is None else band(law, level)
    intervals = {} if around is None else around.parameters()
    tests = _extrapolations(law, floor, level)
    hidden = tests[0].sizes[0] if tests else None
    rivals = contest(sizes, delta=method.delta) if method.thorough else None
    bayes = source.bayes_logloss if source.metric == "excess_logloss" else None
    return Curve(
        name=name,
        axis=source.axis,
        points=tuple(points),
        sizes=_sizes(points, sizes, law, level),
        form=method.form,
        law=law,
        intervals=intervals,
        notes=notes_of(
            points, sizes, law, intervals, pure=pure, floored=floored, hidden=hidden, split=source.split
        ),
        descriptive=is_descriptive(sizes, law),
        noise=around.noise if around is not None else None if law is None else noise(law),
        alternatives=tuple(other for other in laws.values() if other is not None),
        floor_p_value=None if pure is None or floored is None else f_test(pure, floored),
        serial=None if law is None else serial_correlation(law),
        extrapolation=tests,
        gain=None if law is None else last_gain(law, around),
        plateau=_plateau(laws, law, tests, level, smallest_gain(sizes, bayes)),
        trace=None if law is None or draw_to is None else _trace(law, around, draw_to),
        region=around,
        contest=rivals,
        left_out=leave_out(law, floor) if law is not None and method.thorough else (),
        bootstrap=bootstrap(law, level) if law is not None and method.thorough else None,
        forecasts=() if rivals is None else tuple(forecast(rivals, x, level=level) for x in method.at),
    )


def _is_redundant(form: Form, floor: float | None, sizes: Sizes) -> bool:
    """Whether a form equals the one with its floor at zero loss."""
    return form.floor == "known" and floor in (None, sizes.zero)


def _sizes(points: Sequence[Point], sizes: Sizes, law: Fit | None, level: float) -> tuple[Size, ...]:
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


def _plateau(
    laws: dict[Form, Fit | None],
    law: Fit | None,
    tests: tuple[Extrapolation, ...],
    level: float,
    margin: float,
) -> Plateau:
    """The verdict by the form with a free floor, with the tests of that form."""
    floored, line = laws[POWER], laws[LOG_LINEAR]
    if floored is None:
        return judge(None, line, margin, level, ())
    if law is None or law.form is not POWER:
        tests = _extrapolations(floored, None, level)
    hidden = tests[0].sizes[0] if tests else None
    doubts = tuple(code for code, found in doubts_of(floored.sizes, floored, hidden).items() if found)
    return judge(floored, line, margin, level, doubts)


def _trace(law: Fit, laws: Band | None, draw_to: float) -> DrawnLaw:
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
