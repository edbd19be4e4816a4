"""Limitations of a fitted law, as stable codes with explanations."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from wukongctl.decisions import Interval
from wukongctl.laws.axis import Axis
from wukongctl.laws.fit import Fit, Sizes, f_test, lacks_fit
from wukongctl.laws.grouping import TOLERANCE
from wukongctl.laws.holdout import HiddenSize
from wukongctl.laws.misfit import serial_correlation
from wukongctl.laws.points import Point

NoteCode: TypeAlias = Literal[
    "few_sizes",
    "short_range",
    "floor_not_identified",
    "exponent_weak",
    "bound_hit",
    "curvature_undecided",
    "lack_of_fit",
    "misfit",
    "prediction_failed",
    "no_gain_better",
    "single_seed",
    "unequal_data",
    "unequal_params",
    "nonmonotone",
    "multi_epoch",
    "test_set_reused",
]

EXPLANATIONS: dict[NoteCode, str] = {
    "few_sizes": "There are fewer {places} than parameters plus two: almost any law would fit.",
    "short_range": "The {places} span less than a factor of ten, too little to identify curvature.",
    "floor_not_identified": "The floor E is not identified: its interval reaches zero loss or the best loss.",
    "exponent_weak": "The interval of the exponent c spans more than a factor of four; do not quote c alone.",
    "bound_hit": "The best fit is at a bound of the parameters, so they are not estimates.",
    "curvature_undecided": "Laws with and without a free floor fit about equally well: the points do not "
    "distinguish continued improvement from saturation.",
    "lack_of_fit": "Mean losses scatter around the law far more than seeds do: something besides {axis} "
    "varies, or the form is wrong.",
    "misfit": "Residuals of neighboring {places} are alike, more than chance allows: the curve bends in a "
    "way that the form does not, so its intervals are too short.",
    "prediction_failed": "Fitted without {end}, the law failed to predict it: the loss there is outside the "
    "interval.",
    "no_gain_better": "The guess that the loss no longer falls predicted the loss at {end} better than the "
    "law did.",
    "single_seed": "Some {places} have a single seed, so their noise is unknown.",
    "unequal_data": "The runs of a curve differ in their numbers of examples or epochs: part of what its law "
    "shows may be the effect of more data.",
    "unequal_params": "Runs of equal cost differ in their parameters: they are different models.",
    "nonmonotone": "Some {place} has a higher mean loss than the next smaller one, by more than the noise "
    "where that is known.",
    "multi_epoch": "Some runs were trained for more than one epoch; click models can overfit abruptly there.",
    "test_set_reused": "Checkpoints were selected on the plotted split, so its loss is biased low.",
}

CONTRADICTED: frozenset[NoteCode] = frozenset({"misfit", "lack_of_fit", "nonmonotone"})
"""Notes with which an exponent is not quoted or compared: the points do not follow the law."""
WEAK_EXPONENT_RATIO = 4.0
DECISIVE_AICC = 4.0
SIGNIFICANCE = 0.05
RISE_SDS = 2.0
"""Standard errors from which a rise is more than noise; more where many sizes rise and fall by chance."""
KNOWN_NOISE_DF = 10
"""Degrees of freedom from which residuals tell the noise of single runs."""

ADVISED_SIZES, ADVISED_DECADES, ADVISED_SEEDS = 5, 1.5, 3


def explain(code: NoteCode, axes: Sequence[Axis]) -> str:
    """What a note means for curves along these axes."""
    words = {
        name: " or ".join(dict.fromkeys(str(getattr(axis, field)) for axis in axes))
        for name, field in (("place", "place"), ("places", "places"), ("end", "end"), ("axis", "name"))
    }
    return EXPLANATIONS[code].format(**words)


def is_descriptive(sizes: Sizes, law: Fit | None) -> bool:
    """Whether a curve only describes its runs: too few sizes, range or seeds, or lack of fit."""
    return (
        len(sizes.x) < ADVISED_SIZES
        or sizes.decades < ADVISED_DECADES
        or float(np.min(sizes.runs)) < ADVISED_SEEDS
        or (law is not None and (lacks_fit(law) or misfits(law)))
    )


def notes_of(
    points: Sequence[Point],
    sizes: Sizes,
    law: Fit | None,
    intervals: dict[str, Interval],
    *,
    pure: Fit | None,
    floored: Fit | None,
    hidden: HiddenSize | None,
    split: str | None,
) -> tuple[NoteCode, ...]:
    """The codes that apply to one curve; `pure` has its floor fixed, `floored` has it free.

    `hidden` is the prediction of the held-out largest size.
    """
    found: dict[NoteCode, bool] = {
        **doubts_of(sizes, law, hidden),
        "few_sizes": law is None or len(sizes.x) < len(law.form.parameters) + 2,
        "short_range": sizes.decades < 1,
        "floor_not_identified": law is not None
        and law.form.floor == "free"
        and _floor_is_open(sizes, intervals),
        "exponent_weak": law is not None and "c" in law.parameters and _is_weak(law, intervals),
        "bound_hit": law is not None and law.status == "bound hit",
        "curvature_undecided": law is not None and not _curvature_is_decided(pure, floored),
        "single_seed": float(np.min(sizes.runs)) < 2,
        "unequal_data": len({(point.examples, point.passes) for point in points}) > 1,
        "unequal_params": differ_at_one_cost(points),
        "multi_epoch": any(point.passes is not None and point.passes > 1 for point in points),
        "test_set_reused": split is not None and any(_selected_on(point) == split for point in points),
    }
    return tuple(code for code in EXPLANATIONS if found[code])


def doubts_of(sizes: Sizes, law: Fit | None, hidden: HiddenSize | None) -> dict[NoteCode, bool]:
    """The notes that speak against the law itself."""
    return {
        "lack_of_fit": law is not None and lacks_fit(law),
        "misfit": law is not None and misfits(law),
        "prediction_failed": hidden is not None and hidden.failed,
        "no_gain_better": hidden is not None and hidden.no_gain_is_better,
        "nonmonotone": _rises(sizes, law),
    }


def misfits(law: Fit) -> bool:
    """Whether residuals of neighboring sizes are significantly alike, and not explained by the seeds."""
    found = serial_correlation(law)
    return found is not None and found.p_value < SIGNIFICANCE and not _explained_by_seeds(law)


def _explained_by_seeds(law: Fit) -> bool:
    """Whether seeds, where they repeat, vary as much as the sizes around the law."""
    seeds, df = law.sizes.seed_variance, law.sizes.spread_df
    if not seeds or law.df <= 0:
        return False
    return float(stats.f.sf(law.rss / law.df / seeds, law.df, df)) > SIGNIFICANCE


def _rises(sizes: Sizes, law: Fit | None) -> bool:
    """Whether some size is worse than the next smaller one, by more than the noise where that is known."""
    variance = sizes.seed_variance
    if variance is None:
        variance = law.rss / law.df if law is not None and law.df >= KNOWN_NOISE_DF else 0.0
    error = np.sqrt(variance * (1 / sizes.runs[1:] + 1 / sizes.runs[:-1]))
    gaps = max(len(error), 1)
    return bool(np.any(np.diff(sizes.y) > max(RISE_SDS, stats.norm.isf(SIGNIFICANCE / gaps)) * error))


def differ_at_one_cost(points: Sequence[Point]) -> bool:
    """Whether runs of one size differ in dense parameters by more than rounding: different models."""
    known: dict[float, list[int]] = {}
    for point in points:
        if point.dense_params is not None:
            known.setdefault(point.x, []).append(point.dense_params)
    return any(max(counts) > min(counts) * (1 + TOLERANCE) for counts in known.values())


def _floor_is_open(sizes: Sizes, intervals: dict[str, Interval]) -> bool:
    low, high = intervals.get("E", (-np.inf, np.inf))
    return low <= sizes.zero or high >= float(np.min(sizes.y))


def _is_weak(law: Fit, intervals: dict[str, Interval]) -> bool:
    low, high = intervals.get("c", (0.0, np.inf))
    return "c" in law.at_bound or low <= 0 or high / low > WEAK_EXPONENT_RATIO


def _curvature_is_decided(pure: Fit | None, floored: Fit | None) -> bool:
    """Whether the points prefer one of two nested laws.

    With repeated seeds by the F-test on all runs; otherwise AICc, by at least 4, has to agree with it.
    """
    if pure is None or floored is None:
        return False
    p = f_test(pure, floored)
    if floored.sizes.spread_df:
        return p is not None and p < SIGNIFICANCE
    if pure.aicc is None or floored.aicc is None:
        return False
    gain = pure.aicc - floored.aicc
    return p is not None and abs(gain) >= DECISIVE_AICC and (gain > 0) == (p < SIGNIFICANCE)


def _selected_on(point: Point) -> str | None:
    """The split of a selection metric written as `valid`, `valid.logloss`, `valid/auc` or `valid logloss`."""
    words = (point.selected_on or "").replace(".", " ").replace("/", " ").replace(":", " ").split()
    return words[0] if words else None
