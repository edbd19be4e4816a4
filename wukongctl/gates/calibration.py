"""A/A calibration: two sets of runs of the same configurations → their noise, and a margin for the gates."""

import io
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from scipy import optimize, stats

from wukongctl.errors import UsageError
from wukongctl.gates.checks import AA_SDS
from wukongctl.gates.paired import LossDifference, differences
from wukongctl.laws.points import PointSet

TITLE = "# Margins from A/A runs"
"""How the file of a calibration begins."""
POWER = 0.95
MULTIPLES = (0.0, 1.0, 1.5, 2.0, 3.0)
ANOTHER_SET = (
    "train the second set with the same seeds and `--set accumulate=2`, which changes rounding alone"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What A/A runs predict for a later comparison of as many runs.

    `sd` is the standard deviation of the difference of two single runs, with `df` degrees of freedom. `power`
    lists the probability that gate G2 fails, after correction for all tests, when one configuration is worse
    by a multiple of `margin`.
    """

    metric: str
    configurations: int
    runs: int
    sd: float
    df: int
    margin: float
    power: tuple[tuple[float, float], ...]
    paired: bool
    """Whether both sets have the same seeds, as a run and its baseline in CI."""


def calibrate(a: PointSet, b: PointSet, *, level: float = 0.95) -> Calibration:
    """Measure the noise between two sets of runs of the same configurations, in pairs of the same seed.

    The margin is the largest of the smallest relevant difference, 2 sd, and the smallest margin at which a
    regression of twice the margin in one configuration is detected with 95 % probability. Raises UsageError
    when no configuration is in both sets, when a run is, or when all losses are equal.
    """
    _require_disjoint(a, b)
    found = differences(a.points, b.points)
    if not found:
        raise UsageError(
            "the two sets have no configuration in common", hint="pass two sets of runs of the same sweep"
        )
    # Nothing but chance differs: the true mean is zero, so it costs no degree of freedom.
    squares = sum(one.squares + one.mean**2 / one.scale for one in found)
    df = sum(one.df + 1 for one in found)
    sd = float(np.sqrt(squares / df))
    if sd == 0:
        raise UsageError("all losses are equal", hint=ANOTHER_SET)
    error, later_df = sd * max(one.scale for one in found) ** 0.5, df + sum(one.df for one in found)
    critical = float(stats.t.ppf(1 - (1 - level) / len(found), later_df))
    margin = _rounded_up(max(a.measure.smallest_difference, AA_SDS * sd, _reach(critical, later_df) * error))
    probabilities = (float(stats.nct.sf(critical, later_df, (k - 1) * margin / error)) for k in MULTIPLES)
    return Calibration(
        metric=a.metric,
        configurations=len(found),
        runs=_runs(found),
        sd=sd,
        df=df,
        margin=margin,
        power=tuple(zip(MULTIPLES, probabilities, strict=True)),
        paired=all(one.paired for one in found),
    )


def _require_disjoint(a: PointSet, b: PointSet) -> None:
    """Raise UsageError when a run is in both sets: compared with itself it shows no noise."""
    known = {replace(point, run=None) for point in a.points if point.seed is not None}
    shared = sum(replace(point, run=None) in known for point in b.points)
    if shared:
        runs = "1 run is" if shared == 1 else f"{shared} runs are"
        raise UsageError(
            f"{runs} in both sets (same seed, same loss), which hides the noise",
            hint=ANOTHER_SET,
        )


def _reach(critical: float, df: int) -> float:
    """Distance above the margin, in standard errors, at which a regression is detected with power POWER."""
    found = optimize.root_scalar(lambda ncp: stats.nct.sf(critical, df, ncp) - POWER, bracket=(0.0, 50.0))
    return float(found.root)


def _runs(found: tuple[LossDifference, ...]) -> int:
    """Runs per configuration and set, in the configuration with the fewest."""
    return round(1 / max(one.scale for one in found))


def _rounded_up(value: float) -> float:
    """Rounded up to two significant digits."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.2g}")


def gates_yaml(found: Calibration) -> str:
    """A YAML file for `--check`, with the noise and the gates that it supports."""
    content = {
        "noise": {"sd": found.sd, "df": found.df},
        "gates": {"cost": True, "quality": {"margin": found.margin}},
    }
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(content, text)
    power = ", ".join(f"{chance:.1%} at {multiple:g}x" for multiple, chance in found.power)
    seeds = "in pairs of the same seed" if found.paired else "with different seeds"
    return (
        f"{TITLE} {seeds}: {found.configurations} configurations, {found.runs} runs each.\n"
        f"# Probability that gate G2 fails when one configuration is worse by a multiple of the margin:\n"
        f"# {power}.\n{text.getvalue()}"
    )


def to_dict(found: Calibration) -> dict[str, Any]:
    """The JSON object of `scale-report --calibrate`."""
    power = [{"multiple": multiple, "chance": chance} for multiple, chance in found.power]
    return {**asdict(found), "power": power}
