"""Intervals from a pairs bootstrap: runs are drawn with replacement and the law is fitted to each draw.

With few runs percentiles are too narrow, so that their tails are widened by Student's quantile: expanded
percentiles, Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789. Draws are the same every time.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from wukongctl.decisions import Interval
from wukongctl.laws.batch import minimize
from wukongctl.laws.fit import Fit, Sizes
from wukongctl.laws.form import Array
from wukongctl.laws.intervals import Noise
from wukongctl.laws.robust import SMALLEST, bounds_of, log_law

DRAWS = 600
ATTEMPTS = 50
STEPS = 40


@dataclass(frozen=True, slots=True)
class Resampled:
    """The laws fitted to resampled runs, arrays (B,) with the amplitude for x over its center.

    `residuals` are those of single runs, in logarithms of the loss above zero.
    """

    law: Fit
    noise: Noise
    tails: tuple[float, float]
    levels: Array
    amplitudes: Array
    exponents: Array
    residuals: Array

    @property
    def sizes(self) -> Sizes:
        """The sizes the law was fitted to."""
        return self.law.sizes

    def parameters(self) -> dict[str, Interval]:
        """Interval of every parameter."""
        form, center = self.law.form, self.law.form.center(self.sizes.x)
        amplitudes = self.amplitudes * form.scale(self.exponents, center)
        named = {"E": self.levels, "A": amplitudes, "c": self.exponents}
        return {name: self._between(named[name]) for name in form.parameters}

    def curve(self, x: float) -> Interval:
        """Interval of the law's value at `x`."""
        return self._between(self._values(x))

    def gain(self, smaller: float, larger: float) -> Interval:
        """Interval of the loss saved by going from `smaller` to `larger`."""
        return self._between(self._values(smaller) - self._values(larger))

    def prediction(self, x: float, runs: float) -> Interval:
        """Interval of the mean of `runs` new runs at `x`, with residuals drawn from those of the law."""
        rng, zero = np.random.default_rng(1), self.sizes.zero
        drawn = rng.choice(self.residuals, (len(self.levels), max(int(runs), 1)))
        return self._between(zero + (self._values(x) - zero) * np.mean(np.exp(drawn), axis=1))

    def _values(self, x: float) -> Array:
        log_x = np.log(x / self.law.form.center(self.sizes.x))
        basis = self.law.form.basis_at_log(np.array([log_x]), self.exponents[:, None])[:, 0]
        return self.levels + self.amplitudes * basis

    def _between(self, values: Array) -> Interval:
        low, high = np.percentile(values, self.tails)
        return float(low), float(high)


def resample(law: Fit, delta: float, level: float = 0.95, *, draws: int = DRAWS) -> Resampled | None:
    """Fit the law to `draws` samples of its runs; None when there are too few sizes to spare one."""
    sizes, form = law.sizes, law.form
    x, y = sizes.single_runs
    free = len(form.parameters)
    counts = draw_counts(x, draws, least=free)
    df = len(x) - free
    if counts is None or df <= 0 or len(sizes.x) <= free:
        return None
    center, zero = form.center(sizes.x), sizes.zero
    floor = None if form.has_free_level else law.level
    log_x, target = np.log(x / center), np.log(y - zero)
    model, bounds = log_law(sizes, form, log_x, floor), bounds_of(sizes, form, floor)
    start = np.broadcast_to(_logarithms(law, floor, center), (draws, len(bounds[0])))
    theta, _ = minimize(model, start, target, counts, bounds=bounds, delta=delta, steps=STEPS)
    levels = np.exp(theta[:, 0]) + zero if floor is None else np.full(draws, floor)
    fitted = np.log(law.predict(x) - zero)
    residuals = (target - fitted) * np.sqrt(len(x) / df)
    return Resampled(
        law=law,
        noise=Noise((_deviation(residuals) * float(np.mean(y - zero))) ** 2, df, "residuals"),
        tails=expanded_tails(level, len(x), df),
        levels=levels,
        amplitudes=np.exp(theta[:, -2]),
        exponents=theta[:, -1],
        residuals=residuals,
    )


def draw_counts(x: Array, draws: int, *, least: int) -> Array | None:
    """How often each run is in each draw, (draws, n); draws of fewer than `least` sizes are repeated."""
    rng = np.random.default_rng(0)
    count = len(x)
    _, index = np.unique(x, return_inverse=True)
    sizes = int(index.max()) + 1
    if sizes < least:
        return None
    every = rng.multinomial(count, np.full(count, 1 / count), draws).astype(float)
    member = np.eye(sizes)[index]
    for _ in range(ATTEMPTS):
        short = np.sum((every @ member) > 0, axis=1) < least
        if not short.any():
            break
        every[short] = rng.multinomial(count, np.full(count, 1 / count), int(short.sum()))
    else:
        every[np.sum((every @ member) > 0, axis=1) < least] = 1.0
    return every


def expanded_tails(level: float, count: int, df: int) -> tuple[float, float]:
    """The percentiles of an interval of confidence `level` from `count` runs with `df` degrees of freedom."""
    reach = np.sqrt(count / df) * float(stats.t.ppf(0.5 + level / 2, df))
    tail = 100 * float(stats.norm.cdf(-reach))
    return tail, 100 - tail


def _logarithms(law: Fit, floor: float | None, center: float) -> Array:
    """The parameters of `log_law` at the law itself."""
    zero, mean = law.sizes.zero, float(np.mean(law.sizes.y - law.sizes.zero))
    amplitude = law.amplitude / float(law.form.scale(law.exponent, center))
    logs = [np.log(max(value, SMALLEST * mean)) for value in (law.level - zero, amplitude)]
    return np.array([*logs[0 if floor is None else 1 :], law.exponent])


def _deviation(residuals: Array) -> float:
    """A robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(residuals)))
