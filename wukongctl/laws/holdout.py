"""The largest sizes, held out of the fit and predicted: the test of a law that counts."""

from dataclasses import dataclass

import numpy as np

from wukongctl.decisions import Interval
from wukongctl.laws.bands import band
from wukongctl.laws.fit import EXACT, Fit, Sizes
from wukongctl.laws.form import Array
from wukongctl.laws.loglinear import LOG_LINEAR
from wukongctl.laws.robust import fit_by


@dataclass(frozen=True, slots=True)
class HiddenSize:
    """A size left out of the fit: observed and predicted loss, `error` = predicted - observed.

    `interval` is the prediction interval for the mean of as many runs as were observed; `distance` is
    relative to the logarithmic range of the fitted sizes. An interval wider than the range of all losses is
    no test: it is not `informative`.
    """

    x: float
    observed: float
    predicted: float
    error: float
    interval: Interval | None
    inside: bool | None
    distance: float
    loglin_error: float
    no_gain_error: float
    informative: bool = True

    @property
    def failed(self) -> bool:
        """Whether the observed loss lies outside the interval."""
        return self.inside is False

    @property
    def no_gain_is_better(self) -> bool:
        """Whether the loss of the largest fitted size was closer than the law's prediction."""
        return abs(self.no_gain_error) < abs(self.error)


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The prediction of the `hidden` largest sizes by a fit without them, with RMS log errors."""

    hidden: int
    sizes: tuple[HiddenSize, ...]
    rmsle: float | None
    loglin_rmsle: float | None
    no_gain_rmsle: float | None


def extrapolate(
    law: Fit, *, floor: float | None = None, hidden: int = 1, level: float = 0.95
) -> Extrapolation | None:
    """Refit the same form without the largest sizes and predict them; None when too few sizes remain."""
    sizes = law.sizes
    kept = sizes.smallest(len(sizes.x) - hidden)
    refit = fit_by(kept, law.form, floor=floor, delta=law.delta)
    line = fit_by(kept, LOG_LINEAR, floor=None, delta=law.delta)
    if refit is None or line is None:
        return None
    tested = _tested(sizes, kept, (refit, line), level)
    x, y = sizes.x[-hidden:], sizes.y[-hidden:]
    guesses = refit.predict(x), line.predict(x), np.full(hidden, kept.y[-1])
    scores = (rmsle(values, y, sizes.zero) for values in guesses)
    return Extrapolation(hidden, tested, *scores)


def _tested(sizes: Sizes, kept: Sizes, laws: tuple[Fit, Fit], level: float) -> tuple[HiddenSize, ...]:
    refit, line = laws
    around, first = band(refit, level), len(kept.x)
    found = []
    for x, y, runs in zip(sizes.x[first:], sizes.y[first:], sizes.runs[first:], strict=True):
        at, slack = np.array([x]), EXACT * float(y - sizes.zero)
        predicted, straight = float(refit.predict(at)[0]), float(line.predict(at)[0])
        within = None if around is None else around.prediction(float(x), float(runs))
        found.append(
            HiddenSize(
                x=float(x),
                observed=float(y),
                predicted=predicted,
                error=float(predicted - y),
                interval=within,
                inside=None if within is None else bool(within[0] - slack <= y <= within[1] + slack),
                distance=float(np.log(x / kept.x[-1]) / np.log(kept.x[-1] / kept.x[0])),
                loglin_error=float(straight - y),
                no_gain_error=float(kept.y[-1] - y),
                informative=within is None or within[1] - within[0] <= float(np.ptp(sizes.y)),
            )
        )
    return tuple(found)


def rmsle(predicted: Array, observed: Array, zero: float) -> float | None:
    """Root mean squared log error of losses; None when a prediction is not a positive loss."""
    if np.any(predicted <= zero) or np.any(observed <= zero):
        return None
    return float(np.sqrt(np.mean(np.log((predicted - zero) / (observed - zero)) ** 2)))
