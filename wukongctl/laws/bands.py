"""What is known around a law: intervals of its parameters, its values, its gains and of new runs."""

from typing import Protocol

from wukongctl.decisions import Interval
from wukongctl.laws.fit import Fit, Sizes
from wukongctl.laws.intervals import Noise, region
from wukongctl.laws.resampling import resample


class Band(Protocol):
    """Intervals of one law at one confidence level."""

    @property
    def law(self) -> Fit:
        """The law."""
        ...

    @property
    def noise(self) -> Noise:
        """The variance of one run around the law."""
        ...

    @property
    def sizes(self) -> Sizes:
        """The sizes the law was fitted to."""
        ...

    def parameters(self) -> dict[str, Interval]:
        """Interval of every parameter."""
        ...

    def curve(self, x: float) -> Interval:
        """Interval of the law's value at `x`."""
        ...

    def gain(self, smaller: float, larger: float) -> Interval:
        """Interval of the loss saved by going from `smaller` to `larger`."""
        ...

    def prediction(self, x: float, runs: float) -> Interval:
        """Interval of the mean of `runs` new runs at `x`."""
        ...


def band(law: Fit, level: float = 0.95) -> Band | None:
    """Profile likelihood for least squares, a bootstrap for robust laws; None without an estimate."""
    if law.delta is not None and law.form.exponents is not None:
        return resample(law, law.delta, level)
    return region(law, level)


def method_of(law: Fit | None) -> str:
    """How `band` finds intervals, for report.json."""
    if law is not None and law.delta is not None and law.form.exponents is not None:
        return "pairs bootstrap over runs, percentiles"
    return "profile likelihood with F cut-off"
