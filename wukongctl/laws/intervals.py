"""Profile-likelihood intervals and bands of a law fitted by least squares.

A law is in the confidence region when its weighted sum of squares exceeds the best one by less than
s^2 F(1, df). For a fixed exponent these laws form an ellipse in (E, A) cut by E >= zero and A >= 0. Every
interval is the extent of the union of these slices over all exponents, without a quadratic approximation.

Bates and Watts 1988, Nonlinear Regression Analysis, chapter 6, https://doi.org/10.1002/9780470316757.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize, stats

from wukongctl.decisions import Interval
from wukongctl.laws.fit import Fit, Sizes, lacks_fit, project, squares_on_grid
from wukongctl.laws.form import Array, Form

NoiseSource: TypeAlias = Literal["residuals", "residuals and seeds", "seeds"]

SWEEP_SIZE = 400
ROUNDING = 1e-14
"""Rounding error of a residual relative to the loss: some tens of units in the last place."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The variance of one run around the law, with its degrees of freedom."""

    variance: float
    df: int
    source: NoiseSource


def noise(law: Fit) -> Noise | None:
    """Noise pooled from residuals and seeds unless residuals are far larger; None without degrees of freedom.

    With lack of fit the sizes, not the runs, are the independent observations.
    """
    seeds, spread_df = law.sizes.seed_variance, law.sizes.spread_df
    if law.df <= 0:
        return None if seeds is None else Noise(seeds, spread_df, "seeds")
    if seeds is None or lacks_fit(law):
        return Noise(law.rss / law.df, law.df, "residuals")
    df = law.df + spread_df
    return Noise((law.rss + law.sizes.spread_ss) / df, df, "residuals and seeds")


@dataclass(frozen=True)
class Region:
    """The confidence region of a law, as slices of constant exponent; arrays are (C,) over exponents.

    Within a slice a law is `level + A (x^-c - mean)`, with x centered and `mean` the weighted mean of x^-c:
    the two are then uncorrelated, and numerically stable even where x^-c is nearly constant.
    """

    law: Fit
    noise: Noise
    quantile: float  # of F(1, df)
    exponents: Array

    @property
    def form(self) -> Form:
        """The form of the law."""
        return self.law.form

    @property
    def sizes(self) -> Sizes:
        """The sizes the law was fitted to."""
        return self.law.sizes

    @property
    def cutoff(self) -> float:
        """The largest sum of squares in the region."""
        return self.law.rss + self.noise.variance * self.quantile

    def extent(self, at_level: Array, at_amplitude: Array) -> Interval:
        """Range of `at_level * level + at_amplitude * A` over the region."""
        candidates = self._edge(at_level, at_amplitude)
        if self.form.has_free_level:
            candidates = np.concatenate([candidates, self._inside(at_level, at_amplitude)])
        return float(np.nanmin(candidates)), float(np.nanmax(candidates))

    def parameters(self) -> dict[str, Interval]:
        """Interval of every parameter of the law."""
        weights = self.form.linear(self.exponents, self._center)
        found = {name: self.extent(u, s - u * self._mean) for name, (u, s) in weights.items()}
        exponents = float(self.exponents[0]), float(self.exponents[-1])
        return found if self.form.exponents is None else {**found, "c": exponents}

    def curve(self, x: float) -> Interval:
        """Interval of the law's value at `x` GFLOP per example."""
        return self.extent(np.ones_like(self.exponents), self._basis_at(x) - self._mean)

    def gain(self, smaller: float, larger: float) -> Interval:
        """Interval of the loss saved by going from `smaller` to `larger` GFLOP per example."""
        return self.extent(np.zeros_like(self.exponents), self._basis_at(smaller) - self._basis_at(larger))

    def prediction(self, x: float, runs: float) -> Interval:
        """Interval of the mean of `runs` new runs at `x`: the uncertainty of law and runs in quadrature."""
        middle, (low, high) = float(self.law.predict(np.array([x]))[0]), self.curve(x)
        spread = self.quantile * self.noise.variance / runs
        below, above = np.sqrt((middle - low) ** 2 + spread), np.sqrt((high - middle) ** 2 + spread)
        return middle - float(below), middle + float(above)

    def _basis_at(self, x: float | Array) -> Array:
        """g(x; c), which A multiplies: (C,), or (C, k) for the sizes."""
        log_x = np.log(np.asarray(x) / self._center)
        return self.form.basis_at_log(log_x, self.exponents.reshape(-1, *[1] * log_x.ndim))

    @cached_property
    def _center(self) -> float:
        return self.form.center(self.sizes.x)

    @cached_property
    def _basis(self) -> Array:
        return self._basis_at(self.sizes.x)

    @cached_property
    def _mean(self) -> Array:
        return np.average(self._basis, axis=1, weights=self.sizes.runs)

    def _slack(self, rss: Array) -> Array:
        """The margin up to the cutoff of the sum of squares; NaN where it is exceeded.

        Rounding errors are tolerated, so that the best exponent is in the region even where the points lie
        exactly on the law.
        """
        slack = self.cutoff - rss
        rounding = np.sum(self.sizes.runs * (ROUNDING * self.sizes.y) ** 2)
        tolerance = 1e-9 * self.cutoff + rounding
        return np.where(slack >= 0, slack, np.where(slack >= -tolerance, 0.0, np.nan))

    def _inside(self, u: Array, s: Array) -> Array:
        """Extremes on the ellipse of each slice, NaN where they violate a bound: (2, C)."""
        level, amplitude, moment, radius = self._ellipses
        weight = np.sum(self.sizes.runs)
        norm = np.sqrt(u**2 / weight + s**2 / moment)
        reach = np.array([[-1.0], [1.0]]) * radius / norm
        levels, amplitudes = level + reach * u / weight, amplitude + reach * s / moment
        value = u * levels + s * amplitudes
        if self.form.exponents is None:
            return value
        feasible = (amplitudes >= 0) & (levels - amplitudes * self._mean >= self.sizes.zero)
        return np.where(feasible, value, np.nan)

    @cached_property
    def _ellipses(self) -> tuple[float, Array, Array, Array]:
        """Of each slice: the center (level, amplitude), the moment of the amplitude, and the radius."""
        sizes = self.sizes
        deviation = self._basis - self._mean[:, None]
        moment = np.sum(sizes.runs * deviation**2, axis=1)
        level = float(np.average(sizes.y, weights=sizes.runs))
        amplitude = np.sum(sizes.runs * deviation * (sizes.y - level), axis=1) / moment
        residual = sizes.y - level - amplitude[:, None] * deviation
        radius = np.sqrt(self._slack(np.sum(sizes.runs * residual**2, axis=1)))
        return level, amplitude, moment, radius

    def _edge(self, u: Array, s: Array) -> Array:
        """Extremes where E or A is at its bound: (2 or 4, C). With a fixed floor only E is."""
        if self.form.exponents is None:
            return np.full((1, len(u)), np.nan)
        floor, amplitudes, levels = self._bounds
        on_floor = u * (floor + amplitudes * self._mean) + s * amplitudes
        return on_floor if levels is None else np.concatenate([on_floor, u * levels])

    @cached_property
    def _bounds(self) -> tuple[float, Array, Array | None]:
        """The floor at its bound, the amplitudes possible there, and with a free floor levels without A."""
        floor = self.sizes.zero if self.form.has_free_level else self.law.level
        sizes, basis, both = self.sizes, self._basis, np.array([[-1.0], [1.0]])
        moment = np.sum(sizes.runs * basis**2, axis=1)
        amplitude = np.sum(sizes.runs * basis * (sizes.y - floor), axis=1) / moment
        residual = sizes.y - floor - amplitude[:, None] * basis
        reach = np.sqrt(self._slack(np.sum(sizes.runs * residual**2, axis=1)) / moment)
        possible = np.where(amplitude + reach >= 0, np.maximum(amplitude + both * reach, 0.0), np.nan)
        if not self.form.has_free_level:
            return floor, possible, None
        flat = np.average(sizes.y, weights=sizes.runs)
        slack_flat = self._slack(np.full(len(basis), np.sum(sizes.runs * (sizes.y - flat) ** 2)))
        levels = np.maximum(flat + both * np.sqrt(slack_flat / np.sum(sizes.runs)), sizes.zero)
        return floor, possible, levels


def region(law: Fit, level: float = 0.95) -> Region | None:
    """The region of confidence `level`; None when there is no estimate of the noise."""
    estimate = noise(law)
    if estimate is None:
        return None
    quantile = float(stats.f.ppf(level, 1, estimate.df))
    if law.form.exponents is None:
        return Region(law, estimate, quantile, np.ones(1))
    low, high = _exponent_interval(law, law.form.exponents, law.rss + estimate.variance * quantile)
    sweep = np.append(np.geomspace(low, high, SWEEP_SIZE), law.exponent)
    return Region(law, estimate, quantile, np.sort(np.clip(sweep, low, high)))


def _exponent_interval(law: Fit, grid: Array, cutoff: float) -> Interval:
    floor, best = None if law.form.has_free_level else law.level, law.exponent

    def excess(c: float) -> float:
        return project(law.sizes, law.form, c, floor).rss - cutoff

    def end(outward: Array) -> float:
        """The outermost crossing among exponents in order of distance from the best one."""
        included = np.flatnonzero(squares_on_grid(law.sizes, law.form, outward, floor) <= cutoff)
        inside, after = (outward[included[-1]], int(included[-1]) + 1) if len(included) else (best, 0)
        if after == len(outward) or excess(inside) >= 0 or excess(outward[after]) <= 0:
            return float(inside)
        return float(optimize.root_scalar(excess, bracket=(inside, outward[after]), xtol=1e-14).root)

    return end(grid[grid < best][::-1]), end(grid[grid > best])
