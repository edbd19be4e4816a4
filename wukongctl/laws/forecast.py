"""The loss predicted at any x, with an interval for a new run that widens with the distance.

Three variances add up, in ln(loss above zero): of a run around the law, of the law's parameters, and of the
form. The last is what the held-out upper end of the range showed: the form's error there, beyond the noise of
runs, grows in proportion to the distance in ln x.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from wukongctl.decisions import Interval
from wukongctl.laws.contest import Contest, Rivalled

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
    run = law.error**2 * len(law.sample.u) / df
    variance = run + _of_parameters(law, x, run) + _of_form(found, run) * beyond**2
    loss = float(law.predict(np.array([x]))[0])
    factor = np.exp(float(stats.t.ppf(0.5 + level / 2, df)) * np.sqrt(variance))
    zero = law.sample.zero
    above = max(loss - zero, 0.0)
    ends = zero + above / float(factor), zero + above * float(factor)
    return Forecast(x, loss, ends, law.rival.name, beyond / max(high - low, 1e-12))


def _of_parameters(law: Rivalled, x: float, run: float) -> float:
    """Variance from the parameters, to first order, in the directions that the points determine."""
    slopes = np.sqrt(law.sample.weights)[:, None] * law.slopes(np.exp(law.sample.u + law.sample.center))
    at = law.slopes(np.array([x]))[0]
    _, singular, right = np.linalg.svd(slopes, full_matrices=False)
    known = singular > LEAST_SINGULAR * singular.max()
    return run * float(np.sum((right[known] @ at / singular[known]) ** 2))


def _of_form(found: Contest, run: float) -> float:
    """Variance per squared distance in ln x, from the held-out sizes."""
    if found.held_out_error is None or not found.held_out_distance:
        return 0.0
    return max(found.held_out_error**2 - run, 0.0) / found.held_out_distance**2
