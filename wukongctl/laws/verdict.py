"""Whether more compute, or more data, still reduces the loss: the gain of the last factor of four, judged."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from wukongctl.config.report import FormName
from wukongctl.decisions import Interval
from wukongctl.laws.bands import Band, band
from wukongctl.laws.fit import Fit, Sizes
from wukongctl.laws.form import Array
from wukongctl.laws.notes import NoteCode

Trend: TypeAlias = Literal["improving", "plateau", "rising", "undecided"]

GAIN_FACTOR = 4.0
# A LogLoss improvement of 0.02 % is considered significant in the field: paper, section 5.
NOTICEABLE_GAIN = 2e-4
AGAINST_IMPROVING: tuple[NoteCode, ...] = (
    "lack_of_fit", "misfit", "prediction_failed", "nonmonotone", "no_gain_better",
)  # fmt: skip
AGAINST_PLATEAU: tuple[NoteCode, ...] = ("lack_of_fit", "misfit", "prediction_failed")


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

    `improving`: the interval of the gain lies above `margin`; `plateau`: below it; `rising`: a straight line
    in ln x rises significantly; `undecided` otherwise, where the sizes span less than a factor of four, and
    where one of `doubts` says that the law, and so the interval, cannot be trusted.
    """

    verdict: Trend
    margin: float
    gain: Gain | None
    doubts: tuple[NoteCode, ...] = ()


def last_gain(law: Fit, around: Band | None) -> Gain | None:
    """The gain of the last factor of four; None where the sizes span less."""
    smallest, largest = float(law.sizes.x[0]), float(law.sizes.x[-1])
    if largest < GAIN_FACTOR * smallest * (1 - 1e-9):
        return None
    before, after = law.predict(np.array([largest / GAIN_FACTOR, largest]))
    interval = None if around is None else around.gain(largest / GAIN_FACTOR, largest)
    return Gain(law.form.name, largest, float(before - after), interval)


def smallest_gain(sizes: Sizes, bayes_logloss: float | None) -> float:
    """The smallest relevant gain; `bayes_logloss` is the loss that an excess LogLoss leaves out."""
    return NOTICEABLE_GAIN * (float(sizes.y[-1]) - sizes.zero + (bayes_logloss or 0.0))


def judge(
    floored: Fit | None, line: Fit | None, margin: float, level: float, doubts: tuple[NoteCode, ...]
) -> Plateau:
    """The verdict from the law with a free floor and a straight line; `doubts` are notes on the former."""
    around = None if floored is None else band(floored, level)
    gain = None if floored is None or around is None else last_gain(floored, around)
    if floored is None or gain is None:
        return Plateau("undecided", margin, gain)
    if _rises(line, level):
        return Plateau("rising", margin, gain)
    low, high = gain.interval or (-np.inf, np.inf)
    verdict: Trend = "improving" if low > margin else "plateau" if high < margin else "undecided"
    against = {"improving": AGAINST_IMPROVING, "plateau": AGAINST_PLATEAU}.get(verdict, ())
    relevant = tuple(code for code in doubts if code in against)
    return Plateau("undecided" if relevant else verdict, margin, gain, relevant)


def _rises(line: Fit | None, level: float) -> bool:
    """Whether the loss rises in ln x, and is lowest at the smaller half of the sizes."""
    around = None if line is None else band(line, level)
    if line is None or around is None:
        return False
    losses: Array = line.sizes.y
    return around.parameters()["q"][0] > 0 and int(np.argmin(losses)) < len(losses) / 2
