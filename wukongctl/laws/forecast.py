"""The loss predicted at any x, with an interval for a new run that widens with the distance.

Four variances add up, in ln(loss above zero): of a run around the law and of the law's parameters, both
larger where neighboring sizes err alike; of the form, by what the held-out upper end of the range showed,
where its error beyond the noise of runs grows in proportion to the distance in ln x; and of the choice of the
form, by how far the others disagree that predicted the held-out end about as well.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from wukongctl.decisions import Interval
from wukongctl.laws.contest import LEAST_LOSS, Contest, Rivalled

LEAST_SINGULAR = 1e-6


@dataclass(frozen=True, slots=True)
class Forecast:
    """The loss predicted at `x` by `form`, and the interval of a new run there.

    `distance` beyond the sizes is relative to their logarithmic range; 0 inside.
    """

    x: float
    loss: float
    interval: Interval
    form: str
    distance: float

    @property
    def extrapolated(self) -> bool:
        """Whether x is outside the sizes."""
        return self.distance > 0


def forecast(found: Contest, x: float, *, level: float) -> Forecast:
    """Predict by the chosen form."""
    law, at = found.chosen, np.log(x) - found.chosen.sample.center
    low, high = float(law.sample.u.min()), float(law.sample.u.max())
    beyond = max(at - high, low - at, 0.0)
    df = max(len(law.sample.u) - law.rival.count, 1)
    alike = law.persistence
    run = law.run_variance + (alike - 1) * law.variance
    parameters = alike * law.weighted_variance * _leverage(law, x)
    variance = run + parameters + _of_form(found) * beyond**2 + _of_choice(found, x)
    loss = float(law.predict(np.array([x]))[0])
    factor = np.exp(float(stats.t.ppf(0.5 + level / 2, df)) * np.sqrt(variance))
    zero = law.sample.zero
    above = max(loss - zero, 0.0)
    ends = zero + above / float(factor), zero + above * float(factor)
    return Forecast(x, loss, ends, law.rival.name, beyond / max(high - low, 1e-12))


def _leverage(law: Rivalled, x: float) -> float:
    """Variance of ln(loss) by that of an error of weight 1, in the directions that the points determine."""
    slopes = np.sqrt(law.sample.weights)[:, None] * law.slopes(np.exp(law.sample.u + law.sample.center))
    at = law.slopes(np.array([x]))[0]
    _, singular, right = np.linalg.svd(slopes, full_matrices=False)
    known = singular > LEAST_SINGULAR * singular.max()
    return float(np.sum((right[known] @ at / singular[known]) ** 2))


def _of_form(found: Contest) -> float:
    """Variance per squared distance in ln x, from the held-out sizes."""
    if found.held_out_error is None or not found.held_out_distance:
        return 0.0
    return max(found.held_out_error**2 - found.chosen.run_variance, 0.0) / found.held_out_distance**2


def _of_choice(found: Contest, x: float) -> float:
    """Mean squared distance of the plausible forms from the chosen one, relative to its loss above zero."""
    at, zero = np.array([x]), found.chosen.sample.zero
    above = [max(float(one.predict(at)[0]) - zero, LEAST_LOSS * one.sample.unit) for one in found.plausible]
    chosen = max(float(found.chosen.predict(at)[0]) - zero, LEAST_LOSS * found.chosen.sample.unit)
    return float(np.mean(np.log(np.array(above) / chosen) ** 2))
