"""Rival forms side by side: what the points prefer, and which form predicts sizes held out by range.

Forms are fitted to relative errors, ln(law / observed), by least squares or with the Huber loss. AICc
decides what the points prefer; a difference below 4 does not. The form for predictions is chosen beforehand
by a rule: the power law, unless AIC rules it out or another form predicted the held-out upper end of the
range far better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wukongctl.laws.batch import logarithmic, minimize
from wukongctl.laws.fit import Sizes, lacks_fit
from wukongctl.laws.fit import fit as fit_power
from wukongctl.laws.form import Array
from wukongctl.laws.rivals import RIVALS, Rival

DEFAULT = "power"
STEPS = 30
INDECISIVE, HOPELESS = 4.0, 10.0
HELD_OUT_RANGE = 0.2
"""Part of the logarithmic range whose sizes are held out."""
LEAST_HELD_OUT, CLEARLY = 2, 1.5
"""Held-out sizes, and factor in their error, for another form than the power law."""
LEAST_SPARE = 2
"""Degrees of freedom that AICc needs: with fewer it does little but count parameters."""
SPARE = 2
"""Sizes beyond its parameters that a form needs for a held-out test."""
MOST_RUNS, BINS = 200, 60
PLAUSIBLE = 2.0
"""Factor in the held-out error up to which a form is as plausible as the best one."""
LEAST_LOSS = 1e-9
"""Smallest loss above zero of a form, relative to the mean."""
MOST_CORRELATED = 0.9
"""Largest correlation of neighbors that widens intervals: 0.9 makes them 4.4 times wider."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What rivals are fitted to: ln x around `center`, losses above zero over `unit`, weights; (k,) each.

    `every` holds the first two of all single runs, (n,) each.
    """

    u: Array
    y: Array
    weights: Array
    every: tuple[Array, Array]
    center: float
    unit: float
    zero: float


@dataclass(frozen=True, slots=True)
class Rivalled:
    """A fitted rival; `theta` is in the scale of `sample`, `error` the RMS relative error."""

    rival: Rival
    sample: Sample
    theta: Array
    error: float

    def predict(self, x: Array) -> Array:
        """Loss at x, same shape."""
        values, _ = self.rival.model(np.log(x) - self.sample.center)(self.theta[None])
        return self.sample.zero + self.sample.unit * values[0]

    def slopes(self, x: Array) -> Array:
        """Derivatives of ln(loss above zero) by the parameters: (k, p)."""
        return logarithmic(self.rival.model(np.log(x) - self.sample.center))(self.theta[None])[1][0]

    @property
    def variance(self) -> float:
        """Variance of the relative errors around the law, by degrees of freedom."""
        return self.error**2 * self._per_degree

    @property
    def run_variance(self) -> float:
        """The same of single runs, where the law was fitted to means."""
        u, y = self.sample.every
        return float(np.mean(self._errors(u, y) ** 2)) * self._per_degree

    @property
    def weighted_variance(self) -> float:
        """The same of an error of weight 1."""
        return self.variance * float(np.mean(self.sample.weights))

    @property
    def persistence(self) -> float:
        """Long-run variance of the errors over their variance: above 1 where neighboring sizes err alike.

        So they do around a wrong form, and where losses are averages over a window, which hides the scatter
        of single ones. It is that of a first-order autoregression.
        """
        errors = np.sqrt(self.sample.weights) * self._errors(self.sample.u, self.sample.y)
        _, index, runs = np.unique(self.sample.u, return_inverse=True, return_counts=True)
        means = np.bincount(index, errors) / np.sqrt(runs)
        square = float(np.sum(means**2))
        correlation = float(np.sum(means[1:] * means[:-1])) / square if square else 0.0
        clipped = min(max(correlation, 0.0), MOST_CORRELATED)
        return (1 + clipped) / (1 - clipped)

    @property
    def _per_degree(self) -> float:
        count = len(self.sample.u)
        return count / max(count - self.rival.count, 1)

    def _errors(self, u: Array, y: Array) -> Array:
        values, _ = self.rival.model(u)(self.theta[None])
        return np.log(np.maximum(values[0], LEAST_LOSS) / y)

    @property
    def aic(self) -> float:
        """AIC of the relative errors, with their variance as a parameter."""
        error = max(self.error, float(np.finfo(float).eps))
        return 2 * len(self.sample.u) * float(np.log(error)) + 2 * (self.rival.count + 1)

    @property
    def aicc(self) -> float | None:
        """AICc of the relative errors; None with too few points."""
        count, free = len(self.sample.u), self.rival.count + 1
        if count - free - 1 < LEAST_SPARE:
            return None
        return self.aic + 2 * free * (free + 1) / (count - free - 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """One form: `aicc_behind` is its AICc minus the best one, `held_out` its error on held-out sizes."""

    name: str
    equation: str
    parameters: int
    error: float
    aicc: float | None
    aicc_behind: float | None
    held_out: float | None


@dataclass(frozen=True, slots=True)
class Contest:
    """All forms that were fitted. `alike` are those that AICc does not tell from the best one, and that one.

    `chosen` is the form for predictions; `plausible` are it and those that predicted the held-out sizes about
    as well. `held_out_sizes` sizes were held out, from `held_out_from` on; the chosen form's error there, at
    `held_out_distance` in ln x beyond the others, is `held_out_error`.
    """

    standings: tuple[Standing, ...]
    alike: tuple[str, ...]
    chosen: Rivalled
    plausible: tuple[Rivalled, ...]
    held_out_sizes: int
    held_out_from: float | None
    held_out_error: float | None
    held_out_distance: float | None

    @property
    def preferred(self) -> str | None:
        """The form that the points prefer to all others; None when they cannot tell, or are too few."""
        return self.alike[0] if len(self.alike) == 1 and self.is_decisive else None

    @property
    def is_decisive(self) -> bool:
        """Whether there are enough points to compare the power law by AICc."""
        return any(one.name == DEFAULT and one.aicc is not None for one in self.standings)


def contest(sizes: Sizes, *, delta: float | None = None) -> Contest | None:
    """Fit and compare all forms; None with fewer than four sizes, or losses that are not positive."""
    if len(sizes.x) < 4 or float(np.min(sizes.y)) <= sizes.zero:
        return None
    whole = sample_of(sizes)
    fits = [found for rival in RIVALS if (found := fit_rival(rival, whole, delta)) is not None]
    known = {one.rival.name: one.aicc for one in fits if one.aicc is not None}
    best = min(known.values(), default=None)
    hidden = _hidden(sizes)
    errors = _held_out(sizes, hidden, delta)
    chosen = _choose(fits, errors, int(hidden.sum()))
    standings = tuple(
        Standing(
            name=one.rival.name,
            equation=one.rival.equation,
            parameters=one.rival.count,
            error=one.error,
            aicc=one.aicc,
            aicc_behind=None if best is None or one.aicc is None else one.aicc - best,
            held_out=errors.get(one.rival.name),
        )
        for one in fits
    )
    behind = [(one.aicc_behind, one.name) for one in standings if one.aicc_behind is not None]
    u = np.log(sizes.x)
    tested = bool(errors)
    return Contest(
        standings=standings,
        alike=tuple(name for distance, name in sorted(behind) if distance < INDECISIVE),
        chosen=chosen,
        plausible=_plausible(fits, errors, int(hidden.sum()), chosen),
        held_out_sizes=int(hidden.sum()) if tested else 0,
        held_out_from=float(sizes.x[hidden][0]) if tested else None,
        held_out_error=errors.get(chosen.rival.name),
        held_out_distance=float(np.sqrt(np.mean((u[hidden] - u[~hidden][-1]) ** 2))) if tested else None,
    )


def sample_of(sizes: Sizes) -> Sample:
    """Single runs, means where sizes scatter more than seeds, or means over bins of many points."""
    law = fit_power(sizes)
    x, y = sizes.single_runs
    weights = np.ones(len(x))
    if len(x) > MOST_RUNS:
        x, y, weights = _binned(x, y)
    elif law is not None and lacks_fit(law) and sizes.spread_df:
        x, y, weights = sizes.x, sizes.y, sizes.runs
    center, unit = float(np.mean(np.log(sizes.x))), float(np.mean(y - sizes.zero))

    def scaled(at: Array, losses: Array) -> tuple[Array, Array]:
        return np.log(at) - center, np.maximum((losses - sizes.zero) / unit, LEAST_LOSS)

    return Sample(*scaled(x, y), weights, scaled(*sizes.single_runs), center, unit, sizes.zero)


def fit_rival(rival: Rival, sample: Sample, delta: float | None) -> Rivalled | None:
    """Fit one form to relative errors; None with no more sizes than parameters."""
    if len(np.unique(sample.u)) <= rival.count:
        return None
    start = rival.starts(sample.u, sample.y)
    theta, costs = minimize(
        logarithmic(rival.model(sample.u)), start, np.log(sample.y), sample.weights[None],
        bounds=rival.bounds(sample.u), delta=delta, steps=STEPS,
    )  # fmt: skip
    best = theta[int(np.argmin(costs))]
    values, _ = logarithmic(rival.model(sample.u))(best[None])
    square = float(np.average((values[0] - np.log(sample.y)) ** 2, weights=sample.weights))
    return Rivalled(rival, sample, best, float(np.sqrt(square)))


def _binned(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Means over equal steps in ln x, with their numbers of runs."""
    u = np.log(x)
    index = np.minimum(((u - u.min()) / np.ptp(u) * BINS).astype(int), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    used = counts > 0
    means = (np.bincount(index, values, BINS)[used] / counts[used] for values in (u, y))
    at, losses = means
    return np.exp(at), losses, counts[used].astype(float)


def _hidden(sizes: Sizes) -> NDArray[np.bool_]:
    """The sizes in the upper part of the range, at least one."""
    u = np.log(sizes.x)
    hidden = u > u[-1] - HELD_OUT_RANGE * np.ptp(u)
    hidden[-1] = True
    return hidden


def _held_out(sizes: Sizes, hidden: NDArray[np.bool_], delta: float | None) -> dict[str, float]:
    """RMS log error of every form on the hidden sizes, fitted to the others."""
    kept = sizes.where(~hidden)
    if len(kept.x) < 4:
        return {}
    sample = sample_of(kept)
    errors: dict[str, float] = {}
    for rival in RIVALS:
        if len(kept.x) < rival.count + SPARE:
            continue
        found = fit_rival(rival, sample, delta)
        if found is not None:
            predicted = np.maximum(found.predict(sizes.x[hidden]) - sizes.zero, 1e-9 * sample.unit)
            ratio = np.log(predicted / (sizes.y[hidden] - sizes.zero))
            errors[rival.name] = float(np.sqrt(np.mean(ratio**2)))
    return errors


def _choose(fits: Sequence[Rivalled], errors: dict[str, float], hidden: int) -> Rivalled:
    """The power law, unless it is hopeless or another form predicted the held-out sizes clearly better."""
    named = {one.rival.name: one for one in fits}
    default = named.get(DEFAULT, fits[0])
    if hidden < LEAST_HELD_OUT or DEFAULT not in errors or default.aicc is None:
        return default
    lowest = min(one.aic for one in fits)
    hopeful = [name for name in errors if named[name].aic - lowest <= HOPELESS]
    if not hopeful:
        return default
    best = min(hopeful, key=lambda name: errors[name])
    stays = DEFAULT in hopeful and CLEARLY * errors[best] >= errors[DEFAULT]
    return default if stays else named[best]


def _plausible(
    fits: Sequence[Rivalled], errors: dict[str, float], hidden: int, chosen: Rivalled
) -> tuple[Rivalled, ...]:
    """The chosen form, and those whose held-out error is near the best one's, or the scatter of runs."""
    if hidden < LEAST_HELD_OUT or not errors:
        return (chosen,)
    least = max(min(errors.values()), float(np.sqrt(chosen.run_variance)))
    near = {name for name, error in errors.items() if error <= PLAUSIBLE * least}
    return tuple(one for one in fits if one is chosen or one.rival.name in near)
